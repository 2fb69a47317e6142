/* soft_segment - see soft_segment.h.  CPL is SS's DPL, as VT-x and SVM have it: right also between
 * the change of CR0.PE and the jump behind it, where CS's selector still is of real mode. */
#include "cpu/soft/interpreter/soft_segment.h"

#include "cpu/soft/interpreter/soft_mem.h"

#define ATTRIBUTES_LOW 0x0ffu
#define ATTRIBUTES_HIGH 0xf00u
/* Flat segments of SYSCALL and the like have these bounds, too. */
#define HIGH_TYPE_SHIFT 40 /* of a descriptor's second half: has to be no type */

bool soft_segment_holds(const struct cpu_segment *s, uint64_t offset, size_t len)
{
	uint64_t last;
	if (__builtin_add_overflow(offset, len - 1, &last))
		return false;
	bool is_down = (s->attributes & (SEG_S | TYPE_CODE | TYPE_DOWN)) == (SEG_S | TYPE_DOWN);
	if (!is_down)
		return last <= s->limit;
	return offset > s->limit &&
	       last <= ((s->attributes & SEG_DB) != 0 ? UINT32_MAX : UINT16_MAX);
}

static __attribute__((noreturn)) void raise_access(struct soft_vcpu *v, unsigned segment)
{
	soft_raise_error(v, segment == SEG_SS ? VECTOR_SS : VECTOR_GP, 0);
}

/* Real mode knows limits, but no rights. */
static bool has_right(const struct cpu_segment *s, enum soft_access access)
{
	bool is_code = (s->attributes & TYPE_CODE) != 0;
	if ((s->attributes & SEG_P) == 0)
		return false;
	switch (access) {
	case ACCESS_READ: return !is_code || (s->attributes & TYPE_READABLE) != 0;
	case ACCESS_WRITE: return !is_code && (s->attributes & TYPE_WRITABLE) != 0;
	case ACCESS_EXEC: return true;
	}
	return false;
}

uint64_t soft_linear(struct soft_vcpu *v, unsigned segment, uint64_t offset, size_t len,
	enum soft_access access)
{
	const struct cpu_segment *s = &v->seg[segment];
	if (v->is_long) {
		uint64_t linear =
			segment == SEG_FS || segment == SEG_GS ? s->base + offset : offset;
		if (!soft_is_canonical(linear) || !soft_is_canonical(linear + len - 1))
			raise_access(v, segment);
		return linear;
	}
	if (soft_is_protected(v) && !has_right(s, access))
		raise_access(v, segment);
	if (!soft_segment_holds(s, offset, len))
		raise_access(v, segment);
	return (uint32_t)(s->base + offset);
}

void soft_settle(struct soft_vcpu *v)
{
	bool is_protected = soft_is_protected(v);
	uint16_t code = v->seg[SEG_CS].attributes;
	v->cpl = is_protected ? (uint8_t)soft_dpl(&v->seg[SEG_SS]) : 0;
	v->is_long = (v->efer & EFER_LMA) != 0 && (code & SEG_L) != 0;
	v->code_size = v->is_long ? 8 : (code & SEG_DB) != 0 ? 4 : 2;
	v->code_tlb = &v->tlb[v->cpl == 3 ? TLB_CODE_USER : TLB_CODE];
	soft_settle_view(v);
}

void soft_settle_view(struct soft_vcpu *v)
{
	v->view = v->cpl == 3                                         ? VIEW_USER
		  : (v->cr4 & CR4_SMAP) != 0 && soft_flag(v, FLAG_AC) ? VIEW_KERNEL_AC
								      : VIEW_KERNEL;
	v->data_tlb = &v->tlb[v->view];
}

uint64_t soft_address_slow(struct soft_vcpu *v, const struct soft_op *op, size_t len,
	enum soft_access access)
{
	uint64_t offset = soft_offset(v, op);
	if (!v->is_long)
		return soft_linear(v, op->segment, offset, len, access);
	return op->segment < SEG_FS ? offset : offset + v->seg[op->segment].base;
}

/* ---- descriptors ---- */

/* Where a selector's descriptor is; false: not in its table. */
static bool find_descriptor(const struct soft_vcpu *v, uint16_t selector, unsigned len,
	uint64_t *ret_linear)
{
	const struct cpu_segment *ldt = &v->seg[SEG_LDT];
	bool is_local = (selector & SELECTOR_TABLE) != 0;
	if (is_local && (ldt->attributes & SEG_P) == 0)
		return false;
	uint64_t limit = is_local ? ldt->limit : v->gdt.limit;
	uint64_t base = is_local ? ldt->base : v->gdt.base;
	unsigned at = selector & ~7u;
	if (at + len - 1 > limit)
		return false;
	*ret_linear = (v->efer & EFER_LMA) != 0 ? base + at : (uint32_t)(base + at);
	return true;
}

static struct cpu_segment segment_of(uint16_t selector, uint64_t raw)
{
	uint32_t limit = (uint32_t)((raw & 0xffff) | ((raw >> 32) & 0xf0000));
	uint16_t attributes =
		(uint16_t)(((raw >> 40) & ATTRIBUTES_LOW) | ((raw >> 44) & ATTRIBUTES_HIGH));
	return (struct cpu_segment){
		.base = ((raw >> 16) & 0xffffff) | ((raw >> 32) & 0xff000000),
		.limit = (attributes & SEG_G) != 0 ? limit << 12 | 0xfff : limit,
		.selector = selector,
		.attributes = attributes,
	};
}

bool soft_descriptor_read(struct soft_vcpu *v, uint16_t selector, struct cpu_segment *ret_segment)
{
	uint64_t linear;
	if (!find_descriptor(v, selector, 8, &linear))
		return false;
	struct cpu_segment s = segment_of(selector, soft_read64_as(v, linear, VIEW_KERNEL));
	if ((v->efer & EFER_LMA) != 0 && (s.attributes & SEG_S) == 0) {
		if (!find_descriptor(v, selector, 16, &linear))
			return false;
		uint64_t high = soft_read64_as(v, linear + 8, VIEW_KERNEL);
		s.base |= high << 32;
		if (((high >> HIGH_TYPE_SHIFT) & 0x1f) != 0 || !soft_is_canonical(s.base))
			s.attributes &= (uint16_t)~SEG_TYPE;
	}
	*ret_segment = s;
	return true;
}

void soft_descriptor_mark(struct soft_vcpu *v, uint16_t selector, unsigned type_bits)
{
	uint64_t linear;
	if (!find_descriptor(v, selector, 8, &linear))
		return;
	linear += 5;
	soft_touch(v, linear, 1, ACCESS_WRITE, VIEW_KERNEL);
	const struct soft_tlb_entry *e = soft_tlb_at(&v->tlb[VIEW_KERNEL], linear);
	if (soft_is_within(e->write, linear, 1)) {
		(void)__atomic_fetch_or((uint8_t *)(linear + e->addend), (uint8_t)type_bits,
			__ATOMIC_SEQ_CST);
		return;
	}
	/* A device, or a page with code in it. */
	uint8_t type = soft_read8_as(v, linear, VIEW_KERNEL);
	soft_write8_as(v, linear, (uint8_t)(type | type_bits), VIEW_KERNEL);
}

void soft_mark_accessed(struct soft_vcpu *v, struct cpu_segment *s)
{
	if ((s->attributes & TYPE_ACCESSED) != 0 || soft_is_null(s->selector))
		return;
	soft_descriptor_mark(v, s->selector, TYPE_ACCESSED);
	s->attributes |= TYPE_ACCESSED;
}

/* ---- data and stack ---- */

struct cpu_segment soft_null_stack(unsigned cpl)
{
	return (struct cpu_segment){
		.selector = (uint16_t)cpl,
		.attributes = (uint16_t)(cpl << SEG_DPL_SHIFT),
	};
}

struct cpu_segment soft_stack_segment(struct soft_vcpu *v, uint16_t selector, unsigned cpl,
	enum vector vector, uint32_t ext)
{
	struct cpu_segment s;
	if (soft_is_null(selector))
		soft_raise_error(v, vector, ext);
	uint32_t error = soft_selector_error(selector) | ext;
	if (!soft_descriptor_read(v, selector, &s) || (selector & SELECTOR_RPL) != cpl ||
		!soft_is_stack(&s) || soft_dpl(&s) != cpl)
		soft_raise_error(v, vector, error);
	if ((s.attributes & SEG_P) == 0)
		soft_raise_error(v, VECTOR_SS, error);
	return s;
}

static struct cpu_segment data_segment(struct soft_vcpu *v, uint16_t selector)
{
	struct cpu_segment s;
	uint32_t error = soft_selector_error(selector);
	if (!soft_descriptor_read(v, selector, &s) || (s.attributes & SEG_S) == 0)
		soft_raise_error(v, VECTOR_GP, error);
	if (soft_is_code(&s) && (s.attributes & TYPE_READABLE) == 0)
		soft_raise_error(v, VECTOR_GP, error);
	unsigned rpl = selector & SELECTOR_RPL;
	if (!soft_is_conforming(&s) && (rpl > soft_dpl(&s) || v->cpl > soft_dpl(&s)))
		soft_raise_error(v, VECTOR_GP, error);
	if ((s.attributes & SEG_P) == 0)
		soft_raise_error(v, VECTOR_NP, error);
	return s;
}

void soft_load_segment(struct soft_vcpu *v, unsigned segment, uint16_t selector)
{
	struct cpu_segment s;
	if (!soft_is_protected(v)) {
		/* Limit and rights stay: what protected mode left ("unreal mode") is still there.
		 */
		v->seg[segment].selector = selector;
		v->seg[segment].base = (uint64_t)selector << 4;
		return;
	}
	if (segment != SEG_SS) {
		s = (struct cpu_segment){ .selector = selector };
		if (!soft_is_null(selector))
			s = data_segment(v, selector);
	} else if (v->is_long && soft_is_null(selector) && v->cpl != 3 && selector == v->cpl) {
		s = soft_null_stack(v->cpl);
	} else {
		s = soft_stack_segment(v, selector, v->cpl, VECTOR_GP, 0);
	}
	soft_mark_accessed(v, &s);
	v->seg[segment] = s;
}

/* ---- code ---- */

struct cpu_segment soft_code_segment(struct soft_vcpu *v, uint16_t selector, bool is_return)
{
	struct cpu_segment s;
	if (soft_is_null(selector))
		soft_raise_error(v, VECTOR_GP, 0);
	uint32_t error = soft_selector_error(selector);
	if (!soft_descriptor_read(v, selector, &s) || !soft_is_code(&s))
		soft_raise_error(v, VECTOR_GP, error);
	unsigned rpl = selector & SELECTOR_RPL, dpl = soft_dpl(&s);
	unsigned cpl = is_return ? rpl : v->cpl;
	bool is_allowed = soft_is_conforming(&s) ? dpl <= cpl : dpl == cpl && rpl <= cpl;
	if (!is_allowed || (is_return && rpl < v->cpl))
		soft_raise_error(v, VECTOR_GP, error);
	if ((v->efer & EFER_LMA) != 0 && (s.attributes & (SEG_L | SEG_DB)) == (SEG_L | SEG_DB))
		soft_raise_error(v, VECTOR_GP, error);
	if ((s.attributes & SEG_P) == 0)
		soft_raise_error(v, VECTOR_NP, error);
	s.selector = (uint16_t)((selector & ~SELECTOR_RPL) | cpl);
	return s;
}

void soft_check_rip(struct soft_vcpu *v, const struct cpu_segment *cs, uint64_t rip, uint32_t ext)
{
	bool is_long = (v->efer & EFER_LMA) != 0 && (cs->attributes & SEG_L) != 0;
	if (is_long ? !soft_is_canonical(rip) : rip > cs->limit)
		soft_raise_error(v, VECTOR_GP, ext);
}
