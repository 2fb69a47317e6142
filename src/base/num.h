/* num - numbers from text and across widths, checked. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/text.h"

/* Decimal digits only (a leading '-' where min is negative), nothing around them, min <= n <= max.
 * 0, or -EINVAL and *ret untouched. */
MUST_CHECK int num_parse(struct view text, int64_t min, int64_t max, int64_t *ret);
MUST_CHECK int num_parse_u64(struct view text, uint64_t max, uint64_t *ret);
MUST_CHECK int num_parse_octal(struct view text, uint64_t max, uint64_t *ret);

/* A size in bytes as Docker takes it: digits, an optional fraction, then b, k, m, g, t, p in either
 * case (powers of 1024), optionally followed by "b" or "ib".  Rounded down, at most INT64_MAX. */
MUST_CHECK int num_parse_size(struct view text, uint64_t *ret_bytes);

/* "1.5" CPUs as billionths; up to nine decimals. */
MUST_CHECK int num_parse_nano(struct view text, int64_t *ret_nano);

/* "1.23MB" and "1.2MiB" as Docker prints sizes; writes into buffer, returns it. */
#define NUM_SIZE_TEXT_MAX 24
const char *num_size_decimal(uint64_t bytes, char buffer[NUM_SIZE_TEXT_MAX]);
const char *num_size_binary(uint64_t bytes, char buffer[NUM_SIZE_TEXT_MAX]);

/* num_cast(&narrow, wide): true if the value fits (then stored), false if not. */
#define num_cast(ret_narrow, wide) (!__builtin_add_overflow((wide), 0, (ret_narrow)))
