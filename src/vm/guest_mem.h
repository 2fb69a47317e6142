/* guest_mem - the RAM of one guest, as the host sees it.  The guest may write any byte at any
 * moment: callers copy what they must check before they check it.
 *
 * RAM is one mapping.  Its first part is at guest address 0; what does not fit below
 * GUEST_MEM_HOLE is at 4 GiB, so that devices have 32-bit addresses. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

#define GUEST_MEM_HOLE UINT64_C(0xc0000000) /* 3 GiB: PCI windows, ECAM, APICs up to 4 GiB */
#define GUEST_MEM_HIGH UINT64_C(0x100000000)

struct guest_mem;

/* size: bytes, whole pages.  Private memory, in huge pages where the host has them to give: each
 * page of the host's costs the guest an exit at its first touch; or, if it has to be shared, a
 * memory file (docs/decisions/0011). */
MUST_CHECK int guest_mem_new(uint64_t size, bool is_shared, struct guest_mem **ret_mem,
	struct err *err);
/* The memory file, RAM from its first byte on; -1 where it is private.  Borrowed. */
int guest_mem_fd(const struct guest_mem *mem);
void guest_mem_free(struct guest_mem *mem); /* NULL is fine */
DEFINE_AUTO(guest_mem)

/* The host bytes of guest range [gpa, gpa + len), or NULL if it is not all RAM in one part. */
MUST_CHECK void *guest_mem_at(const struct guest_mem *mem, uint64_t gpa, uint64_t len);
/* Memory that a device shows to the guest beside its RAM (pmem), before the guest runs: a driver
 * may name it in a request, as when a program of the guest writes a mapped file straight to a disk.
 * host stays mapped for the memory's life. */
void guest_mem_add_window(struct guest_mem *mem, uint64_t gpa, void *host, uint64_t size,
	bool is_read_only);
/* The payload of a request: as guest_mem_at(), and all of one window, which has to be writable if
 * the device is to write. */
MUST_CHECK void *guest_mem_payload(const struct guest_mem *mem, uint64_t gpa, uint64_t len,
	bool is_written);
/* Copies; -EFAULT when the range is not RAM. */
MUST_CHECK int guest_mem_read(const struct guest_mem *mem, uint64_t gpa, void *bytes, uint64_t len);
MUST_CHECK int guest_mem_write(const struct guest_mem *mem, uint64_t gpa, const void *bytes,
	uint64_t len);
/* Bytes below the hole, and at 4 GiB. */
uint64_t guest_mem_low(const struct guest_mem *mem);
uint64_t guest_mem_high(const struct guest_mem *mem);
/* Gives the pages of a range back to the host (balloon, free-page reporting). */
MUST_CHECK int guest_mem_discard(const struct guest_mem *mem, uint64_t gpa, uint64_t len);
