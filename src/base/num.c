/* num - see num.h.  No strtol, no floating point in parsing: digits are gathered with overflow
 * checks, and a decimal fraction is kept as an integer scaled by a power of ten. */
#include "base/num.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

static int parse_digits(struct view text, unsigned base, uint64_t max, uint64_t *ret)
{
	uint64_t n = 0;
	if (text.len == 0)
		return -EINVAL;
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] < '0' || text.data[i] >= (char)('0' + base))
			return -EINVAL;
		uint64_t digit = (uint64_t)(text.data[i] - '0');
		if (__builtin_mul_overflow(n, base, &n) || __builtin_add_overflow(n, digit, &n))
			return -EINVAL;
	}
	if (n > max)
		return -EINVAL;
	*ret = n;
	return 0;
}

/* "12.34" as whole 12 and fraction 34 * 10^(decimals_max - 2); needs a digit on both sides of a
 * point, and decimals_max <= 18 so that the scaled fraction fits. */
static int parse_decimal(struct view text, unsigned decimals_max, uint64_t *ret_whole,
	uint64_t *ret_fraction)
{
	struct view decimals = text;
	struct view digits = view_cut(&decimals, '.');
	uint64_t whole, fraction = 0;
	if (parse_digits(digits, 10, UINT64_MAX, &whole) < 0)
		return -EINVAL;
	if (decimals.data != NULL) {
		if (decimals.len > decimals_max ||
			parse_digits(decimals, 10, UINT64_MAX, &fraction) < 0)
			return -EINVAL;
		for (size_t i = decimals.len; i < decimals_max; i++)
			fraction *= 10;
	}
	*ret_whole = whole;
	*ret_fraction = fraction;
	return 0;
}

int num_parse(struct view text, int64_t min, int64_t max, int64_t *ret)
{
	uint64_t magnitude;
	if (min < 0 && view_starts(text, "-")) {
		struct view digits = { text.data + 1, text.len - 1 };
		/* 0 - min in unsigned arithmetic is right for INT64_MIN too. */
		if (parse_digits(digits, 10, 0 - (uint64_t)min, &magnitude) < 0)
			return -EINVAL;
		int64_t n = (int64_t)(0 - magnitude);
		if (n > max)
			return -EINVAL;
		*ret = n;
		return 0;
	}
	if (max < 0 || parse_digits(text, 10, (uint64_t)max, &magnitude) < 0)
		return -EINVAL;
	if ((int64_t)magnitude < min)
		return -EINVAL;
	*ret = (int64_t)magnitude;
	return 0;
}

int num_parse_u64(struct view text, uint64_t max, uint64_t *ret)
{
	return parse_digits(text, 10, max, ret);
}

int num_parse_octal(struct view text, uint64_t max, uint64_t *ret)
{
	return parse_digits(text, 8, max, ret);
}

/* The power of 1024 that a suffix of at most three letters means, or -1. */
static int size_shift(struct view suffix)
{
	static const char units[] = "kmgtp";
	if (suffix.len == 0)
		return 0;
	char first = (char)tolower((unsigned char)suffix.data[0]);
	if (first == 'b')
		return suffix.len == 1 ? 0 : -1;
	for (int i = 0; units[i] != '\0'; i++) {
		if (units[i] != first)
			continue;
		struct view tail = { suffix.data + 1, suffix.len - 1 };
		if (tail.len == 0 || (tail.len == 1 && (tail.data[0] | 0x20) == 'b') ||
			(tail.len == 2 && (tail.data[0] | 0x20) == 'i' &&
				(tail.data[1] | 0x20) == 'b'))
			return 10 * (i + 1);
		return -1;
	}
	return -1;
}

int num_parse_size(struct view text, uint64_t *ret_bytes)
{
	enum { DECIMALS = 18 };
	const unsigned __int128 one = 1000000000000000000; /* 10^DECIMALS */
	size_t len = 0;
	while (len < text.len &&
		((text.data[len] >= '0' && text.data[len] <= '9') || text.data[len] == '.'))
		len++;
	uint64_t whole, fraction;
	if (parse_decimal((struct view){ text.data, len }, DECIMALS, &whole, &fraction) < 0)
		return -EINVAL;
	int shift = size_shift((struct view){ text.data + len, text.len - len });
	if (shift < 0 || whole > (uint64_t)INT64_MAX >> shift)
		return -EINVAL;
	uint64_t bytes = whole << shift;
	bytes += (uint64_t)(((unsigned __int128)fraction << shift) / one);
	if (bytes > INT64_MAX)
		return -EINVAL;
	*ret_bytes = bytes;
	return 0;
}

int num_parse_nano(struct view text, int64_t *ret_nano)
{
	uint64_t whole, fraction;
	int64_t nano;
	if (parse_decimal(text, 9, &whole, &fraction) < 0 ||
		__builtin_mul_overflow(whole, 1000000000, &nano) ||
		__builtin_add_overflow(nano, fraction, &nano))
		return -EINVAL;
	*ret_nano = nano;
	return 0;
}

/* go-units' CustomSize: significant digits, unit by repeated division. */
static const struct size_style {
	double base;
	double carry; /* from here on the next unit is taken */
	int digits;
	const char *units[7];
} size_decimal = {
	/* Three digits round 999.5 up to 1000, which Go prints as "1e+03kB". */
	1000, 999.5, 3, {"B", "kB", "MB", "GB", "TB", "PB", "EB"}},
  size_binary = {1024, 1024, 4, {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}};

static const char *size_text(uint64_t bytes, const struct size_style *style, char *buffer)
{
	double value = (double)bytes;
	size_t unit = 0;
	/* 2^64 bytes are 18 EB: the last unit is never passed. */
	while (value >= style->carry) {
		value /= style->base;
		unit++;
	}
	(void)snprintf(buffer, NUM_SIZE_TEXT_MAX, "%.*g%s", style->digits, value,
		style->units[unit]);
	return buffer;
}

const char *num_size_decimal(uint64_t bytes, char buffer[NUM_SIZE_TEXT_MAX])
{
	return size_text(bytes, &size_decimal, buffer);
}

const char *num_size_binary(uint64_t bytes, char buffer[NUM_SIZE_TEXT_MAX])
{
	return size_text(bytes, &size_binary, buffer);
}
