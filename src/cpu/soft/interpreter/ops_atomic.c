/* ops_atomic - exchange and compare, mostly under LOCK: on the guest's bytes with the real
 * instruction.  Where they are not at hand (a device, two pages, decoded code) it works on a copy,
 * which is not atomic: a split lock, which kernels do not take, is the one case that matters. */
#include "cpu/soft/interpreter/soft_flags.h"
#include "cpu/soft/interpreter/soft_mem.h"
#include "cpu/soft/interpreter/soft_ops.h"
#include "cpu/soft/interpreter/soft_widths.h"
#include "cpu/soft/soft_machine.h"

/* ---- xadd ---- */

#define ADD_EXCHANGE(bits, type, suffix, c)                                         \
	static void xadd_##bits(struct soft_vcpu *v, const struct soft_op *op)      \
	{                                                                           \
		type b = soft_load##bits(soft_reg(v, op->src)), copy = 0;           \
		type *bytes = &copy;                                                \
		uint64_t linear = 0;                                                \
		if (op->is_memory) {                                                \
			linear = soft_address(v, op, bits / 8, ACCESS_WRITE);       \
			bytes = soft_writable(v, linear, bits / 8);                 \
			if (bytes == NULL) {                                        \
				copy = soft_read##bits(v, linear);                  \
				bytes = &copy;                                      \
			}                                                           \
		} else {                                                            \
			copy = soft_load##bits(soft_reg(v, op->dst));               \
		}                                                                   \
		uint16_t arith = v->arith;                                          \
		__asm__ volatile(ARITH_LOAD "lock xadd" suffix " %2, %0" ARITH_SAVE \
				 : "+m"(*bytes), "+a"(arith), "+" c(b)              \
				 :                                                  \
				 : "cc", "memory");                                 \
		if (bytes == &copy && op->is_memory)                                \
			soft_write##bits(v, linear, copy);                          \
		v->arith = arith;                                                   \
		soft_set_reg(v, op->src, bits / 8, b);                              \
		if (!op->is_memory)                                                 \
			soft_set_reg(v, op->dst, bits / 8, copy);                   \
	}
WIDTHS(ADD_EXCHANGE)

static soft_handler *const xadds[4] = WIDTH_ROW(xadd);

soft_handler *build_xadd(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)in, (void)what;
	return xadds[soft_width(op->size)];
}

/* ---- cmpxchg ---- */

/* The accumulator is written only on a mismatch, a register destination only on a match; then as by
 * mov: 32 bits clear the upper half. */
#define COMPARE_EXCHANGE(bits, type, suffix, c)                                         \
	static void cmpxchg_##bits(struct soft_vcpu *v, const struct soft_op *op)       \
	{                                                                               \
		type b = soft_load##bits(soft_reg(v, op->src)), copy = 0;               \
		type old = soft_load##bits(&v->gpr[RAX]);                               \
		type *bytes = &copy;                                                    \
		uint64_t linear = 0;                                                    \
		if (op->is_memory) {                                                    \
			linear = soft_address(v, op, bits / 8, ACCESS_WRITE);           \
			bytes = soft_writable(v, linear, bits / 8);                     \
			if (bytes == NULL) {                                            \
				copy = soft_read##bits(v, linear);                      \
				bytes = &copy;                                          \
			}                                                               \
		} else {                                                                \
			copy = soft_load##bits(soft_reg(v, op->dst));                   \
		}                                                                       \
		uint64_t flags;                                                         \
		__asm__ volatile("lock cmpxchg" suffix " %3, %0\n\tpushfq\n\tpopq %2"   \
				 : "+m"(*bytes), "+a"(old), "=r"(flags)                 \
				 : c(b)                                                 \
				 : "cc", "memory");                                     \
		if (bytes == &copy && op->is_memory)                                    \
			soft_write##bits(v, linear, copy);                              \
		v->arith = (uint16_t)((flags & 0xd5) << 8 | 0x200 | (flags >> 11 & 1)); \
		if ((flags & FLAG_ZF) == 0)                                             \
			soft_set_reg(v, RAX * 8, bits / 8, old);                        \
		else if (!op->is_memory)                                                \
			soft_set_reg(v, op->dst, bits / 8, copy);                       \
	}
WIDTHS(COMPARE_EXCHANGE)

static soft_handler *const cmpxchgs[4] = WIDTH_ROW(cmpxchg);

soft_handler *build_cmpxchg(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)in, (void)what;
	return cmpxchgs[soft_width(op->size)];
}

/* ---- cmpxchg8b, cmpxchg16b: only ZF ---- */

static void set_zero(struct soft_vcpu *v, bool is_set)
{
	v->arith = (uint16_t)(is_set ? v->arith | ARITH_ZF : v->arith & ~ARITH_ZF);
}

static void cmpxchg8b(struct soft_vcpu *v, const struct soft_op *op)
{
	uint64_t linear = soft_address(v, op, 8, ACCESS_WRITE);
	uint64_t expected = v->gpr[RDX] << 32 | (uint32_t)v->gpr[RAX], found = expected;
	uint64_t wanted = v->gpr[RCX] << 32 | (uint32_t)v->gpr[RBX];
	uint64_t *bytes = soft_writable(v, linear, 8), copy = 0;
	if (bytes == NULL) {
		copy = soft_read64(v, linear);
		bytes = &copy;
	}
	__asm__ volatile("lock cmpxchgq %2, %0"
			 : "+m"(*bytes), "+a"(found)
			 : "r"(wanted)
			 : "cc", "memory");
	if (bytes == &copy)
		soft_write64(v, linear, copy);
	set_zero(v, found == expected);
	if (found != expected) {
		v->gpr[RAX] = (uint32_t)found;
		v->gpr[RDX] = found >> 32;
	}
}

static void cmpxchg16b(struct soft_vcpu *v, const struct soft_op *op)
{
	uint64_t linear = soft_address(v, op, 16, ACCESS_WRITE);
	if (linear % 16 != 0)
		soft_raise_error(v, VECTOR_GP, 0);
	uint64_t low = v->gpr[RAX], high = v->gpr[RDX];
	struct pair {
		uint64_t low, high;
	} __attribute__((aligned(16))) copy, *bytes = soft_writable(v, linear, 16);
	if (bytes == NULL) {
		copy.low = soft_read64(v, linear);
		copy.high = soft_read64(v, linear + 8);
		bytes = &copy;
	}
	bool is_equal;
	__asm__ volatile("lock cmpxchg16b %0"
			 : "+m"(*bytes), "+a"(low), "+d"(high), "=@ccz"(is_equal)
			 : "b"(v->gpr[RBX]), "c"(v->gpr[RCX])
			 : "memory");
	if (bytes == &copy)
		soft_write_bytes(v, linear, &copy, sizeof(copy), v->view);
	set_zero(v, is_equal);
	v->gpr[RAX] = low;
	v->gpr[RDX] = high;
}

soft_handler *build_cmpxchg_pair(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)in, (void)op;
	return what == 8 ? cmpxchg8b : cmpxchg16b;
}
