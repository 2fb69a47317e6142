/* serial - a 16550A serial port that only sends: what a kernel says before it has anything else. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"

struct serial;

/* fd gets what the guest sends (borrowed; -1: nobody).  irq is called with the level of its
 * interrupt line whenever that changes, by the thread that uses the port. */
struct serial *serial_new(int fd, void (*irq)(void *context, bool level), void *context)
	__attribute__((returns_nonnull));
void serial_free(struct serial *serial); /* NULL is fine */
DEFINE_AUTO(serial)

/* One of the eight registers; from any thread. */
uint8_t serial_read(struct serial *serial, unsigned offset);
void serial_write(struct serial *serial, unsigned offset, uint8_t value);

/* What the guest's kernel said of its panic, empty if it did not; at most SERIAL_PANIC_MAX bytes
 * with the final zero.  Bytes of the guest: to be quoted before a person reads them. */
#define SERIAL_PANIC_MAX 160
void serial_panic(struct serial *serial, char ret_text[SERIAL_PANIC_MAX]);
