/* soft_flags - arithmetic with the flags it sets.
 *
 * The software CPU runs on x86-64 only, so each operation is the real instruction: what it does to
 * the flags, also to those that manuals leave undefined, is what it does in ring 3 beside it.  The
 * flags are kept as LAHF and SETO give them, in 16 bits: two instructions to save, two to load. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define ARITH_OF 0x0001u
#define ARITH_CF 0x0100u
#define ARITH_PF 0x0400u
#define ARITH_AF 0x1000u
#define ARITH_ZF 0x4000u
#define ARITH_SF 0x8000u

/* Behind an instruction: its flags into ax. */
#define ARITH_SAVE "\n\tlahf\n\tseto %%al"
/* Before one: the flags from ax (which it leaves undefined: save them behind it). */
#define ARITH_LOAD "addb $127, %%al\n\tsahf\n\t"

static inline bool soft_condition(uint16_t arith, unsigned condition)
{
	bool is_true;
	/* In the order of condition codes; the odd ones are their opposites. */
	switch (condition >> 1) {
	case 0: is_true = (arith & ARITH_OF) != 0; break;
	case 1: is_true = (arith & ARITH_CF) != 0; break;
	case 2: is_true = (arith & ARITH_ZF) != 0; break;
	case 3: is_true = (arith & (ARITH_CF | ARITH_ZF)) != 0; break;
	case 4: is_true = (arith & ARITH_SF) != 0; break;
	case 5: is_true = (arith & ARITH_PF) != 0; break;
	case 6: is_true = (arith >> 15) != (arith & ARITH_OF); break;
	default: is_true = (arith & ARITH_ZF) != 0 || (arith >> 15) != (arith & ARITH_OF); break;
	}
	return is_true != (condition & 1);
}
