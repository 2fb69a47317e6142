/* soft_msr - see soft_msr.h. */
#include "cpu/soft/interpreter/soft_msr.h"

#include <string.h>

#include "base/log.h"
#include "cpu/soft/interpreter/soft_control.h"
#include "cpu/soft/interpreter/soft_segment.h"
#include "cpu/soft/irqchip/irqchip.h"
#include "cpu/soft/soft_clock.h"
#include "cpu/soft/soft_machine.h"

#define ADDRESS_BEYOND (~UINT64_C(0) << SOFT_PHYSICAL_BITS)
#define PAT_AT_RESET UINT64_C(0x0007040600070406)
#define MTRR_ENABLED 0x800u
#define MTRR_WRITE_BACK 6u
#define MISC_ENABLE_FAST_STRING 1u
#define MISC_ENABLE_NO_BTS_PEBS 0x1800u
#define MSR_APIC_BASE 0x1bu
#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_X2APIC 0x800u
#define MSR_X2APIC_LAST 0x8ffu

/* Ring 3 never runs with ring 0's memory in its address space, and its host guards what it shares:
 * so a guest needs to work around none of these (Intel SDM 4, IA32_ARCH_CAPABILITIES): RDCL, L1
 * flush at entry, SSB, MDS, page size change, TAA, SBDR, FBSDP, PSDP, BHI, PBRSB, GDS, RFDS, ITS.
 */
#define ARCH_CAPABILITIES                                                                       \
	(UINT64_C(1) << 0 | UINT64_C(1) << 3 | UINT64_C(1) << 4 | UINT64_C(1) << 5 |            \
		UINT64_C(1) << 6 | UINT64_C(1) << 8 | UINT64_C(1) << 13 | UINT64_C(1) << 14 |   \
		UINT64_C(1) << 15 | UINT64_C(1) << 20 | UINT64_C(1) << 24 | UINT64_C(1) << 26 | \
		UINT64_C(1) << 27 | UINT64_C(1) << 62)

/* ---- what may be written ---- */

static bool any(uint32_t number, uint64_t value)
{
	(void)number;
	(void)value;
	return true;
}

static bool canonical(uint32_t number, uint64_t value)
{
	(void)number;
	return soft_is_canonical(value);
}

static bool low32(uint32_t number, uint64_t value)
{
	(void)number;
	return value >> 32 == 0;
}

/* Types of memory: UC, WC, WT, WP, WB; and of PAT UC-. */
#define TYPES_MTRR (1u << 0 | 1u << 1 | 1u << 4 | 1u << 5 | 1u << 6)
#define TYPES_PAT (TYPES_MTRR | 1u << 7)

static bool has_types(uint64_t value, unsigned types)
{
	for (unsigned i = 0; i < 64; i += 8) {
		unsigned type = (value >> i) & 0xff;
		if (type > 7 || ((types >> type) & 1) == 0)
			return false;
	}
	return true;
}

static bool pat(uint32_t number, uint64_t value)
{
	(void)number;
	return has_types(value, TYPES_PAT);
}

static bool mtrr_fixed(uint32_t number, uint64_t value)
{
	(void)number;
	return has_types(value, TYPES_MTRR);
}

static bool mtrr_default(uint32_t number, uint64_t value)
{
	(void)number;
	return (value & ~UINT64_C(0xcff)) == 0 && has_types(value & 0xff, TYPES_MTRR);
}

/* Bases (even numbers) have a type, masks a bit that says they count. */
static bool mtrr_variable(uint32_t number, uint64_t value)
{
	bool is_mask = (number & 1) != 0;
	if ((value & ADDRESS_BEYOND) != 0)
		return false;
	return is_mask ? (value & 0x7ff) == 0
		       : (value & 0xf00) == 0 && has_types(value & 0xff, TYPES_MTRR);
}

/* ---- those that are made ---- */

static uint64_t read_tsc(struct soft_vcpu *v)
{
	return soft_tsc(v);
}

/* Both registers show how far it was moved. */
static void move_tsc(struct soft_vcpu *v, uint64_t ticks)
{
	v->tsc_offset += ticks;
	v->msr.tsc_adjust += ticks;
}

static bool write_tsc(struct soft_vcpu *v, uint64_t value)
{
	move_tsc(v, value - soft_tsc(v));
	return true;
}

static uint64_t read_tsc_adjust(struct soft_vcpu *v)
{
	return v->msr.tsc_adjust;
}

static bool write_tsc_adjust(struct soft_vcpu *v, uint64_t value)
{
	move_tsc(v, value - v->msr.tsc_adjust);
	return true;
}

/* What KVM shows. */
static uint64_t read_microcode(struct soft_vcpu *v)
{
	return v->machine->model.is_amd ? 0x01000065 : UINT64_C(1) << 32;
}

static bool ignore(struct soft_vcpu *v, uint64_t value)
{
	(void)v;
	(void)value;
	return true;
}

static uint64_t read_misc_enable(struct soft_vcpu *v)
{
	return v->msr.misc_enable | MISC_ENABLE_NO_BTS_PEBS;
}

static bool write_misc_enable(struct soft_vcpu *v, uint64_t value)
{
	v->msr.misc_enable = value & MISC_ENABLE_FAST_STRING;
	return true;
}

static uint64_t read_clock(struct soft_vcpu *v)
{
	return v->msr.clock;
}

static bool write_clock(struct soft_vcpu *v, uint64_t value)
{
	soft_clock_set(v, value);
	return true;
}

static uint64_t read_wall_clock(struct soft_vcpu *v)
{
	return v->msr.wall_clock;
}

static bool write_wall_clock(struct soft_vcpu *v, uint64_t value)
{
	soft_clock_set_wall(v, value);
	return true;
}

static uint64_t read_efer(struct soft_vcpu *v)
{
	return v->efer;
}

static bool write_efer(struct soft_vcpu *v, uint64_t value)
{
	soft_set_efer(v, value);
	return true;
}

/* ---- the table ---- */

enum on_write { REFUSED, IGNORED, ZERO_ONLY };

static const struct row {
	uint32_t first, last;
	size_t offset; /* kept there, if not 0 */
	bool (*check)(uint32_t number, uint64_t value);
	uint64_t (*read)(struct soft_vcpu *v); /* made, if not NULL */
	bool (*write)(struct soft_vcpu *v, uint64_t value);
	uint64_t value; /* else it is this */
	enum on_write on_write;
} rows[] = {
#define KEPT(from, to, field, checker)                       \
	{ .first = from,                                     \
		.last = to,                                  \
		.offset = offsetof(struct soft_vcpu, field), \
		.check = checker },
#define FIXED(number, is, what) { .first = number, .last = number, .value = is, .on_write = what },
#define MADE(number, reader, writer) \
	{ .first = number, .last = number, .read = reader, .write = writer },
#include "cpu/soft/interpreter/msrs.def"
#undef KEPT
#undef FIXED
#undef MADE
};

static const struct row *row_of(uint32_t number)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (number >= rows[i].first && number <= rows[i].last)
			return &rows[i];
	return NULL;
}

static uint64_t *kept(struct soft_vcpu *v, const struct row *row, uint32_t number)
{
	size_t at = row->offset + (number - row->first) * sizeof(uint64_t);
	return (uint64_t *)(void *)((uint8_t *)v + at);
}

static bool is_of_irqchip(uint32_t number)
{
	return number == MSR_APIC_BASE || number == MSR_TSC_DEADLINE ||
	       (number >= MSR_X2APIC && number <= MSR_X2APIC_LAST);
}

/* Kernels try many.  Each is told about once or twice, so that a guest cannot fill a log. */
static void note_unknown(struct soft_vcpu *v, uint32_t number)
{
	uint64_t bit = UINT64_C(1) << ((number * 0x9e3779b1u) >> 26);
	if ((v->msr.unknown & bit) != 0)
		return;
	v->msr.unknown |= bit;
	log_debug("vCPU %u: no such MSR: %#x", v->index, number);
}

void soft_msr_reset(struct soft_vcpu *v)
{
	uint64_t unknown = v->msr.unknown;
	v->msr = (struct soft_msrs){
		.pat = PAT_AT_RESET,
		.misc_enable = MISC_ENABLE_FAST_STRING,
		/* As firmware leaves them: all memory is cached. */
		.mtrr_def = MTRR_ENABLED | MTRR_WRITE_BACK,
		.unknown = unknown,
	};
}

bool soft_msr_read(struct soft_vcpu *v, uint32_t number, uint64_t *ret_value)
{
	if (is_of_irqchip(number))
		return irqchip_msr_read(v->machine->irqchip, v->index, number, soft_tsc(v),
			       ret_value) == 0;
	const struct row *row = row_of(number);
	if (row == NULL) {
		note_unknown(v, number);
		return false;
	}
	if (row->read != NULL)
		*ret_value = row->read(v);
	else
		*ret_value = row->offset != 0 ? *kept(v, row, number) : row->value;
	return true;
}

bool soft_msr_write(struct soft_vcpu *v, uint32_t number, uint64_t value)
{
	if (is_of_irqchip(number))
		return irqchip_msr_write(v->machine->irqchip, v->index, number, soft_tsc(v),
			       value) == 0;
	const struct row *row = row_of(number);
	if (row == NULL) {
		note_unknown(v, number);
		return false;
	}
	if (row->write != NULL)
		return row->write(v, value);
	if (row->offset == 0)
		return row->on_write == IGNORED || (row->on_write == ZERO_ONLY && value == 0);
	if (!row->check(number, value))
		return false;
	*kept(v, row, number) = value;
	return true;
}
