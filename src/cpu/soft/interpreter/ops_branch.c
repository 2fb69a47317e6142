/* ops_branch - near jumps, calls and returns, loops.  Each ends its block and sets rip; a target
 * that is not canonical, or beyond CS, is #GP of the branch itself. */
#include "cpu/soft/interpreter/soft_flags.h"
#include "cpu/soft/interpreter/soft_ops.h"
#include "cpu/soft/interpreter/soft_stack.h"

static void check_target(struct soft_vcpu *v, uint64_t target)
{
	bool is_good = v->is_long ? (uint64_t)((int64_t)(target << 16) >> 16) == target
				  : target <= v->seg[SEG_CS].limit;
	if (!is_good)
		soft_raise_error(v, VECTOR_GP, 0);
}

/* Where a relative branch goes: op->imm bytes behind it; as wide as the operand outside 64-bit
 * mode. */
static uint64_t relative(const struct soft_vcpu *v, const struct soft_op *op)
{
	uint64_t target = v->gpr[GPR_BLOCK] + op->start + op->len + op->imm;
	return op->size == 8 ? target : op->size == 4 ? (uint32_t)target : (uint16_t)target;
}

static void go(struct soft_vcpu *v, uint64_t target)
{
	check_target(v, target);
	v->rip = target;
}

static uint64_t target_operand(struct soft_vcpu *v, const struct soft_op *op)
{
	if (op->is_memory)
		return soft_read_size(v, soft_address(v, op, op->size, ACCESS_READ), op->size,
			v->view);
	return soft_get_reg(v, op->dst, op->size);
}

/* ---- jmp, call, ret ---- */

static void jump_relative(struct soft_vcpu *v, const struct soft_op *op)
{
	go(v, relative(v, op));
}

static void jump_indirect(struct soft_vcpu *v, const struct soft_op *op)
{
	go(v, target_operand(v, op));
}

static void call(struct soft_vcpu *v, const struct soft_op *op, uint64_t target)
{
	check_target(v, target);
	soft_push(v, op->size, soft_next_rip(v, op));
	v->rip = target;
}

static void call_relative(struct soft_vcpu *v, const struct soft_op *op)
{
	call(v, op, relative(v, op));
}

static void call_indirect(struct soft_vcpu *v, const struct soft_op *op)
{
	call(v, op, target_operand(v, op));
}

static void ret(struct soft_vcpu *v, const struct soft_op *op)
{
	go(v, soft_peek(v, op->size, 0));
	soft_set_sp(v, v->gpr[RSP] + op->size + op->imm);
}

/* In 64-bit mode near branches are 8 bytes wide, whatever prefix they have (as Intel has it). */
static void set_width(const struct soft_insn *in, struct soft_op *op)
{
	op->size = (uint8_t)(in->code_size == 8 ? 8 : in->info.operand_width / 8);
}

soft_handler *build_jump(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	if (in->info.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
		return build_far(in, op, what);
	in->ends_block = true;
	set_width(in, op);
	return in->form == FORM_I ? jump_relative : jump_indirect;
}

soft_handler *build_call(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	if (in->info.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
		return build_far(in, op, what);
	in->ends_block = true;
	set_width(in, op);
	return in->form == FORM_I ? call_relative : call_indirect;
}

soft_handler *build_ret(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	if (in->info.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
		return build_far(in, op, what);
	in->ends_block = true;
	set_width(in, op);
	op->imm &= UINT16_MAX;
	return ret;
}

/* ---- on a condition ---- */

#define JUMP_IF(name, condition)                                        \
	static void name(struct soft_vcpu *v, const struct soft_op *op) \
	{                                                               \
		if (soft_condition(v->arith, condition))                \
			go(v, relative(v, op));                         \
		else                                                    \
			v->rip = soft_next_rip(v, op);                  \
	}
JUMP_IF(if_o, 0)
JUMP_IF(if_no, 1)
JUMP_IF(if_b, 2)
JUMP_IF(if_nb, 3)
JUMP_IF(if_z, 4)
JUMP_IF(if_nz, 5)
JUMP_IF(if_be, 6)
JUMP_IF(if_nbe, 7)
JUMP_IF(if_s, 8)
JUMP_IF(if_ns, 9)
JUMP_IF(if_p, 10)
JUMP_IF(if_np, 11)
JUMP_IF(if_l, 12)
JUMP_IF(if_nl, 13)
JUMP_IF(if_le, 14)
JUMP_IF(if_nle, 15)

soft_handler *build_jump_if(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	static soft_handler *const handlers[] = { if_o, if_no, if_b, if_nb, if_z, if_nz, if_be,
		if_nbe, if_s, if_ns, if_p, if_np, if_l, if_nl, if_le, if_nle };
	in->ends_block = true;
	set_width(in, op);
	return handlers[what];
}

/* ---- on the counter, as wide as addresses are ---- */

static uint64_t counter(const struct soft_vcpu *v, const struct soft_op *op)
{
	return op->address_size == 8   ? v->gpr[RCX]
	       : op->address_size == 4 ? (uint32_t)v->gpr[RCX]
				       : (uint16_t)v->gpr[RCX];
}

static void jump_if_zero(struct soft_vcpu *v, const struct soft_op *op)
{
	if (counter(v, op) == 0)
		go(v, relative(v, op));
	else
		v->rip = soft_next_rip(v, op);
}

/* op->reg: 0 LOOP, 1 LOOPE, 2 LOOPNE */
static void loop(struct soft_vcpu *v, const struct soft_op *op)
{
	bool is_zero = (v->arith & ARITH_ZF) != 0;
	uint64_t left = counter(v, op) - 1;
	bool is_taken = (op->address_size == 8          ? left
				: op->address_size == 4 ? (uint32_t)left
							: (uint16_t)left) != 0;
	if (op->reg != 0 && is_zero != (op->reg == 1))
		is_taken = false;
	uint64_t target = is_taken ? relative(v, op) : soft_next_rip(v, op);
	check_target(v, target);
	soft_set_reg(v, RCX * 8, op->address_size, left);
	v->rip = target;
}

/* what: 3 for jcxz and its like. */
soft_handler *build_loop(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	in->ends_block = true;
	set_width(in, op);
	op->reg = (uint8_t)what;
	return what == 3 ? jump_if_zero : loop;
}
