/* soft_compat - see soft_compat.h. */
#include "cpu/soft/soft_compat.h"

#include "cpu/soft/interpreter/soft_mem.h"
#include "cpu/soft/interpreter/soft_segment.h"

#define FLAT_CODE32 0xcfbu
#define FLAT_CODE64 0xafbu
#define FLAT_DATA 0xcf3u

static bool is_flat(const struct cpu_segment *s, uint16_t selector, unsigned attributes)
{
	return s->selector == selector && s->base == 0 && s->limit == UINT32_MAX &&
	       (s->attributes | TYPE_ACCESSED) == attributes;
}

static bool is_tls(uint16_t selector)
{
	return (selector & 7) == (STUB_TLS_FIRST & 7) && selector >= STUB_TLS_FIRST &&
	       selector < STUB_TLS_FIRST + 8 * STUB_TLS;
}

bool soft_compat_fits(const struct soft_vcpu *v)
{
	const struct cpu_segment *s = v->seg;
	for (unsigned i = SEG_FS; i <= SEG_GS; i++)
		if (!soft_is_null(s[i].selector) && !is_tls(s[i].selector))
			return false;
	return (v->efer & EFER_LMA) != 0 && is_flat(&s[SEG_CS], STUB_CS32, FLAT_CODE32) &&
	       is_flat(&s[SEG_SS], STUB_DATA, FLAT_DATA) &&
	       is_flat(&s[SEG_DS], STUB_DATA, FLAT_DATA) &&
	       is_flat(&s[SEG_ES], STUB_DATA, FLAT_DATA);
}

static bool is_as_described(struct soft_vcpu *v, const struct cpu_segment *s)
{
	struct cpu_segment described;
	return soft_is_null(s->selector) ||
	       (soft_descriptor_read(v, s->selector, &described) && described.base == s->base &&
		       described.limit == s->limit &&
		       ((described.attributes ^ s->attributes) & ~TYPE_ACCESSED) == 0);
}

bool soft_compat_put(struct soft_vcpu *v, struct stub_regs *regs)
{
	const uint64_t table = v->gdt.base + (STUB_TLS_FIRST & ~7u);
	if ((STUB_TLS_FIRST & ~7u) + 8 * STUB_TLS - 1 > v->gdt.limit ||
		!is_as_described(v, &v->seg[SEG_FS]) || !is_as_described(v, &v->seg[SEG_GS]))
		return false;
	for (unsigned i = 0; i < STUB_TLS; i++)
		regs->tls[i] = soft_read64_as(v, table + UINT64_C(8) * i, VIEW_KERNEL);
	regs->is_32bit = true;
	regs->ds = v->seg[SEG_DS].selector;
	regs->es = v->seg[SEG_ES].selector;
	regs->fs = v->seg[SEG_FS].selector;
	regs->gs = v->seg[SEG_GS].selector;
	return true;
}

static void take_code(struct soft_vcpu *v, bool is_32bit)
{
	v->seg[SEG_CS] = (struct cpu_segment){
		.limit = UINT32_MAX,
		.selector = is_32bit ? STUB_CS32 : STUB_CS64,
		.attributes = is_32bit ? FLAT_CODE32 : FLAT_CODE64,
	};
	soft_settle(v);
}

void soft_compat_take(struct soft_vcpu *v, const struct stub_regs *put,
	const struct stub_regs *regs)
{
	const struct {
		unsigned segment;
		uint16_t before, after;
	} loads[] = { { SEG_DS, put->ds, regs->ds }, { SEG_ES, put->es, regs->es },
		{ SEG_FS, put->fs, regs->fs }, { SEG_GS, put->gs, regs->gs } };
	if (put->is_32bit != regs->is_32bit)
		take_code(v, regs->is_32bit);
	for (size_t i = 0; i < ARRAY_LEN(loads) && put->is_32bit; i++)
		if (loads[i].before != loads[i].after)
			soft_load_segment(v, loads[i].segment, loads[i].after);
}
