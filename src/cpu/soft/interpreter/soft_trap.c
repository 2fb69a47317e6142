/* soft_trap - see soft_trap.h.
 *
 * Delivery may itself raise: everything is read, checked and written before the first register
 * changes, so it can be left at any point, and what it raised is delivered instead - combined with
 * the first one as the table of the manual says (SDM 3, 6.15, interrupt 8): two of the contributory
 * kind, or anything behind a page fault, are a double fault; and a third is the end.  So there are
 * at most three rounds.
 *
 * Not offered: task gates (#TS), virtual-8086 mode, and hardware breakpoints, for which alone RF is
 * good: it is shown in frames as the manual has it, but has no effect. */
#include "cpu/soft/interpreter/soft_trap.h"

#include <string.h>

#include "cpu/soft/interpreter/soft_mem.h"
#include "cpu/soft/interpreter/soft_segment.h"

#define ERROR_EXTERNAL 1u
#define ERROR_IDT 2u
#define DR7_GENERAL_DETECT (UINT64_C(1) << 13)

/* ---- flags ---- */

/* Bits 15..8 of arith are the flags' lowest byte; bit 1 is always set. */
uint64_t soft_flags(const struct soft_vcpu *v)
{
	uint32_t low = (v->arith >> 8) & (FLAGS_ARITH & 0xff);
	uint32_t overflow = (v->arith & 1) != 0 ? FLAG_OF : 0;
	return v->other_flags | low | overflow | 2;
}

void soft_set_flags(struct soft_vcpu *v, uint64_t flags)
{
	const uint32_t others = FLAG_TF | FLAG_IF | FLAG_DF | FLAG_IOPL | FLAG_NT | FLAG_RF |
				FLAG_VM | FLAG_AC | FLAG_VIF | FLAG_VIP | FLAG_ID;
	v->arith = (uint16_t)(((flags & (FLAGS_ARITH & 0xff)) | 2) << 8 | ((flags & FLAG_OF) != 0));
	v->other_flags = (uint32_t)flags & others;
	soft_settle(v);
}

/* ---- raising ---- */

static __attribute__((noreturn)) void raise(struct soft_vcpu *v, struct soft_exception e)
{
	v->exception = e;
	siglongjmp(v->trap, 1);
}

void soft_raise(struct soft_vcpu *v, enum vector vector)
{
	raise(v, (struct soft_exception){ .vector = (int)vector });
}

void soft_raise_error(struct soft_vcpu *v, enum vector vector, uint32_t error)
{
	raise(v, (struct soft_exception){ .vector = (int)vector,
			 .has_error = true,
			 .error = error });
}

void soft_raise_fault(struct soft_vcpu *v, uint64_t linear, uint32_t error)
{
	v->cr2 = linear;
	soft_raise_error(v, VECTOR_PF, error);
}

/* ---- what a frame says ---- */

static bool is_fault(const struct soft_exception *e)
{
	const unsigned others = 1u << VECTOR_DB | 1u << VECTOR_NMI | 1u << VECTOR_BP |
				1u << VECTOR_OF | 1u << VECTOR_DF | 1u << VECTOR_MC;
	return !e->is_software && !e->is_external && ((others >> e->vector) & 1) == 0;
}

static uint64_t flags_of_frame(const struct soft_vcpu *v, const struct soft_exception *e)
{
	return soft_flags(v) | (is_fault(e) ? FLAG_RF : 0);
}

static uint64_t return_rip(const struct soft_vcpu *v, const struct soft_exception *e)
{
	uint64_t rip = v->rip + e->len;
	return v->code_size == 8 ? rip : v->code_size == 4 ? (uint32_t)rip : (uint16_t)rip;
}

/* A frame is words from the lowest address up. */
struct frame {
	uint8_t bytes[6 * 8];
	size_t len;
	unsigned word;
};

static void frame_add(struct frame *f, uint64_t value)
{
	memcpy(f->bytes + f->len, &value, f->word);
	f->len += f->word;
}

/* ---- real mode ---- */

static void deliver_real(struct soft_vcpu *v, const struct soft_exception *e)
{
	unsigned at = (unsigned)e->vector * 4;
	if (at + 3 > v->idt.limit)
		soft_raise_error(v, VECTOR_GP, 0);
	uint32_t entry = soft_read32_as(v, (uint32_t)(v->idt.base + at), VIEW_KERNEL);
	struct frame f = { .word = 2 };
	frame_add(&f, return_rip(v, e));
	frame_add(&f, v->seg[SEG_CS].selector);
	frame_add(&f, soft_flags(v));
	uint16_t sp = (uint16_t)(v->gpr[RSP] - f.len);
	soft_write_bytes(v, soft_linear(v, SEG_SS, sp, f.len, ACCESS_WRITE), f.bytes, f.len,
		v->view);

	soft_set_reg(v, RSP * 8, 2, sp);
	v->seg[SEG_CS].selector = (uint16_t)(entry >> 16);
	v->seg[SEG_CS].base = (uint64_t)(entry >> 16) << 4;
	v->rip = (uint16_t)entry;
	v->other_flags &= ~(FLAG_IF | FLAG_TF | FLAG_AC | FLAG_RF);
}

/* ---- protected and long mode ---- */

struct gate {
	uint16_t selector;
	uint64_t offset;
	unsigned ist;
	unsigned word; /* of the frame: 2, 4, 8 */
	bool is_interrupt;
};
enum { GATE_TASK = 5, GATE_INTERRUPT16 = 6, GATE_TRAP16, GATE_INTERRUPT = 14, GATE_TRAP };

static uint32_t ext_of(const struct soft_exception *e)
{
	return e->is_software ? 0 : ERROR_EXTERNAL;
}

static bool is_gate(const struct soft_vcpu *v, unsigned type)
{
	if (type == GATE_INTERRUPT || type == GATE_TRAP)
		return true;
	return (v->efer & EFER_LMA) == 0 && (type == GATE_INTERRUPT16 || type == GATE_TRAP16);
}

static struct gate find_gate(struct soft_vcpu *v, const struct soft_exception *e)
{
	bool is_lma = (v->efer & EFER_LMA) != 0;
	unsigned size = is_lma ? 16 : 8, at = (unsigned)e->vector * size;
	uint32_t error = (uint32_t)e->vector * 8 | ERROR_IDT | ext_of(e);
	if (at + size - 1 > v->idt.limit)
		soft_raise_error(v, VECTOR_GP, error);
	uint64_t linear = is_lma ? v->idt.base + at : (uint32_t)(v->idt.base + at);
	uint64_t low = soft_read64_as(v, linear, VIEW_KERNEL);
	uint64_t high = is_lma ? soft_read64_as(v, linear + 8, VIEW_KERNEL) : 0;
	unsigned type = (low >> 40) & 0x1f, dpl = (low >> 45) & 3;
	bool is_task = type == GATE_TASK && !is_lma;
	if (!is_gate(v, type) && !is_task)
		soft_raise_error(v, VECTOR_GP, error);
	if (e->is_software && dpl < v->cpl)
		soft_raise_error(v, VECTOR_GP, error);
	if (((low >> 47) & 1) == 0)
		soft_raise_error(v, VECTOR_NP, error);
	if (is_task)
		soft_raise_error(v, VECTOR_TS, error);
	uint64_t offset = (low & 0xffff) | ((low >> 32) & 0xffff0000) | high << 32;
	return (struct gate){
		.selector = (uint16_t)(low >> 16),
		.offset = type < GATE_INTERRUPT ? (uint16_t)offset : offset,
		.ist = is_lma ? (low >> 32) & 7 : 0,
		.word = is_lma                  ? 8
			: type < GATE_INTERRUPT ? 2
						: 4,
		.is_interrupt = type == GATE_INTERRUPT || type == GATE_INTERRUPT16,
	};
}

static struct cpu_segment handler_segment(struct soft_vcpu *v, uint16_t selector, uint32_t ext)
{
	struct cpu_segment cs;
	if (soft_is_null(selector))
		soft_raise_error(v, VECTOR_GP, ext);
	uint32_t error = soft_selector_error(selector) | ext;
	if (!soft_descriptor_read(v, selector, &cs) || !soft_is_code(&cs) || soft_dpl(&cs) > v->cpl)
		soft_raise_error(v, VECTOR_GP, error);
	if ((v->efer & EFER_LMA) != 0 && (cs.attributes & (SEG_L | SEG_DB)) != SEG_L)
		soft_raise_error(v, VECTOR_GP, error);
	if ((cs.attributes & SEG_P) == 0)
		soft_raise_error(v, VECTOR_NP, error);
	return cs;
}

struct stack {
	struct cpu_segment ss;
	uint64_t sp;
	bool is_new; /* SS is another one */
};

static __attribute__((noreturn)) void raise_tss(struct soft_vcpu *v, uint32_t ext)
{
	soft_raise_error(v, VECTOR_TS, soft_selector_error(v->seg[SEG_TR].selector) | ext);
}

/* A stack pointer of the TSS, in long mode: 4: that of ring 0, 36: the first of IST. */
static uint64_t read_tss64(struct soft_vcpu *v, unsigned at, uint32_t ext)
{
	const struct cpu_segment *tr = &v->seg[SEG_TR];
	if ((tr->attributes & SEG_P) == 0 || at + 7 > tr->limit)
		raise_tss(v, ext);
	uint64_t sp = soft_read64_as(v, tr->base + at, VIEW_KERNEL);
	if (!soft_is_canonical(sp))
		soft_raise_error(v, VECTOR_SS, ext);
	return sp;
}

static struct stack stack_of_tss(struct soft_vcpu *v, unsigned cpl, uint32_t ext)
{
	const struct cpu_segment *tr = &v->seg[SEG_TR];
	bool is_wide = (tr->attributes & 8) != 0;
	unsigned word = is_wide ? 4 : 2, at = is_wide ? 4 + cpl * 8 : 2 + cpl * 4;
	if ((tr->attributes & SEG_P) == 0 || at + word + 1 > tr->limit)
		raise_tss(v, ext);
	uint64_t linear = (uint32_t)(tr->base + at);
	struct stack stack = { .is_new = true, .sp = soft_read_size(v, linear, word, VIEW_KERNEL) };
	uint16_t selector = soft_read16_as(v, linear + word, VIEW_KERNEL);
	stack.ss = soft_stack_segment(v, selector, cpl, VECTOR_TS, ext);
	return stack;
}

static struct stack find_stack(struct soft_vcpu *v, const struct gate *gate, unsigned cpl,
	uint32_t ext)
{
	struct stack stack = { .ss = v->seg[SEG_SS], .sp = v->gpr[RSP] };
	bool is_inner = cpl < v->cpl;
	if ((v->efer & EFER_LMA) == 0)
		return is_inner ? stack_of_tss(v, cpl, ext) : stack;
	if (gate->ist != 0)
		stack.sp = read_tss64(v, 36 + (gate->ist - 1) * 8, ext);
	else if (is_inner)
		stack.sp = read_tss64(v, 4 + cpl * 8, ext);
	stack.sp &= ~UINT64_C(15);
	stack.is_new = is_inner;
	if (is_inner)
		stack.ss = soft_null_stack(cpl);
	return stack;
}

/* Where the frame goes; stack->sp becomes its lowest address. */
static uint64_t place_frame(struct soft_vcpu *v, struct stack *stack, size_t len, uint32_t ext)
{
	if ((v->efer & EFER_LMA) != 0) {
		stack->sp -= len;
		if (!soft_is_canonical(stack->sp) || !soft_is_canonical(stack->sp + len - 1))
			soft_raise_error(v, VECTOR_SS, ext);
		return stack->sp;
	}
	bool is_wide = (stack->ss.attributes & SEG_DB) != 0;
	uint64_t sp = is_wide ? (uint32_t)(stack->sp - len) : (uint16_t)(stack->sp - len);
	if (!soft_segment_holds(&stack->ss, sp, len))
		soft_raise_error(v, VECTOR_SS,
			(stack->is_new ? soft_selector_error(stack->ss.selector) : 0) | ext);
	uint64_t old = stack->is_new ? 0 : v->gpr[RSP];
	stack->sp = is_wide ? sp : (old & ~(uint64_t)UINT16_MAX) | sp;
	return (uint32_t)(stack->ss.base + sp);
}

static struct frame make_frame(const struct soft_vcpu *v, const struct soft_exception *e,
	unsigned word, bool has_stack)
{
	struct frame f = { .word = word };
	if (e->has_error)
		frame_add(&f, e->error);
	frame_add(&f, return_rip(v, e));
	frame_add(&f, v->seg[SEG_CS].selector);
	frame_add(&f, flags_of_frame(v, e));
	if (has_stack) {
		frame_add(&f, v->gpr[RSP]);
		frame_add(&f, v->seg[SEG_SS].selector);
	}
	return f;
}

static enum soft_view stack_view(const struct soft_vcpu *v, unsigned cpl)
{
	return cpl == 3 ? VIEW_USER : soft_flag(v, FLAG_AC) ? VIEW_KERNEL_AC : VIEW_KERNEL;
}

static void deliver_protected(struct soft_vcpu *v, const struct soft_exception *e)
{
	uint32_t ext = ext_of(e);
	struct gate gate = find_gate(v, e);
	struct cpu_segment cs = handler_segment(v, gate.selector, ext);
	unsigned cpl = soft_is_conforming(&cs) ? v->cpl : soft_dpl(&cs);
	struct stack stack = find_stack(v, &gate, cpl, ext);
	struct frame f = make_frame(v, e, gate.word, stack.is_new || gate.word == 8);
	soft_check_rip(v, &cs, gate.offset, ext);
	uint64_t linear = place_frame(v, &stack, f.len, ext);
	soft_mark_accessed(v, &cs);
	soft_mark_accessed(v, &stack.ss);
	soft_write_bytes(v, linear, f.bytes, f.len, stack_view(v, cpl));

	cs.selector = (uint16_t)((cs.selector & ~SELECTOR_RPL) | cpl);
	v->seg[SEG_CS] = cs;
	if (stack.is_new)
		v->seg[SEG_SS] = stack.ss;
	v->gpr[RSP] = stack.sp;
	v->rip = gate.offset;
	v->other_flags &= ~(FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM);
	if (gate.is_interrupt)
		v->other_flags &= ~FLAG_IF;
}

/* ---- one behind another ---- */

enum kind { KIND_BENIGN, KIND_CONTRIBUTORY, KIND_PAGE_FAULT, KIND_DOUBLE };

static enum kind kind_of(const struct soft_exception *e)
{
	if (e->is_software || e->is_external)
		return KIND_BENIGN;
	switch (e->vector) {
	case VECTOR_DE:
	case VECTOR_TS:
	case VECTOR_NP:
	case VECTOR_SS:
	case VECTOR_GP: return KIND_CONTRIBUTORY;
	case VECTOR_PF: return KIND_PAGE_FAULT;
	case VECTOR_DF: return KIND_DOUBLE;
	default: return KIND_BENIGN;
	}
}

/* What is delivered when `second` came up while `first` was; false: nothing any more. */
static bool combine(const struct soft_exception *first, const struct soft_exception *second,
	struct soft_exception *ret)
{
	enum kind a = kind_of(first), b = kind_of(second);
	*ret = *second;
	if (b == KIND_BENIGN || a == KIND_BENIGN)
		return true;
	if (a == KIND_DOUBLE)
		return false;
	if (a == KIND_PAGE_FAULT || b == KIND_CONTRIBUTORY)
		*ret = (struct soft_exception){ .vector = VECTOR_DF, .has_error = true };
	return true;
}

bool soft_deliver(struct soft_vcpu *v)
{
	v->rip = soft_rip(v);
	v->op = NULL;
	v->delivering = v->exception;
	/* Again for each exception on the way. */
	if (sigsetjmp(v->trap, 0) != 0) {
		struct soft_exception first = v->delivering;
		if (!combine(&first, &v->exception, &v->delivering))
			return false;
	}
	if (soft_is_protected(v))
		deliver_protected(v, &v->delivering);
	else
		deliver_real(v, &v->delivering);
	if (v->delivering.vector == VECTOR_DB)
		v->dr[7] &= ~DR7_GENERAL_DETECT;
	v->is_inhibited = v->is_halted = false;
	v->exception.vector = -1;
	soft_settle(v);
	return true;
}

bool soft_interrupt(struct soft_vcpu *v, unsigned vector)
{
	v->exception =
		(struct soft_exception){ .vector = (int)(vector & UINT8_MAX), .is_external = true };
	if (!soft_deliver(v))
		return false;
	v->is_nmi_blocked |= vector == VECTOR_NMI;
	return true;
}
