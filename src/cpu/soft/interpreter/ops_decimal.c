/* ops_decimal - arithmetic with decimal digits, and BOUND: what 64-bit code has no more, so that no
 * instruction of the host's can do it (Intel SDM 2).  Flags that the manual leaves undefined are as
 * processors have them. */
#include "cpu/soft/interpreter/soft_flags.h"
#include "cpu/soft/interpreter/soft_mem.h"
#include "cpu/soft/interpreter/soft_ops.h"

enum { AFTER_ADD, AFTER_SUBTRACT };

static bool has(const struct soft_vcpu *v, unsigned flag)
{
	return (v->arith & flag) != 0;
}

static bool has_carry_of_digit(const struct soft_vcpu *v, uint8_t al)
{
	return (al & 0xf) > 9 || has(v, ARITH_AF);
}

/* Adds, or subtracts, with all flags. */
#define CHANGE(bits, suffix)                                                                      \
	static uint##bits##_t change##bits(struct soft_vcpu *v, unsigned what, uint##bits##_t by) \
	{                                                                                         \
		uint##bits##_t a = (uint##bits##_t)v->gpr[RAX];                                   \
		uint16_t arith;                                                                   \
		if (what == AFTER_ADD)                                                            \
			__asm__("add" suffix " %2, %0" ARITH_SAVE                                 \
				: "+d"(a), "=&a"(arith)                                           \
				: "q"(by)                                                         \
				: "cc");                                                          \
		else                                                                              \
			__asm__("sub" suffix " %2, %0" ARITH_SAVE                                 \
				: "+d"(a), "=&a"(arith)                                           \
				: "q"(by)                                                         \
				: "cc");                                                          \
		v->arith = arith;                                                                 \
		return a;                                                                         \
	}
CHANGE(8, "b")
CHANGE(16, "w")

static void set_carries(struct soft_vcpu *v, bool has_low, bool has_carry)
{
	v->arith = (uint16_t)((v->arith & ~(ARITH_AF | ARITH_CF)) | (has_low ? ARITH_AF : 0) |
			      (has_carry ? ARITH_CF : 0));
}

/* op->reg: after which; two digits in AL. */
static void adjust_packed(struct soft_vcpu *v, const struct soft_op *op)
{
	const uint8_t old = (uint8_t)v->gpr[RAX];
	const bool has_low = has_carry_of_digit(v, old);
	const bool has_high = old > 0x99 || has(v, ARITH_CF);
	/* Also the first step of a subtraction may borrow. */
	const bool has_carry = has_high || (op->reg == AFTER_SUBTRACT && has_low && old < 6);
	const uint8_t by = (uint8_t)((has_low ? 6 : 0) + (has_high ? 0x60 : 0));
	soft_set_reg(v, RAX * 8, 1, change8(v, op->reg, by));
	set_carries(v, has_low, has_carry);
}

/* One digit in AL, what is beyond it into AH. */
static void adjust_unpacked(struct soft_vcpu *v, const struct soft_op *op)
{
	const bool has_low = has_carry_of_digit(v, (uint8_t)v->gpr[RAX]);
	const uint16_t ax = change16(v, op->reg, has_low ? 0x106 : 0);
	soft_set_reg(v, RAX * 8, 2, ax & 0xff0f);
	set_carries(v, has_low, has_low);
}

/* imm: the base of the digits. */
static void aam(struct soft_vcpu *v, const struct soft_op *op)
{
	const uint8_t al = (uint8_t)v->gpr[RAX], base = (uint8_t)op->imm;
	if (base == 0)
		soft_raise(v, VECTOR_DE);
	soft_set_reg(v, RAX * 8, 2, (uint64_t)(al / base) << 8 | al % base);
	(void)change8(v, AFTER_ADD, 0);
}

static void aad(struct soft_vcpu *v, const struct soft_op *op)
{
	const uint8_t ah = (uint8_t)(v->gpr[RAX] >> 8);
	soft_set_reg(v, RAX * 8, 2, change8(v, AFTER_ADD, (uint8_t)(ah * op->imm)));
}

static void salc(struct soft_vcpu *v, const struct soft_op *op)
{
	(void)op;
	soft_set_reg(v, RAX * 8, 1, has(v, ARITH_CF) ? 0xff : 0);
}

static void bound(struct soft_vcpu *v, const struct soft_op *op)
{
	const unsigned size = op->size, bits = 8 * size;
	const uint64_t at = soft_address(v, op, 2 * (size_t)size, ACCESS_READ);
	int64_t word[3] = {
		(int64_t)soft_get_reg(v, op->dst, size),
		(int64_t)soft_read_size(v, at, size, v->view),
		(int64_t)soft_read_size(v, at + size, size, v->view),
	};
	for (size_t i = 0; i < ARRAY_LEN(word); i++)
		word[i] = (int64_t)((uint64_t)word[i] << (64 - bits)) >> (64 - bits);
	if (word[0] < word[1] || word[0] > word[2])
		soft_raise(v, VECTOR_BR);
}

static const struct soft_plain plain[] = {
	{ ZYDIS_MNEMONIC_AAA, adjust_unpacked, false },
	{ ZYDIS_MNEMONIC_AAD, aad, false },
	{ ZYDIS_MNEMONIC_AAM, aam, false },
	{ ZYDIS_MNEMONIC_AAS, adjust_unpacked, false },
	{ ZYDIS_MNEMONIC_BOUND, bound, false },
	{ ZYDIS_MNEMONIC_DAA, adjust_packed, false },
	{ ZYDIS_MNEMONIC_DAS, adjust_packed, false },
	{ ZYDIS_MNEMONIC_SALC, salc, false },
};

/* what: AFTER_... */
soft_handler *build_decimal(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	op->reg = (uint8_t)what;
	return soft_plain_find(plain, ARRAY_LEN(plain), in);
}
