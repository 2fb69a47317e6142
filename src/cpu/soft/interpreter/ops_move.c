/* ops_move - moving values: plain, extended, swapped, on a condition; addresses as values; the
 * flags that are set without arithmetic. */
#include "cpu/soft/interpreter/soft_flags.h"
#include "cpu/soft/interpreter/soft_mem.h"
#include "cpu/soft/interpreter/soft_ops.h"
#include "cpu/soft/interpreter/soft_widths.h"

/* ---- mov ---- */

#define MOVE(bits, type, suffix, c)                                                        \
	static void mov_rr_##bits(struct soft_vcpu *v, const struct soft_op *op)           \
	{                                                                                  \
		soft_set_reg(v, op->dst, bits / 8, soft_load##bits(soft_reg(v, op->src))); \
	}                                                                                  \
	static void mov_ri_##bits(struct soft_vcpu *v, const struct soft_op *op)           \
	{                                                                                  \
		soft_set_reg(v, op->dst, bits / 8, op->imm);                               \
	}                                                                                  \
	static void mov_rm_##bits(struct soft_vcpu *v, const struct soft_op *op)           \
	{                                                                                  \
		uint64_t linear = soft_address(v, op, bits / 8, ACCESS_READ);              \
		soft_set_reg(v, op->dst, bits / 8, soft_read##bits(v, linear));            \
	}                                                                                  \
	static void mov_mr_##bits(struct soft_vcpu *v, const struct soft_op *op)           \
	{                                                                                  \
		uint64_t linear = soft_address(v, op, bits / 8, ACCESS_WRITE);             \
		soft_write##bits(v, linear, soft_load##bits(soft_reg(v, op->src)));        \
	}                                                                                  \
	static void mov_mi_##bits(struct soft_vcpu *v, const struct soft_op *op)           \
	{                                                                                  \
		uint64_t linear = soft_address(v, op, bits / 8, ACCESS_WRITE);             \
		soft_write##bits(v, linear, (type)op->imm);                                \
	}
WIDTHS(MOVE)

static soft_handler *const moves[][4] = {
	[FORM_RR] = WIDTH_ROW(mov_rr),
	[FORM_RM] = WIDTH_ROW(mov_rm),
	[FORM_MR] = WIDTH_ROW(mov_mr),
	[FORM_RI] = WIDTH_ROW(mov_ri),
	[FORM_MI] = WIDTH_ROW(mov_mi),
};

static bool is_register(const ZydisDecodedOperand *o, ZydisRegister first, ZydisRegister last)
{
	return o->type == ZYDIS_OPERAND_TYPE_REGISTER && o->reg.value >= first &&
	       o->reg.value <= last;
}

soft_handler *build_mov_general(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)what;
	if (in->form < FORM_RR || in->form > FORM_MI)
		return NULL;
	return moves[in->form][soft_width(op->size)];
}

/* By the kind of registers that it moves between. */
soft_handler *build_mov(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	static const struct {
		ZydisRegister first, last;
		soft_builder *build;
	} kinds[] = {
		{ ZYDIS_REGISTER_ES, ZYDIS_REGISTER_GS, build_mov_segment },
		{ ZYDIS_REGISTER_CR0, ZYDIS_REGISTER_CR15, build_mov_control },
		{ ZYDIS_REGISTER_DR0, ZYDIS_REGISTER_DR15, build_mov_debug },
	};
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		for (unsigned o = 0; o < 2; o++) {
			if (is_register(&in->operand[o], kinds[i].first, kinds[i].last))
				return kinds[i].build(in, op, what);
		}
	}
	return build_mov_general(in, op, what);
}

/* ---- extended ---- */

/* op->size: of the destination; op->src_size: of the source. */
static uint64_t source(struct soft_vcpu *v, const struct soft_op *op)
{
	if (op->is_memory)
		return soft_read_size(v, soft_address(v, op, op->src_size, ACCESS_READ),
			op->src_size, v->view);
	return soft_get_reg(v, op->src, op->src_size);
}

static void zero_extend(struct soft_vcpu *v, const struct soft_op *op)
{
	soft_set_reg(v, op->dst, op->size, source(v, op));
}

static uint64_t sign_extended(uint64_t value, unsigned size)
{
	unsigned shift = 64 - 8 * size;
	return (uint64_t)((int64_t)(value << shift) >> shift);
}

static void sign_extend(struct soft_vcpu *v, const struct soft_op *op)
{
	soft_set_reg(v, op->dst, op->size, sign_extended(source(v, op), op->src_size));
}

soft_handler *build_extend(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	op->src_size = (uint8_t)(in->operand[1].size / 8);
	return what == 0 ? zero_extend : sign_extend;
}

/* cbw, cwde, cdqe: within the accumulator; cwd, cdq, cqo: into rdx. */
static void widen_a(struct soft_vcpu *v, const struct soft_op *op)
{
	uint64_t a = soft_get_reg(v, RAX * 8, op->src_size);
	soft_set_reg(v, RAX * 8, op->size, sign_extended(a, op->src_size));
}

static void widen_d(struct soft_vcpu *v, const struct soft_op *op)
{
	uint64_t a = soft_get_reg(v, RAX * 8, op->size);
	uint64_t sign = (a >> (8 * op->size - 1)) & 1;
	soft_set_reg(v, RDX * 8, op->size, 0 - sign);
}

/* what: bytes of the source; + 16 for those that go into rdx. */
soft_handler *build_widen(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)in;
	op->src_size = (uint8_t)(what & 15);
	op->size = (uint8_t)(what < 16 ? op->src_size * 2 : op->src_size);
	return what < 16 ? widen_a : widen_d;
}

/* ---- lea, swaps ---- */

static void lea(struct soft_vcpu *v, const struct soft_op *op)
{
	soft_set_reg(v, op->dst, op->size, soft_offset(v, op));
}

soft_handler *build_lea(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)in, (void)op, (void)what;
	return lea;
}

static void byte_swap(struct soft_vcpu *v, const struct soft_op *op)
{
	uint64_t value = soft_get_reg(v, op->dst, 8);
	if (op->size == 8)
		value = __builtin_bswap64(value);
	else if (op->size == 4)
		value = __builtin_bswap32((uint32_t)value);
	else
		value = 0; /* undefined; what processors do */
	soft_set_reg(v, op->dst, op->size, value);
}

soft_handler *build_bswap(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)in, (void)op, (void)what;
	return byte_swap;
}

static uint64_t swapped(uint64_t value, unsigned size)
{
	return __builtin_bswap64(value) >> (64 - 8 * size);
}

static void movbe_load(struct soft_vcpu *v, const struct soft_op *op)
{
	uint64_t linear = soft_address(v, op, op->size, ACCESS_READ);
	soft_set_reg(v, op->dst, op->size,
		swapped(soft_read_size(v, linear, op->size, v->view), op->size));
}

static void movbe_store(struct soft_vcpu *v, const struct soft_op *op)
{
	uint64_t linear = soft_address(v, op, op->size, ACCESS_WRITE);
	soft_write_size(v, linear, op->size, swapped(soft_get_reg(v, op->src, op->size), op->size),
		v->view);
}

soft_handler *build_movbe(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)op, (void)what;
	return in->form == FORM_RM ? movbe_load : in->form == FORM_MR ? movbe_store : NULL;
}

static void exchange_registers(struct soft_vcpu *v, const struct soft_op *op)
{
	uint64_t a = soft_get_reg(v, op->dst, op->size), b = soft_get_reg(v, op->src, op->size);
	soft_set_reg(v, op->dst, op->size, b);
	soft_set_reg(v, op->src, op->size, a);
}

/* With memory it is locked, whether it says so or not.  op->src is the register in both forms. */
#define EXCHANGE(bits, type, suffix, c)                                                           \
	static void xchg_m_##bits(struct soft_vcpu *v, const struct soft_op *op)                  \
	{                                                                                         \
		uint64_t linear = soft_address(v, op, bits / 8, ACCESS_WRITE);                    \
		type value = soft_load##bits(soft_reg(v, op->src)), copy = 0;                     \
		type *bytes = soft_writable(v, linear, bits / 8);                                 \
		if (bytes == NULL) {                                                              \
			copy = soft_read##bits(v, linear);                                        \
			bytes = &copy;                                                            \
		}                                                                                 \
		__asm__ volatile("xchg" suffix " %0, %1" : "+" c(value), "+m"(*bytes)::"memory"); \
		if (bytes == &copy)                                                               \
			soft_write##bits(v, linear, copy);                                        \
		soft_set_reg(v, op->src, bits / 8, value);                                        \
	}
WIDTHS(EXCHANGE)

static soft_handler *const exchanges[4] = WIDTH_ROW(xchg_m);

soft_handler *build_xchg(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)what;
	if (in->form == FORM_RR)
		return exchange_registers;
	if (in->form == FORM_RM)
		op->src = op->dst;
	return in->form == FORM_RM || in->form == FORM_MR ? exchanges[soft_width(op->size)] : NULL;
}

/* al = [rbx + al] */
static void translate(struct soft_vcpu *v, const struct soft_op *op)
{
	struct soft_op at = *op;
	at.base = RBX * 8;
	at.index = GPR_ZERO * 8;
	at.disp = soft_load8(soft_reg(v, RAX * 8));
	soft_set_reg(v, RAX * 8, 1, soft_read8(v, soft_address(v, &at, 1, ACCESS_READ)));
}

soft_handler *build_xlat(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)what;
	for (unsigned i = 0; i < in->info.operand_count; i++) {
		if (in->operand[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
			op->segment = soft_segment_number(in->operand[i].mem.segment);
	}
	return translate;
}

/* ---- on a condition: op->reg is its code ---- */

static void cmov(struct soft_vcpu *v, const struct soft_op *op)
{
	/* The source is read in any case, and the upper half of a 32-bit destination cleared. */
	uint64_t value = op->is_memory
				 ? soft_read_size(v, soft_address(v, op, op->size, ACCESS_READ),
					   op->size, v->view)
				 : soft_get_reg(v, op->src, op->size);
	if (!soft_condition(v->arith, op->reg))
		value = soft_get_reg(v, op->dst, op->size);
	soft_set_reg(v, op->dst, op->size, value);
}

soft_handler *build_cmov(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)in;
	op->reg = (uint8_t)what;
	return cmov;
}

static void set_register(struct soft_vcpu *v, const struct soft_op *op)
{
	soft_set_reg(v, op->dst, 1, soft_condition(v->arith, op->reg));
}

static void set_memory(struct soft_vcpu *v, const struct soft_op *op)
{
	uint64_t linear = soft_address(v, op, 1, ACCESS_WRITE);
	soft_write8(v, linear, soft_condition(v->arith, op->reg));
}

soft_handler *build_set(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	op->reg = (uint8_t)what;
	return in->form == FORM_R ? set_register : set_memory;
}

/* ---- flags ---- */

static void clc(struct soft_vcpu *v, const struct soft_op *op)
{
	(void)op;
	v->arith &= (uint16_t)~ARITH_CF;
}

static void stc(struct soft_vcpu *v, const struct soft_op *op)
{
	(void)op;
	v->arith |= ARITH_CF;
}

static void cmc(struct soft_vcpu *v, const struct soft_op *op)
{
	(void)op;
	v->arith ^= ARITH_CF;
}

static void cld(struct soft_vcpu *v, const struct soft_op *op)
{
	(void)op;
	v->other_flags &= ~FLAG_DF;
}

static void std(struct soft_vcpu *v, const struct soft_op *op)
{
	(void)op;
	v->other_flags |= FLAG_DF;
}

static void lahf(struct soft_vcpu *v, const struct soft_op *op)
{
	(void)op;
	soft_store8((uint8_t *)&v->gpr[RAX] + 1, (uint8_t)(v->arith >> 8));
}

static void sahf(struct soft_vcpu *v, const struct soft_op *op)
{
	(void)op;
	uint8_t ah = soft_load8((uint8_t *)&v->gpr[RAX] + 1);
	v->arith = (uint16_t)((v->arith & ARITH_OF) | (ah & 0xd5u) << 8 | 0x200u);
}

static void nop(struct soft_vcpu *v, const struct soft_op *op)
{
	(void)v, (void)op;
}

soft_handler *build_flag(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	static soft_handler *const handlers[] = { clc, stc, cmc, cld, std, lahf, sahf };
	(void)in, (void)op;
	return handlers[what];
}

/* Also what only hints: prefetches, fences (the host's stores are as ordered as the guest's),
 * branch marks. */
soft_handler *build_nop(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)in, (void)op, (void)what;
	return nop;
}
