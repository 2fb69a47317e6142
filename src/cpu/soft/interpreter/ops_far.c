/* ops_far - jumps, calls and returns to another code segment, and the return from an interrupt. All
 * checks come before the first change, so that what they raise finds the processor as it was. */
#include "cpu/soft/interpreter/soft_ops.h"
#include "cpu/soft/interpreter/soft_segment.h"
#include "cpu/soft/interpreter/soft_stack.h"

/* ---- jmp, call ---- */

struct target {
	uint16_t selector;
	uint64_t offset;
};

/* As a memory operand: the offset, then the selector; as an immediate both are in op->imm. */
static struct target target_operand(struct soft_vcpu *v, const struct soft_op *op)
{
	if (!op->is_memory)
		return (struct target){ (uint16_t)(op->imm >> 32), (uint32_t)op->imm };
	uint64_t linear = soft_address(v, op, op->size + 2u, ACCESS_READ);
	uint64_t offset = soft_read_size(v, linear, op->size, v->view);
	return (struct target){ soft_read16(v, linear + op->size), offset };
}

static struct cpu_segment real_code(const struct soft_vcpu *v, uint16_t selector)
{
	struct cpu_segment cs = v->seg[SEG_CS];
	cs.selector = selector;
	cs.base = (uint64_t)selector << 4;
	return cs;
}

static struct cpu_segment find_code(struct soft_vcpu *v, const struct target *t)
{
	struct cpu_segment cs;
	if (soft_is_protected(v)) {
		cs = soft_code_segment(v, t->selector, false);
		soft_mark_accessed(v, &cs);
	} else {
		cs = real_code(v, t->selector);
	}
	soft_check_rip(v, &cs, t->offset, 0);
	return cs;
}

static void enter(struct soft_vcpu *v, const struct cpu_segment *cs, uint64_t rip)
{
	v->seg[SEG_CS] = *cs;
	v->rip = rip;
	soft_settle(v);
}

static void jump(struct soft_vcpu *v, const struct soft_op *op)
{
	struct target t = target_operand(v, op);
	struct cpu_segment cs = find_code(v, &t);
	enter(v, &cs, t.offset);
}

static void call(struct soft_vcpu *v, const struct soft_op *op)
{
	struct target t = target_operand(v, op);
	struct cpu_segment cs = find_code(v, &t);
	uint64_t back[2] = { soft_next_rip(v, op), v->seg[SEG_CS].selector };
	uint8_t frame[16];
	memcpy(frame, &back[0], op->size);
	memcpy(frame + op->size, &back[1], op->size);
	size_t len = (size_t)2 * op->size;
	uint64_t sp = v->gpr[RSP] - len;
	soft_write_bytes(v, soft_stack_address(v, sp, len, ACCESS_WRITE), frame, len, v->view);
	soft_set_sp(v, sp);
	enter(v, &cs, t.offset);
}

/* ---- back ---- */

struct back {
	uint64_t rip, sp;
	uint16_t cs, ss;
	uint64_t flags; /* of IRET */
	bool sets_flags;
	unsigned stack_at; /* where SP and SS are in the frame, if they are */
	bool has_stack;    /* also without a change of privilege */
	uint64_t release;  /* bytes of arguments */
};

/* What ring 0 could address is not for the ring that it returns to.  Bases stay: those of FS and GS
 * are a 64-bit program's own. */
static void forget_inner_segments(struct soft_vcpu *v)
{
	static const uint8_t segments[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
	for (size_t i = 0; i < ARRAY_LEN(segments); i++) {
		struct cpu_segment *s = &v->seg[segments[i]];
		if ((s->attributes & SEG_P) == 0 || soft_is_conforming(s) || soft_dpl(s) >= v->cpl)
			continue;
		s->selector = 0;
		s->attributes = 0;
	}
}

static struct cpu_segment stack_of_back(struct soft_vcpu *v, uint16_t selector,
	const struct cpu_segment *cs)
{
	unsigned cpl = cs->selector & SELECTOR_RPL;
	bool is_long = (v->efer & EFER_LMA) != 0 && (cs->attributes & SEG_L) != 0;
	if (soft_is_null(selector) && is_long && cpl != 3) {
		struct cpu_segment ss = soft_null_stack(cpl);
		ss.selector = selector;
		return ss;
	}
	return soft_stack_segment(v, selector, cpl, VECTOR_GP, 0);
}

/* What POPF and IRET may change, where they stand. */
static uint64_t mixed_flags(const struct soft_vcpu *v, uint64_t flags, unsigned size)
{
	/* RF is good for hardware breakpoints only, which are not offered. */
	uint64_t mask = FLAGS_ARITH | FLAG_TF | FLAG_DF | FLAG_NT | FLAG_AC | FLAG_ID;
	unsigned iopl = (v->other_flags & FLAG_IOPL) >> 12;
	if (v->cpl == 0)
		mask |= FLAG_IOPL;
	if (v->cpl <= iopl)
		mask |= FLAG_IF;
	if (size == 2)
		mask &= UINT16_MAX;
	return (soft_flags(v) & ~mask) | (flags & mask);
}

static uint64_t merge_sp(const struct soft_vcpu *v, uint64_t sp)
{
	unsigned width = soft_stack_width(v);
	if (width == 2)
		return (v->gpr[RSP] & ~(uint64_t)UINT16_MAX) | (sp & UINT16_MAX);
	return width == 4 ? (uint32_t)sp : sp;
}

static void go_back(struct soft_vcpu *v, const struct soft_op *op, const struct back *b,
	size_t frame_len)
{
	uint64_t flags = b->sets_flags ? mixed_flags(v, b->flags, op->size) : soft_flags(v);
	struct cpu_segment cs =
		soft_is_protected(v) ? soft_code_segment(v, b->cs, true) : real_code(v, b->cs);
	bool is_outer = soft_is_protected(v) && (cs.selector & SELECTOR_RPL) > v->cpl;
	bool has_stack = b->has_stack || is_outer;
	uint64_t sp = v->gpr[RSP] + frame_len;
	struct cpu_segment ss = v->seg[SEG_SS];
	if (has_stack) {
		sp = soft_peek(v, op->size, b->stack_at);
		uint16_t selector = (uint16_t)soft_peek(v, op->size, b->stack_at + op->size);
		ss = stack_of_back(v, selector, &cs);
	}
	soft_check_rip(v, &cs, b->rip, 0);
	if (soft_is_protected(v)) {
		soft_mark_accessed(v, &cs);
		soft_mark_accessed(v, &ss);
	}
	if (!has_stack)
		soft_set_sp(v, sp + b->release);
	v->seg[SEG_SS] = ss;
	enter(v, &cs, b->rip);
	if (has_stack)
		v->gpr[RSP] = merge_sp(v, sp + b->release);
	if (is_outer)
		forget_inner_segments(v);
	soft_set_flags(v, flags);
}

static void ret(struct soft_vcpu *v, const struct soft_op *op)
{
	struct back b = {
		.rip = soft_peek(v, op->size, 0),
		.cs = (uint16_t)soft_peek(v, op->size, op->size),
		.stack_at = 2u * op->size + (unsigned)op->imm,
		.release = op->imm,
	};
	go_back(v, op, &b, (size_t)2 * op->size);
}

static void iret(struct soft_vcpu *v, const struct soft_op *op)
{
	bool is_protected = soft_is_protected(v), is_lma = (v->efer & EFER_LMA) != 0;
	if (is_protected && soft_flag(v, FLAG_NT))
		soft_raise_error(v, is_lma ? VECTOR_GP : VECTOR_TS, 0);
	struct back b = {
		.rip = soft_peek(v, op->size, 0),
		.cs = (uint16_t)soft_peek(v, op->size, op->size),
		.flags = soft_peek(v, op->size, (uint64_t)2 * op->size),
		.sets_flags = true,
		.stack_at = 3u * op->size,
		.has_stack = v->is_long,
	};
	/* Virtual-8086 mode is not offered. */
	bool to_v86 = op->size == 4 && (b.flags & FLAG_VM) != 0;
	if (is_protected && !is_lma && v->cpl == 0 && to_v86)
		soft_raise_error(v, VECTOR_GP, 0);
	go_back(v, op, &b, (size_t)3 * op->size);
	v->is_nmi_blocked = false;
}

soft_handler *build_far(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	static soft_handler *const handlers[] = { jump, call, ret };
	in->ends_block = true;
	op->size = (uint8_t)(in->info.operand_width / 8);
	if (in->operand[0].type == ZYDIS_OPERAND_TYPE_POINTER)
		op->imm = (uint64_t)in->operand[0].ptr.segment << 32 | in->operand[0].ptr.offset;
	else
		op->imm &= UINT16_MAX;
	return handlers[what];
}

soft_handler *build_iret(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	in->ends_block = true;
	op->size = (uint8_t)what;
	return iret;
}

/* ---- pushf, popf ---- */

static void pushf(struct soft_vcpu *v, const struct soft_op *op)
{
	soft_push(v, op->size, soft_flags(v) & ~(uint64_t)(FLAG_RF | FLAG_VM));
}

static void popf(struct soft_vcpu *v, const struct soft_op *op)
{
	uint64_t flags = mixed_flags(v, soft_peek(v, op->size, 0), op->size);
	soft_set_sp(v, v->gpr[RSP] + op->size);
	soft_set_flags(v, flags);
	v->rip = soft_next_rip(v, op);
}

soft_handler *build_pushf(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	(void)in;
	op->size = (uint8_t)what;
	return pushf;
}

soft_handler *build_popf(struct soft_insn *in, struct soft_op *op, unsigned what)
{
	in->ends_block = true;
	op->size = (uint8_t)what;
	return popf;
}
