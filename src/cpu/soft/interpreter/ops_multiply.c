/* ops_multiply - products and quotients.  The one-operand forms work on the accumulator pair; a
 * quotient that does not fit is #DE.
 *
 * The real instructions fill rax, which is also where flags are loaded and saved: the low half goes
 * through another register, by moves, which leave flags alone. */
#include "cpu/soft/interpreter/soft_flags.h"
#include "cpu/soft/interpreter/soft_mem.h"
#include "cpu/soft/interpreter/soft_ops.h"
#include "cpu/soft/interpreter/soft_widths.h"

static uint64_t operand(struct soft_vcpu *v, const struct soft_op *op, unsigned reg)
{
	if (op->is_memory)
		return soft_read_size(v, soft_address(v, op, op->size, ACCESS_READ), op->size,
			v->view);
	return soft_get_reg(v, reg, op->size);
}

/* ---- of the accumulator pair ---- */

/* mul, imul, div, idiv: low and high in, low and high out. */
#define PAIR_WIDTH(name, insn, bits, type, suffix, accumulator)                            \
	static void name##_raw_##bits(type *low, type *high, type b, uint16_t *arith)      \
	{                                                                                  \
		type l = *low, h = *high;                                                  \
		uint16_t flags = *arith;                                                   \
		__asm__(ARITH_LOAD "mov" suffix " %1, %%" accumulator "\n\t" insn suffix   \
				   " %3\n\tmov" suffix " %%" accumulator ", %1" ARITH_SAVE \
			: "+a"(flags), "+&r"(l), "+d"(h)                                   \
			: "r"(b)                                                           \
			: "cc");                                                           \
		*low = l;                                                                  \
		*high = h;                                                                 \
		*arith = flags;                                                            \
	}
#define PAIR(name, insn)                                                                       \
	PAIR_WIDTH(name, insn, 16, uint16_t, "w", "ax")                                        \
	PAIR_WIDTH(name, insn, 32, uint32_t, "l", "eax")                                       \
	PAIR_WIDTH(name, insn, 64, uint64_t, "q", "rax")                                       \
	/* Bytes have ax as their pair. */                                                     \
	static void name##_raw_8(uint16_t *ax, uint8_t b, uint16_t *arith)                     \
	{                                                                                      \
		uint16_t l = *ax, flags = *arith;                                              \
		__asm__(ARITH_LOAD "movw %1, %%ax\n\t" insn "b %2\n\tmovw %%ax, %1" ARITH_SAVE \
			: "+a"(flags), "+&r"(l)                                                \
			: "q"(b)                                                               \
			: "cc");                                                               \
		*ax = l;                                                                       \
		*arith = flags;                                                                \
	}

PAIR(mul, "mul")
PAIR(imul, "imul")
PAIR(div, "div")
PAIR(idiv, "idiv")

static bool fits_div(uint64_t high, uint64_t low, uint64_t b, unsigned size)
{
	(void)low, (void)size;
	return high < b;
}

static bool fits_idiv(uint64_t high, uint64_t low, uint64_t b, unsigned size)
{
	unsigned bits = 8 * size;
	__int128 dividend = (__int128)((unsigned __int128)high << bits | low);
	unsigned shift = 128 - 2 * bits;
	dividend = (__int128)((unsigned __int128)dividend << shift) >> shift;
	int64_t divisor = (int64_t)(b << (64 - bits)) >> (64 - bits);
	const __int128 most = ((__int128)1 << (bits - 1)) - 1;
	const __int128 least = -most - 1;
	if (divisor == 0 || (divisor == -1 && dividend < -most))
		return false;
	__int128 quotient = dividend / divisor;
	return quotient >= least && quotient <= most;
}

static bool fits_always(uint64_t high, uint64_t low, uint64_t b, unsigned size)
{
	(void)high, (void)low, (void)b, (void)size;
	return true;
}

#define PAIR_HANDLER(name, bits, type, fits)                                                    \
	static void name##_##bits(struct soft_vcpu *v, const struct soft_op *op)                \
	{                                                                                       \
		type b = (type)operand(v, op, op->dst);                                         \
		type low = soft_load##bits(&v->gpr[RAX]), high = soft_load##bits(&v->gpr[RDX]); \
		if (!fits(high, low, b, bits / 8))                                              \
			soft_raise(v, VECTOR_DE);                                               \
		name##_raw_##bits(&low, &high, b, &v->arith);                                   \
		soft_set_reg(v, RAX * 8, bits / 8, low);                                        \
		soft_set_reg(v, RDX * 8, bits / 8, high);                                       \
	}
#define PAIR_HANDLERS(name, fits)                                           \
	PAIR_HANDLER(name, 16, uint16_t, fits)                              \
	PAIR_HANDLER(name, 32, uint32_t, fits)                              \
	PAIR_HANDLER(name, 64, uint64_t, fits)                              \
	static void name##_8(struct soft_vcpu *v, const struct soft_op *op) \
	{                                                                   \
		uint8_t b = (uint8_t)operand(v, op, op->dst);               \
		uint16_t ax = soft_load16(&v->gpr[RAX]);                    \
		if (!fits(ax >> 8, ax & 0xff, b, 1))                        \
			soft_raise(v, VECTOR_DE);                           \
		name##_raw_8(&ax, b, &v->arith);                            \
		soft_set_reg(v, RAX * 8, 2, ax);                            \
	}

PAIR_HANDLERS(mul, fits_always)
PAIR_HANDLERS(imul, fits_always)
PAIR_HANDLERS(div, fits_div)
PAIR_HANDLERS(idiv, fits_idiv)

static soft_handler *const pairs[][4] = { WIDTH_ROW(mul), WIDTH_ROW(imul), WIDTH_ROW(div),
	WIDTH_ROW(idiv) };

/* ---- imul of two and three operands ---- */

#define IMUL(bits, type, suffix, c)                                                               \
	static void imul_of_##bits(struct soft_vcpu *v, const struct soft_op *op, type a, type b) \
	{                                                                                         \
		uint16_t arith = v->arith;                                                        \
		__asm__(ARITH_LOAD "imul" suffix " %2, %0" ARITH_SAVE                             \
			: "+" c(a), "+a"(arith)                                                   \
			: c(b)                                                                    \
			: "cc");                                                                  \
		v->arith = arith;                                                                 \
		soft_set_reg(v, op->dst, bits / 8, a);                                            \
	}                                                                                         \
	static void imul_two_##bits(struct soft_vcpu *v, const struct soft_op *op)                \
	{                                                                                         \
		type b = (type)operand(v, op, op->src);                                           \
		imul_of_##bits(v, op, soft_load##bits(soft_reg(v, op->dst)), b);                  \
	}                                                                                         \
	static void imul_three_##bits(struct soft_vcpu *v, const struct soft_op *op)              \
	{                                                                                         \
		imul_of_##bits(v, op, (type)operand(v, op, op->src), (type)op->imm);              \
	}
WIDE_WIDTHS(IMUL)

static soft_handler *const imul_two[4] = WIDE_ROW(imul_two);
static soft_handler *const imul_three[4] = WIDE_ROW(imul_three);

soft_handler *build_multiply(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	unsigned width = soft_width(op->size);
	switch (in->info.operand_count_visible) {
	case 1: return pairs[what][width];
	case 2: return imul_two[width];
	default: return imul_three[width];
	}
}

/* ---- mulx: no flags; the second visible operand gets the low half ---- */

static void mulx(struct soft_vcpu *v, const struct soft_op *op)
{
	uint64_t b = op->is_memory ? soft_read_size(v, soft_address(v, op, op->size, ACCESS_READ),
					     op->size, v->view)
				   : soft_get_reg(v, op->reg, op->size);
	unsigned __int128 product = (unsigned __int128)soft_get_reg(v, RDX * 8, op->size) * b;
	soft_set_reg(v, op->src, op->size, (uint64_t)product);
	soft_set_reg(v, op->dst, op->size, (uint64_t)(product >> (8 * op->size)));
}

soft_handler *build_mulx(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)what;
	if (in->operand[2].type == ZYDIS_OPERAND_TYPE_REGISTER)
		op->reg = soft_register_offset(in->operand[2].reg.value);
	return mulx;
}
