/* ops_shift - shifts and rotations: by 1, by an immediate, by cl; and those of two registers.
 *
 * A count of 0 changes no flag, which the real instruction sees to. */
#include "cpu/soft/interpreter/soft_flags.h"
#include "cpu/soft/interpreter/soft_mem.h"
#include "cpu/soft/interpreter/soft_ops.h"
#include "cpu/soft/interpreter/soft_widths.h"

/* op->reg: whether the count is in cl. */
static uint8_t count_of(const struct soft_vcpu *v, const struct soft_op *op)
{
	return op->reg != 0 ? (uint8_t)v->gpr[RCX] : (uint8_t)op->imm;
}

#define SHIFT_WIDTH(name, insn, bits, type, suffix, c)                                            \
	static type name##_##bits(type a, uint8_t count, uint16_t *arith)                         \
	{                                                                                         \
		uint16_t flags = *arith;                                                          \
		__asm__(ARITH_LOAD insn suffix " %%cl, %0" ARITH_SAVE                             \
			: "+" c(a), "+a"(flags)                                                   \
			: "c"(count)                                                              \
			: "cc");                                                                  \
		*arith = flags;                                                                   \
		return a;                                                                         \
	}                                                                                         \
	static void name##_r_##bits(struct soft_vcpu *v, const struct soft_op *op)                \
	{                                                                                         \
		type a = soft_load##bits(soft_reg(v, op->dst));                                   \
		soft_set_reg(v, op->dst, bits / 8, name##_##bits(a, count_of(v, op), &v->arith)); \
	}                                                                                         \
	static void name##_m_##bits(struct soft_vcpu *v, const struct soft_op *op)                \
	{                                                                                         \
		uint64_t linear = soft_address(v, op, bits / 8, ACCESS_WRITE);                    \
		soft_touch(v, linear, bits / 8, ACCESS_WRITE, v->view);                           \
		type a = soft_read##bits(v, linear);                                              \
		soft_write##bits(v, linear, name##_##bits(a, count_of(v, op), &v->arith));        \
	}
#define SHIFT(name, insn)                               \
	SHIFT_WIDTH(name, insn, 8, uint8_t, "b", "q")   \
	SHIFT_WIDTH(name, insn, 16, uint16_t, "w", "r") \
	SHIFT_WIDTH(name, insn, 32, uint32_t, "l", "r") \
	SHIFT_WIDTH(name, insn, 64, uint64_t, "q", "r")

SHIFT(rol, "rol")
SHIFT(ror, "ror")
SHIFT(rcl, "rcl")
SHIFT(rcr, "rcr")
SHIFT(shl, "shl")
SHIFT(shr, "shr")
SHIFT(sar, "sar")

#define SHIFT_ROWS(name)                                 \
	{                                                \
		WIDTH_ROW(name##_r), WIDTH_ROW(name##_m) \
	}
static soft_handler *const shifts[][2][4] = { SHIFT_ROWS(rol), SHIFT_ROWS(ror), SHIFT_ROWS(rcl),
	SHIFT_ROWS(rcr), SHIFT_ROWS(shl), SHIFT_ROWS(shr), SHIFT_ROWS(sar) };

soft_handler *build_shift(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	bool has_memory = in->form == FORM_MI || in->form == FORM_MR;
	op->reg = in->operand[1].type == ZYDIS_OPERAND_TYPE_REGISTER;
	return shifts[what][has_memory][soft_width(op->size)];
}

/* ---- two registers: dst is filled from src ---- */

#define DOUBLE_WIDTH(name, insn, bits, type, suffix)                                          \
	static type name##_##bits(type a, type b, uint8_t count, uint16_t *arith)             \
	{                                                                                     \
		uint16_t flags = *arith;                                                      \
		__asm__(ARITH_LOAD insn suffix " %%cl, %3, %0" ARITH_SAVE                     \
			: "+r"(a), "+a"(flags)                                                \
			: "c"(count), "r"(b)                                                  \
			: "cc");                                                              \
		*arith = flags;                                                               \
		return a;                                                                     \
	}                                                                                     \
	static void name##_r_##bits(struct soft_vcpu *v, const struct soft_op *op)            \
	{                                                                                     \
		type a = soft_load##bits(soft_reg(v, op->dst));                               \
		type b = soft_load##bits(soft_reg(v, op->src));                               \
		soft_set_reg(v, op->dst, bits / 8,                                            \
			name##_##bits(a, b, count_of(v, op), &v->arith));                     \
	}                                                                                     \
	static void name##_m_##bits(struct soft_vcpu *v, const struct soft_op *op)            \
	{                                                                                     \
		uint64_t linear = soft_address(v, op, bits / 8, ACCESS_WRITE);                \
		soft_touch(v, linear, bits / 8, ACCESS_WRITE, v->view);                       \
		type a = soft_read##bits(v, linear);                                          \
		type b = soft_load##bits(soft_reg(v, op->src));                               \
		soft_write##bits(v, linear, name##_##bits(a, b, count_of(v, op), &v->arith)); \
	}
#define DOUBLE(name, insn)                          \
	DOUBLE_WIDTH(name, insn, 16, uint16_t, "w") \
	DOUBLE_WIDTH(name, insn, 32, uint32_t, "l") \
	DOUBLE_WIDTH(name, insn, 64, uint64_t, "q")

DOUBLE(shld, "shld")
DOUBLE(shrd, "shrd")

static soft_handler *const doubles[][2][4] = { { WIDE_ROW(shld_r), WIDE_ROW(shld_m) },
	{ WIDE_ROW(shrd_r), WIDE_ROW(shrd_m) } };

soft_handler *build_double_shift(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	op->reg = in->operand[2].type == ZYDIS_OPERAND_TYPE_REGISTER;
	return doubles[what][in->form == FORM_MR][soft_width(op->size)];
}
