/* ticks - from one clock's ticks to another's, exactly: no value wraps, too large ones saturate. */
#pragma once

#include <stdint.h>

/* value * mul / div, rounded down. */
static inline uint64_t ticks_scale(uint64_t value, uint64_t mul, uint64_t div)
{
	unsigned __int128 wide = (unsigned __int128)value * mul / div;
	return wide > UINT64_MAX ? UINT64_MAX : (uint64_t)wide;
}

/* The same, rounded up: the first tick at which so much time has gone by. */
static inline uint64_t ticks_scale_up(uint64_t value, uint64_t mul, uint64_t div)
{
	unsigned __int128 wide = ((unsigned __int128)value * mul + div - 1) / div;
	return wide > UINT64_MAX ? UINT64_MAX : (uint64_t)wide;
}

static inline uint64_t ticks_add(uint64_t a, uint64_t b)
{
	uint64_t sum;
	return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}
