/* bzimage - the setup header of a bzImage (Documentation/arch/x86/boot.rst): what more than one
 * reader of it needs. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
	BZIMAGE_SETUP_SECTS = 0x1f1,
	BZIMAGE_BOOT_FLAG = 0x1fe,
	BZIMAGE_MAGIC = 0x202,
	BZIMAGE_VERSION = 0x206
};

#define BZIMAGE_HEADER_MAGIC 0x53726448u /* "HdrS" */

/* The little-endian number of len bytes at offset. */
static inline uint64_t bzimage_get(const uint8_t *head, size_t offset, size_t len)
{
	uint64_t value = 0;
	memcpy(&value, head + offset, len);
	return value;
}

static inline bool bzimage_is(const uint8_t *head)
{
	return bzimage_get(head, BZIMAGE_BOOT_FLAG, 2) == 0xaa55 &&
	       bzimage_get(head, BZIMAGE_MAGIC, 4) == BZIMAGE_HEADER_MAGIC;
}

/* Where the protected-mode part begins in the file; a count of zero sectors means four. */
static inline uint64_t bzimage_setup_bytes(const uint8_t *head)
{
	uint64_t sectors = head[BZIMAGE_SETUP_SECTS] == 0 ? 4 : head[BZIMAGE_SETUP_SECTS];
	return (sectors + 1) * 512;
}
