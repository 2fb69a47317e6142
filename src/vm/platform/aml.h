/* aml - writes ACPI Machine Language (ACPI 6.4, chapter 20): the few terms that this machine's DSDT
 * is made of.  Terms that hold others are opened and closed; the length in front of them is filled
 * in at the end, always in four bytes. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

/* Four characters. */
void aml_name(struct text *aml, const char *name); /* Name(NAME, ...): the object follows */
void aml_integer(struct text *aml, uint64_t value);
void aml_string(struct text *aml, const char *string);
/* EISAID("PNP0A08"): three capital letters and four hexadecimal digits. */
void aml_eisa_id(struct text *aml, const char *id);

/* Each returns where it stands, for aml_close(). */
size_t aml_open_scope(struct text *aml, const char *path); /* as written: "\\_SB_" */
size_t aml_open_device(struct text *aml, const char *name);
size_t aml_open_package(struct text *aml, uint8_t elements);
void aml_close(struct text *aml, size_t start);

/* Resource descriptors (6.4), collected in a text of their own and added as one buffer. */
void aml_resource_io(struct text *list, uint16_t port, uint8_t len);
void aml_resource_irq(struct text *list, unsigned irq); /* edge, active high */
void aml_resource_bus(struct text *list, uint8_t first, uint8_t last);
void aml_resource_io_window(struct text *list, uint16_t first, uint16_t last);
void aml_resource_memory(struct text *list, uint32_t base, uint32_t size); /* fixed */
void aml_resource_memory_window(struct text *list, uint64_t base, uint64_t size);
/* The buffer; adds the end tag. */
void aml_resources(struct text *aml, const struct text *list);
