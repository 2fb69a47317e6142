/* acpi - the tables that tell a guest what its machine has (ACPI 6.4, hardware-reduced). */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "vm/guest_mem.h"

struct acpi_machine {
	unsigned cpus;
	uint64_t window_base, window_size; /* 64-bit PCI memory window; size 0: none */
};

/* Writes all tables to LAYOUT_ACPI; the RSDP stands at its start. */
MUST_CHECK int acpi_write(const struct acpi_machine *machine, const struct guest_mem *mem,
	struct err *err);
