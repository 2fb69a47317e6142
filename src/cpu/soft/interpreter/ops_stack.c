/* ops_stack - push, pop, and frames. */
#include "cpu/soft/interpreter/soft_ops.h"
#include "cpu/soft/interpreter/soft_stack.h"

/* In 64-bit mode 8 bytes, or 2 with a prefix. */
static void set_width(const struct soft_insn *in, struct soft_op *op)
{
	bool is_short = in->info.operand_width == 16;
	op->size = is_short ? 2 : in->code_size == 8 ? 8 : 4;
}

static void push_register(struct soft_vcpu *v, const struct soft_op *op)
{
	soft_push(v, op->size, soft_get_reg(v, op->dst, 8));
}

static void push_immediate(struct soft_vcpu *v, const struct soft_op *op)
{
	soft_push(v, op->size, op->imm);
}

static void push_memory(struct soft_vcpu *v, const struct soft_op *op)
{
	uint64_t linear = soft_address(v, op, op->size, ACCESS_READ);
	soft_push(v, op->size, soft_read_size(v, linear, op->size, v->view));
}

soft_handler *build_push(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	if (in->operand[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		soft_register_offset(in->operand[0].reg.value) == GPR_ZERO * 8)
		return build_push_segment(in, op, what);
	set_width(in, op);
	return in->form == FORM_R   ? push_register
	       : in->form == FORM_M ? push_memory
				    : push_immediate;
}

static void pop_register(struct soft_vcpu *v, const struct soft_op *op)
{
	uint64_t value = soft_peek(v, op->size, 0);
	soft_set_sp(v, v->gpr[RSP] + op->size);
	soft_set_reg(v, op->dst, op->size, value);
}

/* An address with rsp in it is that behind the pop. */
static void pop_memory(struct soft_vcpu *v, const struct soft_op *op)
{
	uint64_t value = soft_peek(v, op->size, 0), sp = v->gpr[RSP];
	struct soft_op at = *op;
	if (op->base == RSP * 8)
		at.disp += op->size;
	uint64_t linear = soft_address(v, &at, op->size, ACCESS_WRITE);
	soft_write_size(v, linear, op->size, value, v->view);
	soft_set_sp(v, sp + op->size);
}

soft_handler *build_pop(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	if (in->operand[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		soft_register_offset(in->operand[0].reg.value) == GPR_ZERO * 8)
		return build_pop_segment(in, op, what);
	set_width(in, op);
	return in->form == FORM_R ? pop_register : pop_memory;
}

/* ---- all registers (not in 64-bit mode): one access, so that a fault changes nothing ---- */

static void push_all(struct soft_vcpu *v, const struct soft_op *op)
{
	uint8_t bytes[32];
	const size_t len = (size_t)8 * op->size;
	for (size_t i = 0; i < 8; i++) /* edi lowest */
		memcpy(bytes + i * op->size, &v->gpr[RDI - i], op->size);
	uint64_t sp = v->gpr[RSP] - len;
	soft_write_bytes(v, soft_stack_address(v, sp, len, ACCESS_WRITE), bytes, len, v->view);
	soft_set_sp(v, sp);
}

static void pop_all(struct soft_vcpu *v, const struct soft_op *op)
{
	uint8_t bytes[32];
	const size_t len = (size_t)8 * op->size;
	soft_read_bytes(v, soft_stack_address(v, v->gpr[RSP], len, ACCESS_READ), bytes, len,
		v->view);
	for (unsigned i = 0; i < 8; i++) {
		uint64_t value = 0;
		memcpy(&value, bytes + (size_t)i * op->size, op->size);
		if (RDI - i != RSP)
			soft_set_reg(v, (RDI - i) * 8, op->size, value);
	}
	soft_set_sp(v, v->gpr[RSP] + len);
}

/* what: 0 push, 1 pop; + 2 for 32 bits. */
soft_handler *build_all(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)in;
	op->size = (what & 2) != 0 ? 4 : 2;
	return (what & 1) == 0 ? push_all : pop_all;
}

/* ---- frames ---- */

static void put(struct soft_vcpu *v, const struct soft_op *op, uint64_t sp, uint64_t value)
{
	soft_write_size(v, soft_stack_address(v, sp, op->size, ACCESS_WRITE), op->size, value,
		v->view);
}

/* enter size, depth: depth from the second immediate, in op->reg.  Links are copied one by one,
 * since the old ones may lie where the new ones go: if one of them fails, some have been written
 * below the stack. */
static void enter(struct soft_vcpu *v, const struct soft_op *op)
{
	uint64_t frame = v->gpr[RSP] - op->size;
	uint64_t link = soft_get_reg(v, RBP * 8, soft_stack_width(v));
	uint64_t end = frame - (uint64_t)op->reg * op->size - op->imm;
	put(v, op, frame, v->gpr[RBP]);
	for (unsigned i = 1; i < op->reg; i++) {
		uint64_t at =
			soft_stack_address(v, link - (uint64_t)i * op->size, op->size, ACCESS_READ);
		put(v, op, frame - (uint64_t)i * op->size,
			soft_read_size(v, at, op->size, v->view));
	}
	if (op->reg > 0)
		put(v, op, frame - (uint64_t)op->reg * op->size, frame);
	/* The new stack's end is touched, as a push there would. */
	soft_touch(v, soft_stack_address(v, end, op->size, ACCESS_WRITE), op->size, ACCESS_WRITE,
		v->view);
	soft_set_reg(v, RBP * 8, op->size, frame);
	soft_set_sp(v, end);
}

soft_handler *build_enter(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)what;
	set_width(in, op);
	op->imm = in->operand[0].imm.value.u & UINT16_MAX;
	op->reg = in->operand[1].imm.value.u & 31;
	return enter;
}

static void leave(struct soft_vcpu *v, const struct soft_op *op)
{
	unsigned width = soft_stack_width(v);
	uint64_t frame = soft_get_reg(v, RBP * 8, width);
	uint64_t value = soft_read_size(v, soft_stack_address(v, frame, op->size, ACCESS_READ),
		op->size, v->view);
	soft_set_sp(v, frame + op->size);
	soft_set_reg(v, RBP * 8, op->size, value);
}

soft_handler *build_leave(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)what;
	set_width(in, op);
	return leave;
}
