/* ops_alu - add, subtract, compare, logic: one or two operands, of which one may be in memory.
 *
 * Three templates make the handlers: with a register as the destination, with memory as the
 * destination, and without one (cmp, test).  In memory the instruction works on the guest's bytes
 * themselves, locked or not; where they are not at hand (a device, two pages, decoded code) it
 * works on a copy. */
#include "cpu/soft/interpreter/soft_flags.h"
#include "cpu/soft/interpreter/soft_mem.h"
#include "cpu/soft/interpreter/soft_ops.h"
#include "cpu/soft/interpreter/soft_widths.h"

/* The second operand: a register, or the immediate. */
#define SRC_reg(bits) soft_load##bits(soft_reg(v, op->src))
#define SRC_imm(bits) (uint##bits##_t) op->imm
#define SRC_mem(bits) soft_read##bits(v, soft_address(v, op, bits / 8, ACCESS_READ))
#define DST_reg(bits) soft_load##bits(soft_reg(v, op->dst))
#define DST_mem(bits) soft_read##bits(v, soft_address(v, op, bits / 8, ACCESS_READ))

/* ---- two operands ---- */

#define TO_REGISTER(name, load, flags, insn, suffix, bits, type, constraint, from)          \
	static void name##_r_##from##_##bits(struct soft_vcpu *v, const struct soft_op *op) \
	{                                                                                   \
		type b = SRC_##from(bits), a = DST_reg(bits);                               \
		uint16_t arith = flags;                                                     \
		__asm__(load insn suffix " %2, %0" ARITH_SAVE                               \
			: "+" constraint(a), "+a"(arith)                                    \
			: constraint(b)                                                     \
			: "cc");                                                            \
		v->arith = arith;                                                           \
		soft_set_reg(v, op->dst, bits / 8, a);                                      \
	}

#define TO_MEMORY(name, load, flags, prefix, insn, suffix, bits, type, constraint, from)    \
	static void name##_m_##from##_##bits(struct soft_vcpu *v, const struct soft_op *op) \
	{                                                                                   \
		uint64_t linear = soft_address(v, op, bits / 8, ACCESS_WRITE);              \
		type b = SRC_##from(bits), copy = 0;                                        \
		type *bytes = soft_writable(v, linear, bits / 8);                           \
		if (bytes == NULL) {                                                        \
			copy = soft_read##bits(v, linear);                                  \
			bytes = &copy;                                                      \
		}                                                                           \
		uint16_t arith = flags;                                                     \
		__asm__ volatile(load prefix insn suffix " %2, %0" ARITH_SAVE               \
				 : "+m"(*bytes), "+a"(arith)                                \
				 : constraint(b)                                            \
				 : "cc");                                                   \
		if (bytes == &copy)                                                         \
			soft_write##bits(v, linear, copy);                                  \
		v->arith = arith;                                                           \
	}

#define COMPARE(name, insn, suffix, bits, type, constraint, to, from)                            \
	static void name##_##to##_##from##_##bits(struct soft_vcpu *v, const struct soft_op *op) \
	{                                                                                        \
		type b = SRC_##from(bits), a = DST_##to(bits);                                   \
		uint16_t arith;                                                                  \
		__asm__(insn suffix " %2, %1" ARITH_SAVE                                         \
			: "=&a"(arith)                                                           \
			: constraint(a), constraint(b)                                           \
			: "cc");                                                                 \
		v->arith = arith;                                                                \
	}

enum {
	TWO_R_REG,
	TWO_R_IMM,
	TWO_R_MEM,
	TWO_M_REG,
	TWO_M_IMM,
	TWO_LOCK_REG,
	TWO_LOCK_IMM,
	TWO_FORMS
};

#define TWO_WIDTH(name, load, flags, insn, bits, type, suffix, c)                      \
	TO_REGISTER(name, load, flags, insn, suffix, bits, type, c, reg)               \
	TO_REGISTER(name, load, flags, insn, suffix, bits, type, c, imm)               \
	TO_REGISTER(name, load, flags, insn, suffix, bits, type, c, mem)               \
	TO_MEMORY(name, load, flags, "", insn, suffix, bits, type, c, reg)             \
	TO_MEMORY(name, load, flags, "", insn, suffix, bits, type, c, imm)             \
	TO_MEMORY(lock_##name, load, flags, "lock ", insn, suffix, bits, type, c, reg) \
	TO_MEMORY(lock_##name, load, flags, "lock ", insn, suffix, bits, type, c, imm)
#define TWO(name, load, flags, insn)                               \
	TWO_WIDTH(name, load, flags, insn, 8, uint8_t, "b", "q")   \
	TWO_WIDTH(name, load, flags, insn, 16, uint16_t, "w", "r") \
	TWO_WIDTH(name, load, flags, insn, 32, uint32_t, "l", "r") \
	TWO_WIDTH(name, load, flags, insn, 64, uint64_t, "q", "r")
#define TWO_ROWS(name)                                                                     \
	{                                                                                  \
		WIDTH_ROW(name##_r_reg), WIDTH_ROW(name##_r_imm), WIDTH_ROW(name##_r_mem), \
			WIDTH_ROW(name##_m_reg), WIDTH_ROW(name##_m_imm),                  \
			WIDTH_ROW(lock_##name##_m_reg), WIDTH_ROW(lock_##name##_m_imm)     \
	}

TWO(add, "", 0, "add")
TWO(or, "", 0, "or")
TWO(adc, ARITH_LOAD, v->arith, "adc")
TWO(sbb, ARITH_LOAD, v->arith, "sbb")
TWO(and, "", 0, "and")
TWO(sub, "", 0, "sub")
TWO(xor, "", 0, "xor")

static soft_handler *const two[][TWO_FORMS][4] = { TWO_ROWS(add), TWO_ROWS(or), TWO_ROWS(adc),
	TWO_ROWS(sbb), TWO_ROWS(and), TWO_ROWS(sub), TWO_ROWS(xor) };

soft_handler *build_two(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	unsigned lock = op->is_locked ? TWO_LOCK_REG - TWO_M_REG : 0;
	unsigned width = soft_width(op->size);
	switch ((int)in->form) {
	case FORM_RR: return two[what][TWO_R_REG][width];
	case FORM_RI: return two[what][TWO_R_IMM][width];
	case FORM_RM: return two[what][TWO_R_MEM][width];
	case FORM_MR: return two[what][TWO_M_REG + lock][width];
	case FORM_MI: return two[what][TWO_M_IMM + lock][width];
	default: return NULL;
	}
}

enum { COMPARE_RR, COMPARE_RI, COMPARE_RM, COMPARE_MR, COMPARE_MI, COMPARE_FORMS };

#define COMPARE_ALL(name, insn, bits, type, suffix, c)       \
	COMPARE(name, insn, suffix, bits, type, c, reg, reg) \
	COMPARE(name, insn, suffix, bits, type, c, reg, imm) \
	COMPARE(name, insn, suffix, bits, type, c, reg, mem) \
	COMPARE(name, insn, suffix, bits, type, c, mem, reg) \
	COMPARE(name, insn, suffix, bits, type, c, mem, imm)
#define COMPARE_ROWS(name)                                                                       \
	{                                                                                        \
		WIDTH_ROW(name##_reg_reg), WIDTH_ROW(name##_reg_imm), WIDTH_ROW(name##_reg_mem), \
			WIDTH_ROW(name##_mem_reg), WIDTH_ROW(name##_mem_imm)                     \
	}

COMPARE_ALL(cmp, "cmp", 8, uint8_t, "b", "q")
COMPARE_ALL(cmp, "cmp", 16, uint16_t, "w", "r")
COMPARE_ALL(cmp, "cmp", 32, uint32_t, "l", "r")
COMPARE_ALL(cmp, "cmp", 64, uint64_t, "q", "r")
COMPARE_ALL(test, "test", 8, uint8_t, "b", "q")
COMPARE_ALL(test, "test", 16, uint16_t, "w", "r")
COMPARE_ALL(test, "test", 32, uint32_t, "l", "r")
COMPARE_ALL(test, "test", 64, uint64_t, "q", "r")

static soft_handler *const compare[][COMPARE_FORMS][4] = { COMPARE_ROWS(cmp), COMPARE_ROWS(test) };

soft_handler *build_compare(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	unsigned width = soft_width(op->size);
	switch ((int)in->form) {
	case FORM_RR: return compare[what][COMPARE_RR][width];
	case FORM_RI: return compare[what][COMPARE_RI][width];
	case FORM_RM: return compare[what][COMPARE_RM][width];
	case FORM_MR: return compare[what][COMPARE_MR][width];
	case FORM_MI: return compare[what][COMPARE_MI][width];
	default: return NULL;
	}
}

/* ---- one operand ---- */

#define ONE_REGISTER(name, load, flags, insn, suffix, bits, type, constraint)      \
	static void name##_r_##bits(struct soft_vcpu *v, const struct soft_op *op) \
	{                                                                          \
		type a = DST_reg(bits);                                            \
		uint16_t arith = flags;                                            \
		__asm__(load insn suffix " %0" ARITH_SAVE                          \
			: "+" constraint(a), "+a"(arith)                           \
			:                                                          \
			: "cc");                                                   \
		v->arith = arith;                                                  \
		soft_set_reg(v, op->dst, bits / 8, a);                             \
	}

#define ONE_MEMORY(name, load, flags, prefix, insn, suffix, bits, type)            \
	static void name##_m_##bits(struct soft_vcpu *v, const struct soft_op *op) \
	{                                                                          \
		uint64_t linear = soft_address(v, op, bits / 8, ACCESS_WRITE);     \
		type copy = 0;                                                     \
		type *bytes = soft_writable(v, linear, bits / 8);                  \
		if (bytes == NULL) {                                               \
			copy = soft_read##bits(v, linear);                         \
			bytes = &copy;                                             \
		}                                                                  \
		uint16_t arith = flags;                                            \
		__asm__ volatile(load prefix insn suffix " %0" ARITH_SAVE          \
				 : "+m"(*bytes), "+a"(arith)                       \
				 :                                                 \
				 : "cc");                                          \
		if (bytes == &copy)                                                \
			soft_write##bits(v, linear, copy);                         \
		v->arith = arith;                                                  \
	}

#define ONE_WIDTH(name, load, flags, insn, bits, type, suffix, c)    \
	ONE_REGISTER(name, load, flags, insn, suffix, bits, type, c) \
	ONE_MEMORY(name, load, flags, "", insn, suffix, bits, type)  \
	ONE_MEMORY(lock_##name, load, flags, "lock ", insn, suffix, bits, type)
#define ONE(name, load, flags, insn)                               \
	ONE_WIDTH(name, load, flags, insn, 8, uint8_t, "b", "q")   \
	ONE_WIDTH(name, load, flags, insn, 16, uint16_t, "w", "r") \
	ONE_WIDTH(name, load, flags, insn, 32, uint32_t, "l", "r") \
	ONE_WIDTH(name, load, flags, insn, 64, uint64_t, "q", "r")

ONE(inc, ARITH_LOAD, v->arith, "inc")
ONE(dec, ARITH_LOAD, v->arith, "dec")
ONE(neg, "", 0, "neg")
ONE(not, ARITH_LOAD, v->arith, "not")

#define ONE_ROWS(name)                                                               \
	{                                                                            \
		WIDTH_ROW(name##_r), WIDTH_ROW(name##_m), WIDTH_ROW(lock_##name##_m) \
	}
static soft_handler *const one[][3][4] = { ONE_ROWS(inc), ONE_ROWS(dec), ONE_ROWS(neg),
	ONE_ROWS(not ) };

soft_handler *build_one(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	if (in->form != FORM_R && in->form != FORM_M)
		return NULL;
	return one[what][in->form == FORM_R ? 0 : op->is_locked ? 2 : 1][soft_width(op->size)];
}
