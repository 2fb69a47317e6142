/* ops_segment - segment registers: loads, stores, and the questions about descriptors. */
#include "cpu/soft/interpreter/soft_flags.h"
#include "cpu/soft/interpreter/soft_ops.h"
#include "cpu/soft/interpreter/soft_segment.h"
#include "cpu/soft/interpreter/soft_stack.h"

/* ---- mov, push, pop ---- */

static uint16_t selector_operand(struct soft_vcpu *v, const struct soft_op *op, unsigned reg)
{
	if (op->is_memory)
		return soft_read16(v, soft_address(v, op, 2, ACCESS_READ));
	return (uint16_t)soft_get_reg(v, reg, 2);
}

static void mov_to(struct soft_vcpu *v, const struct soft_op *op)
{
	soft_load_segment(v, op->reg, selector_operand(v, op, op->src));
}

/* No interrupt before the instruction behind it, which loads the stack pointer. */
static void mov_to_ss(struct soft_vcpu *v, const struct soft_op *op)
{
	mov_to(v, op);
	v->is_inhibited = true;
	v->rip = soft_next_rip(v, op);
}

static void mov_from(struct soft_vcpu *v, const struct soft_op *op)
{
	uint16_t selector = v->seg[op->reg].selector;
	if (op->is_memory)
		soft_write16(v, soft_address(v, op, 2, ACCESS_WRITE), selector);
	else
		soft_set_reg(v, op->dst, op->size, selector);
}

static bool is_segment(const ZydisDecodedOperand *o)
{
	return o->type == ZYDIS_OPERAND_TYPE_REGISTER && o->reg.value >= ZYDIS_REGISTER_ES &&
	       o->reg.value <= ZYDIS_REGISTER_GS;
}

soft_handler *build_mov_segment(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)what;
	bool is_load = is_segment(&in->operand[0]);
	op->reg = soft_segment_number(in->operand[is_load ? 0 : 1].reg.value);
	if (!is_load)
		return mov_from;
	if (op->reg == SEG_CS)
		return NULL;
	in->ends_block = op->reg == SEG_SS;
	return op->reg == SEG_SS ? mov_to_ss : mov_to;
}

static void push(struct soft_vcpu *v, const struct soft_op *op)
{
	soft_push(v, op->size, v->seg[op->reg].selector);
}

soft_handler *build_push_segment(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)what;
	op->size = (uint8_t)(in->info.operand_width / 8);
	op->reg = soft_segment_number(in->operand[0].reg.value);
	return push;
}

static void pop(struct soft_vcpu *v, const struct soft_op *op)
{
	/* SS may change how wide the stack pointer is: the old one is popped from. */
	uint64_t mask = soft_stack_mask(v), sp = v->gpr[RSP] + op->size;
	soft_load_segment(v, op->reg, (uint16_t)soft_peek(v, op->size, 0));
	v->gpr[RSP] = (v->gpr[RSP] & ~mask) | (sp & mask);
}

static void pop_ss(struct soft_vcpu *v, const struct soft_op *op)
{
	pop(v, op);
	v->is_inhibited = true;
	v->rip = soft_next_rip(v, op);
}

soft_handler *build_pop_segment(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)build_push_segment(in, op, what);
	in->ends_block = op->reg == SEG_SS;
	return op->reg == SEG_SS ? pop_ss : pop;
}

/* ---- lds and its like ---- */

static void load_far(struct soft_vcpu *v, const struct soft_op *op)
{
	uint64_t linear = soft_address(v, op, op->size + 2u, ACCESS_READ);
	uint64_t offset = soft_read_size(v, linear, op->size, v->view);
	soft_load_segment(v, op->reg, soft_read16(v, linear + op->size));
	soft_set_reg(v, op->dst, op->size, offset);
}

soft_handler *build_load_far(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)in;
	op->reg = (uint8_t)what;
	return load_far;
}

/* ---- what a selector would give ---- */

static void set_zero_flag(struct soft_vcpu *v, bool is_set)
{
	v->arith = (uint16_t)(is_set ? v->arith | ARITH_ZF : v->arith & ~ARITH_ZF);
}

#define TYPES_LAR                                                                                \
	(1u << SYSTEM_TSS16 | 1u << SYSTEM_LDT | 1u << SYSTEM_TSS16_BUSY | 1u << SYSTEM_CALL16 | \
		1u << SYSTEM_TASK | 1u << SYSTEM_TSS | 1u << SYSTEM_TSS_BUSY | 1u << SYSTEM_CALL)
#define TYPES_LSL                                                                             \
	(1u << SYSTEM_TSS16 | 1u << SYSTEM_LDT | 1u << SYSTEM_TSS16_BUSY | 1u << SYSTEM_TSS | \
		1u << SYSTEM_TSS_BUSY)
#define TYPES_LONG (1u << SYSTEM_LDT | 1u << SYSTEM_TSS | 1u << SYSTEM_TSS_BUSY | 1u << SYSTEM_CALL)

/* Whether the program may know of that descriptor; system descriptors only of these types. */
static bool is_visible(struct soft_vcpu *v, uint16_t selector, uint32_t types,
	struct cpu_segment *ret_segment)
{
	if (soft_is_null(selector) || !soft_descriptor_read(v, selector, ret_segment))
		return false;
	const struct cpu_segment *s = ret_segment;
	if ((v->efer & EFER_LMA) != 0)
		types &= TYPES_LONG;
	if ((s->attributes & SEG_S) == 0 && ((types >> (s->attributes & SEG_TYPE)) & 1) == 0)
		return false;
	unsigned rpl = selector & SELECTOR_RPL;
	return soft_is_conforming(s) || (v->cpl <= soft_dpl(s) && rpl <= soft_dpl(s));
}

static void lar(struct soft_vcpu *v, const struct soft_op *op)
{
	struct cpu_segment s;
	bool is_valid = is_visible(v, selector_operand(v, op, op->src), TYPES_LAR, &s);
	if (is_valid)
		soft_set_reg(v, op->dst, op->size,
			(s.attributes & 0xffu) << 8 | (s.attributes & 0xf00u) << 12);
	set_zero_flag(v, is_valid);
}

static void lsl(struct soft_vcpu *v, const struct soft_op *op)
{
	struct cpu_segment s;
	bool is_valid = is_visible(v, selector_operand(v, op, op->src), TYPES_LSL, &s);
	if (is_valid)
		soft_set_reg(v, op->dst, op->size, s.limit);
	set_zero_flag(v, is_valid);
}

static void verr(struct soft_vcpu *v, const struct soft_op *op)
{
	struct cpu_segment s;
	set_zero_flag(v, is_visible(v, selector_operand(v, op, op->dst), 0, &s) &&
				 (!soft_is_code(&s) || (s.attributes & TYPE_READABLE) != 0));
}

static void verw(struct soft_vcpu *v, const struct soft_op *op)
{
	struct cpu_segment s;
	set_zero_flag(v,
		is_visible(v, selector_operand(v, op, op->dst), 0, &s) && soft_is_stack(&s));
}

static void arpl(struct soft_vcpu *v, const struct soft_op *op)
{
	uint16_t mine = selector_operand(v, op, op->dst);
	unsigned rpl = soft_load16(soft_reg(v, op->src)) & SELECTOR_RPL;
	bool is_lower = (mine & SELECTOR_RPL) < rpl;
	uint16_t raised = (uint16_t)((mine & ~SELECTOR_RPL) | rpl);
	if (is_lower && op->is_memory)
		soft_write16(v, soft_address(v, op, 2, ACCESS_WRITE), raised);
	else if (is_lower)
		soft_set_reg(v, op->dst, 2, raised);
	set_zero_flag(v, is_lower);
}

static void only_protected(struct soft_vcpu *v, const struct soft_op *op)
{
	static soft_handler *const handlers[] = { lar, lsl, verr, verw, arpl };
	if (!soft_is_protected(v))
		soft_raise(v, VECTOR_UD);
	handlers[op->reg](v, op);
}

/* what: 0 LAR, 1 LSL, 2 VERR, 3 VERW, 4 ARPL */
soft_handler *build_descriptor(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)in;
	op->reg = (uint8_t)what;
	return only_protected;
}
