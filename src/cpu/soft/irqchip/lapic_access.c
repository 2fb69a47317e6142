/* lapic_access - the registers of a local APIC as its guest sees them, in the page of the older
 * mode and as MSRs of x2APIC (Intel SDM volume 3, 11.4.1 and 11.12.1).
 *
 * One table says which registers there are and which bits can be written.  The page forgives what
 * the MSRs refuse with #GP. */
#include <errno.h>
#include <stddef.h>

#include "cpu/soft/irqchip/lapic.h"

#define MSR_APIC_BASE 0x1bu
#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_X2APIC 0x800u

#define ICR_LOGICAL (1u << 11)
#define ICR_BUSY (1u << 12)
#define ICR_ASSERT (1u << 14)
#define ICR_LEVEL (1u << 15)
#define ICR_MASK 0x000ccfffu

#define BASE_RESERVED (~(LAPIC_BASE_ADDRESS | 0xd00))

enum { READ = 1, WRITE = 2 };

struct access {
	uint32_t write;   /* bits that can be written */
	uint8_t page, x2; /* READ, WRITE in each mode */
};

static const struct access accesses[LAPIC_REGS] = {
	[LAPIC_ID] = { .page = READ, .x2 = READ },
	[LAPIC_VERSION] = { .page = READ, .x2 = READ },
	[LAPIC_TPR] = { 0xff, READ | WRITE, READ | WRITE },
	[LAPIC_APR] = { .page = READ },
	[LAPIC_PPR] = { .page = READ, .x2 = READ },
	[LAPIC_EOI] = { 0, WRITE, WRITE },
	[LAPIC_LDR] = { 0xff000000, READ | WRITE, READ },
	[LAPIC_DFR] = { 0xf0000000, READ | WRITE, 0 },
	[LAPIC_SVR] = { 0x3ff, READ | WRITE, READ | WRITE },
	[LAPIC_ISR... LAPIC_IRR + 7] = { .page = READ, .x2 = READ },
	[LAPIC_ESR] = { 0, READ | WRITE, READ | WRITE },
	[LAPIC_ICR] = { ICR_MASK | ICR_BUSY, READ | WRITE, READ | WRITE },
	[LAPIC_ICR_HIGH] = { 0xff000000, READ | WRITE, 0 },
	[LAPIC_LVT_TIMER] = { 0x700ff, READ | WRITE, READ | WRITE },
	[LAPIC_LVT_THERMAL] = { 0x107ff, READ | WRITE, READ | WRITE },
	[LAPIC_LVT_PERF] = { 0x107ff, READ | WRITE, READ | WRITE },
	[LAPIC_LVT_LINT0] = { 0x1a7ff, READ | WRITE, READ | WRITE },
	[LAPIC_LVT_LINT1] = { 0x1a7ff, READ | WRITE, READ | WRITE },
	[LAPIC_LVT_ERROR] = { 0x100ff, READ | WRITE, READ | WRITE },
	[LAPIC_TIMER_INITIAL] = { UINT32_MAX, READ | WRITE, READ | WRITE },
	[LAPIC_TIMER_COUNT] = { .page = READ, .x2 = READ },
	[LAPIC_TIMER_DIVIDE] = { 0xb, READ | WRITE, READ | WRITE },
	[LAPIC_SELF_IPI] = { 0xff, 0, WRITE },
};

/* ---- sending ---- */

static void send(struct lapic *lapic, uint32_t low, uint32_t destination)
{
	const struct apic_message m = {
		.mode = (enum apic_mode)((low >> 8) & 7),
		.who = (enum apic_who)((low >> 18) & 3),
		.vector = (uint8_t)low,
		.is_logical = (low & ICR_LOGICAL) != 0,
		.destination = destination,
	};
	/* De-assertion of INIT is of processors long gone (11.6.1): nobody listens. */
	if (m.mode == APIC_INIT && (low & ICR_LEVEL) != 0 && (low & ICR_ASSERT) == 0)
		return;
	if ((m.mode == APIC_FIXED || m.mode == APIC_LOWEST) && m.vector < 16) {
		lapic_error(lapic, LAPIC_ERROR_SEND_VECTOR);
		return;
	}
	(void)apic_bus_send(lapic->bus, lapic, &m);
}

static void send_xapic(struct lapic *lapic, uint32_t low)
{
	uint32_t high = lapic_reg(lapic, LAPIC_ICR_HIGH);
	lapic_set_reg(lapic, LAPIC_ICR, low & ~ICR_BUSY);
	send(lapic, low, apic_bus_destination8(high >> 24));
}

/* ---- writing ---- */

static void set_svr(struct lapic *lapic, uint32_t value)
{
	lapic_set_reg(lapic, LAPIC_SVR, value);
	if ((value & LAPIC_SVR_ENABLED) != 0)
		return;
	for (unsigned reg = LAPIC_LVT_TIMER; reg <= LAPIC_LVT_ERROR; reg++)
		lapic_set_reg(lapic, reg, lapic_reg(lapic, reg) | LAPIC_LVT_MASKED);
}

static void set_lvt(struct lapic *lapic, unsigned reg, uint32_t value)
{
	/* Disabled by its software, it keeps all masked (11.4.7.2). */
	bool is_enabled = (lapic_reg(lapic, LAPIC_SVR) & LAPIC_SVR_ENABLED) != 0;
	lapic_set_reg(lapic, reg, is_enabled ? value : value | LAPIC_LVT_MASKED);
	if (reg == LAPIC_LVT_TIMER) {
		lapic_timer_set_mode(&lapic->timer, (enum lapic_timer_mode)(value >> 17 & 3));
		lapic_set_reg(lapic, LAPIC_TIMER_INITIAL, lapic->timer.initial);
	}
}

/* value has only bits that can be written. */
static void write_reg(struct lapic *lapic, unsigned reg, uint32_t value, uint64_t now)
{
	switch (reg) {
	case LAPIC_TPR: lapic_set_tpr(lapic, value); return;
	case LAPIC_EOI: lapic_end(lapic); return;
	case LAPIC_DFR: value |= 0x0fffffff; break;
	case LAPIC_SVR: set_svr(lapic, value); return;
	/* Any write shows what came together since the last one (11.5.3). */
	case LAPIC_ESR: value = atomic_exchange(&lapic->errors, 0); break;
	case LAPIC_ICR: send_xapic(lapic, value); return;
	case LAPIC_LVT_TIMER:
	case LAPIC_LVT_THERMAL:
	case LAPIC_LVT_PERF:
	case LAPIC_LVT_LINT0:
	case LAPIC_LVT_LINT1:
	case LAPIC_LVT_ERROR: set_lvt(lapic, reg, value); return;
	case LAPIC_TIMER_INITIAL:
		lapic_timer_start(&lapic->timer, value, now);
		value = lapic->timer.initial;
		break;
	case LAPIC_TIMER_DIVIDE: lapic_timer_set_divide(&lapic->timer, value, now); break;
	case LAPIC_SELF_IPI: send(lapic, value | APIC_SELF << 18, 0); return;
	default: break;
	}
	lapic_set_reg(lapic, reg, value);
}

/* ---- reading ---- */

/* 11.6.2.4, with the requested interrupt as a third contender. */
static uint32_t arbitration_priority(const struct lapic *lapic)
{
	uint32_t ppr = lapic_priority(lapic), best = 0;
	for (unsigned i = 8; i-- > 0 && best == 0;) {
		uint32_t word = lapic_reg(lapic, LAPIC_IRR + i);
		if (word != 0)
			best = (i * 32 + 31 - (unsigned)__builtin_clz(word)) & 0xf0;
	}
	return ppr >> 4 >= best >> 4 ? ppr : best;
}

static uint32_t read_reg(const struct lapic *lapic, unsigned reg, uint64_t now)
{
	bool is_x2 = lapic_is_x2apic(lapic);
	switch (reg) {
	case LAPIC_ID: return is_x2 ? lapic->id : lapic_reg(lapic, reg);
	case LAPIC_LDR: return is_x2 ? lapic_logical_id(lapic) : lapic_reg(lapic, reg);
	case LAPIC_APR: return arbitration_priority(lapic);
	case LAPIC_TIMER_COUNT: return lapic_timer_count(&lapic->timer, now);
	default: return lapic_reg(lapic, reg);
	}
}

/* ---- the page ---- */

uint32_t lapic_page_read(struct lapic *lapic, unsigned offset, unsigned len, uint64_t now)
{
	unsigned reg = offset >> 4, byte = offset & 15;
	if (reg >= LAPIC_REGS || (accesses[reg].page & READ) == 0) {
		lapic_error(lapic, LAPIC_ERROR_REGISTER);
		return 0;
	}
	return byte + len > 4 ? 0 : read_reg(lapic, reg, now) >> byte * 8;
}

void lapic_page_write(struct lapic *lapic, unsigned offset, uint32_t value, uint64_t now)
{
	unsigned reg = offset >> 4;
	if (reg >= LAPIC_REGS || accesses[reg].page == 0)
		lapic_error(lapic, LAPIC_ERROR_REGISTER);
	else if ((accesses[reg].page & WRITE) != 0)
		write_reg(lapic, reg, value & accesses[reg].write, now);
}

/* ---- MSRs ---- */

int lapic_set_base(struct lapic *lapic, uint64_t base)
{
	const uint64_t modes = LAPIC_BASE_ENABLED | LAPIC_BASE_X2APIC;
	uint64_t old = atomic_load(&lapic->base);
	uint64_t from = old & modes, to = base & modes;
	if ((base & BASE_RESERVED) != 0 || to == LAPIC_BASE_X2APIC)
		return -EINVAL;
	/* Figure 11-27: x2APIC is entered from the older mode and left only to be off. */
	if ((from == modes && to == LAPIC_BASE_ENABLED) || (from == 0 && to == modes))
		return -EINVAL;
	base = (base & ~(uint64_t)LAPIC_BASE_BSP) | (old & LAPIC_BASE_BSP);
	atomic_store(&lapic->base, base);
	if (to == 0 && from != 0)
		lapic_reset(lapic);
	if (to == modes && from != modes)
		lapic_set_reg(lapic, LAPIC_LDR, lapic_logical_id(lapic));
	return 0;
}

static const struct access *x2_access(const struct lapic *lapic, uint32_t msr, uint8_t how)
{
	uint32_t reg = msr - MSR_X2APIC;
	if (!lapic_is_x2apic(lapic) || reg >= LAPIC_REGS || (accesses[reg].x2 & how) == 0)
		return NULL;
	return &accesses[reg];
}

int lapic_msr_read(struct lapic *lapic, uint32_t msr, uint64_t now, uint64_t *ret_value)
{
	if (msr == MSR_APIC_BASE) {
		*ret_value = atomic_load(&lapic->base);
		return 0;
	}
	if (msr == MSR_TSC_DEADLINE) {
		*ret_value = lapic_timer_deadline(&lapic->timer);
		return 0;
	}
	if (x2_access(lapic, msr, READ) == NULL)
		return -EINVAL;
	unsigned reg = msr - MSR_X2APIC;
	*ret_value = read_reg(lapic, reg, now);
	if (reg == LAPIC_ICR)
		*ret_value |= (uint64_t)lapic_reg(lapic, LAPIC_ICR_HIGH) << 32;
	return 0;
}

static int write_x2_icr(struct lapic *lapic, uint64_t value)
{
	uint32_t low = (uint32_t)value & ~ICR_BUSY, high = (uint32_t)(value >> 32);
	if ((low & ~ICR_MASK) != 0)
		return -EINVAL;
	lapic_set_reg(lapic, LAPIC_ICR, low);
	lapic_set_reg(lapic, LAPIC_ICR_HIGH, high);
	send(lapic, low, high);
	return 0;
}

int lapic_msr_write(struct lapic *lapic, uint32_t msr, uint64_t now, uint64_t value)
{
	if (msr == MSR_APIC_BASE)
		return lapic_set_base(lapic, value);
	if (msr == MSR_TSC_DEADLINE) {
		lapic_timer_set_deadline(&lapic->timer, value);
		return 0;
	}
	const struct access *access = x2_access(lapic, msr, WRITE);
	if (access == NULL)
		return -EINVAL;
	if (msr - MSR_X2APIC == LAPIC_ICR)
		return write_x2_icr(lapic, value);
	if ((value & ~(uint64_t)access->write) != 0)
		return -EINVAL;
	write_reg(lapic, msr - MSR_X2APIC, (uint32_t)value, now);
	return 0;
}
