/* soft_widths - what a handler's template says for each width of its operands: X(bits, type, the
 * instruction's suffix, the constraint of a register that has that width). */
#pragma once

#define WIDTHS(X)               \
	X(8, uint8_t, "b", "q") \
	X(16, uint16_t, "w", "r") X(32, uint32_t, "l", "r") X(64, uint64_t, "q", "r")
#define WIDE_WIDTHS(X) X(16, uint16_t, "w", "r") X(32, uint32_t, "l", "r") X(64, uint64_t, "q", "r")

/* A table of one template's handlers: index by soft_width(). */
#define WIDTH_ROW(name)                                   \
	{                                                 \
		name##_8, name##_16, name##_32, name##_64 \
	}
#define WIDE_ROW(name)                                \
	{                                             \
		NULL, name##_16, name##_32, name##_64 \
	}

static inline unsigned soft_width(unsigned size)
{
	return size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3;
}
