/* tar_header - one 512-byte block: layout, numbers, checksum. */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/text.h"

#define TAR_BLOCK 512

/* POSIX.1-1988 ustar; GNU tar uses the bytes after device_minor in its own way. */
struct tar_header {
	char name[100];
	char mode[8];
	char uid[8];
	char gid[8];
	char size[12];
	char mtime[12];
	char checksum[8];
	char type;
	char link_name[100];
	char magic[8]; /* "ustar\0" "00", or "ustar  \0" of GNU */
	char user[32];
	char group[32];
	char device_major[8];
	char device_minor[8];
	union {
		char prefix[155];
		struct {
			char times[41];
			char sparse[4][24]; /* offset and length, 12 bytes each */
			char is_extended;
			char real_size[12];
		} gnu;
		struct {
			char prefix[131];
			char times[24];
		} star;
	};
	char pad[8];
	char star_magic[4]; /* "tar\0" */
};
static_assert(sizeof(struct tar_header) == TAR_BLOCK, "a header is one block");

enum tar_format { TAR_V7, TAR_USTAR, TAR_GNU, TAR_STAR };

/* An octal number, or GNU's base-256; empty is 0.  -EINVAL if it is none, -ERANGE above 63 bits. */
MUST_CHECK int tar_number(const char *field, size_t len, int64_t *ret);
/* The bytes before the first zero. */
struct view tar_field(const char *field, size_t len);
bool tar_header_is_zero(const struct tar_header *header);
/* The sum over the block with the checksum itself as spaces; old writers summed signed bytes. */
bool tar_header_checksum_is_right(const struct tar_header *header);
enum tar_format tar_header_format(const struct tar_header *header);
