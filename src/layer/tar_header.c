/* tar_header - see tar_header.h.  Sources: POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar
 * manual, "Basic Tar Format" and "Extensions". */
#include "layer/tar_header.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

static_assert(offsetof(struct tar_header, magic) == 257, "ustar");
static_assert(offsetof(struct tar_header, prefix) == 345, "ustar");
static_assert(offsetof(struct tar_header, gnu.sparse) == 386, "GNU");
static_assert(offsetof(struct tar_header, gnu.real_size) == 483, "GNU");

/* The first bit marks the form, the second one is the sign; the rest is big-endian two's
 * complement. */
static int base256(const uint8_t *field, size_t len, int64_t *ret)
{
	bool negative = (field[0] & 0x40) != 0;
	uint8_t flip = negative ? 0xff : 0;
	uint64_t value = 0;
	for (size_t i = 0; i < len; i++) {
		uint8_t byte = field[i] ^ flip;
		if (i == 0)
			byte &= 0x3f;
		if (value >> 55 != 0)
			return -ERANGE;
		value = value << 8 | byte;
	}
	*ret = negative ? ~(int64_t)value : (int64_t)value;
	return 0;
}

int tar_number(const char *field, size_t len, int64_t *ret)
{
	if (field[0] & 0x80)
		return base256((const uint8_t *)field, len, ret);

	size_t at = 0;
	while (at < len && (field[at] == ' ' || field[at] == 0))
		at++;
	int64_t value = 0;
	for (; at < len && field[at] >= '0' && field[at] <= '7'; at++) {
		if (__builtin_mul_overflow(value, 8, &value))
			return -ERANGE;
		value |= field[at] - '0';
	}
	if (at < len && field[at] != ' ' && field[at] != 0)
		return -EINVAL;
	*ret = value;
	return 0;
}

struct view tar_field(const char *field, size_t len)
{
	return (struct view){ field, strnlen(field, len) };
}

bool tar_header_is_zero(const struct tar_header *header)
{
	const char *bytes = (const char *)header;
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, sizeof(*header) - 1) == 0;
}

bool tar_header_checksum_is_right(const struct tar_header *header)
{
	int64_t claimed;
	if (tar_number(header->checksum, sizeof(header->checksum), &claimed) < 0)
		return false;

	const char *bytes = (const char *)header;
	const size_t from = offsetof(struct tar_header, checksum);
	const size_t to = from + sizeof(header->checksum);
	int64_t unsigned_sum = 0, signed_sum = 0;
	for (size_t i = 0; i < sizeof(*header); i++) {
		char byte = i >= from && i < to ? ' ' : bytes[i];
		unsigned_sum += (uint8_t)byte;
		signed_sum += (int8_t)byte;
	}
	return claimed == unsigned_sum || claimed == signed_sum;
}

enum tar_format tar_header_format(const struct tar_header *header)
{
	if (memcmp(header->magic, "ustar  ", 8) == 0)
		return TAR_GNU;
	if (memcmp(header->magic, "ustar", 6) != 0)
		return TAR_V7;
	return memcmp(header->star_magic, "tar", 4) == 0 ? TAR_STAR : TAR_USTAR;
}
