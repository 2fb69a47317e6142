/* lapic - interrupts of one local APIC: what is requested, what is in service, what comes next.
 *
 * No interrupt is lost: a request is in IRR (or the events) before the vCPU is woken, and whoever
 * wakes it makes it look again. */
#include "cpu/soft/irqchip/lapic.h"

#include <assert.h>
#include <linux/kvm.h>
#include <string.h>

#define VERSION 0x14u
#define DFR_FLAT 0xffffffffu
#define LVT_MODE(entry) ((enum apic_mode)(((entry) >> 8) & 7))
#define FIRST_VECTOR 16 /* those below are illegal in a message (11.5.2) */

enum { LVT_ENTRIES = 6, VECTOR_WORDS = 8, WORD_BITS = 32 };

uint32_t lapic_reg(const struct lapic *lapic, unsigned reg)
{
	return atomic_load(&lapic->regs[reg]);
}

void lapic_set_reg(struct lapic *lapic, unsigned reg, uint32_t value)
{
	atomic_store(&lapic->regs[reg], value);
}

/* ---- addresses ---- */

bool lapic_is_on(const struct lapic *lapic)
{
	return (atomic_load(&lapic->base) & LAPIC_BASE_ENABLED) != 0;
}

bool lapic_is_enabled(const struct lapic *lapic)
{
	return lapic_is_on(lapic) && (lapic_reg(lapic, LAPIC_SVR) & LAPIC_SVR_ENABLED) != 0;
}

bool lapic_is_x2apic(const struct lapic *lapic)
{
	return (atomic_load(&lapic->base) & LAPIC_BASE_X2APIC) != 0;
}

bool lapic_is_flat(const struct lapic *lapic)
{
	return lapic_reg(lapic, LAPIC_DFR) >> 28 == 0xf;
}

uint32_t lapic_logical_id(const struct lapic *lapic)
{
	if (lapic_is_x2apic(lapic))
		return (lapic->id >> 4) << 16 | 1u << (lapic->id & 15);
	return lapic_reg(lapic, LAPIC_LDR) >> 24;
}

uint32_t lapic_priority(const struct lapic *lapic)
{
	return lapic_reg(lapic, LAPIC_PPR);
}

/* ---- sets of vectors ---- */

static void vector_add(struct lapic *lapic, unsigned set, unsigned vector)
{
	atomic_fetch_or(&lapic->regs[set + vector / WORD_BITS], 1u << vector % WORD_BITS);
}

static void vector_remove(struct lapic *lapic, unsigned set, unsigned vector)
{
	atomic_fetch_and(&lapic->regs[set + vector / WORD_BITS], ~(1u << vector % WORD_BITS));
}

static bool vector_has(const struct lapic *lapic, unsigned set, unsigned vector)
{
	return (lapic_reg(lapic, set + vector / WORD_BITS) >> vector % WORD_BITS & 1) != 0;
}

static int vector_highest(const struct lapic *lapic, unsigned set)
{
	for (unsigned i = VECTOR_WORDS; i-- > 0;) {
		uint32_t word = lapic_reg(lapic, set + i);
		if (word != 0)
			return (int)(i * WORD_BITS) + (WORD_BITS - 1 - __builtin_clz(word));
	}
	return -1;
}

/* ---- requests ---- */

static void wake(struct lapic *lapic)
{
	lapic->bus->wake(lapic->bus->context, lapic->id);
}

static bool accept_vector(struct lapic *lapic, const struct apic_message *m)
{
	if (!lapic_is_enabled(lapic))
		return false;
	if (m->vector < FIRST_VECTOR) {
		lapic_error(lapic, LAPIC_ERROR_RECEIVE_VECTOR);
		return false;
	}
	if (m->is_level)
		vector_add(lapic, LAPIC_TMR, m->vector);
	else
		vector_remove(lapic, LAPIC_TMR, m->vector);
	vector_add(lapic, LAPIC_IRR, m->vector);
	wake(lapic);
	return true;
}

bool lapic_accept(struct lapic *lapic, const struct apic_message *m)
{
	switch (m->mode) {
	case APIC_FIXED:
	case APIC_LOWEST: return accept_vector(lapic, m);
	case APIC_NMI: atomic_fetch_or(&lapic->events, LAPIC_EVENT_NMI); break;
	/* It cancels all that came before it. */
	case APIC_INIT: atomic_store(&lapic->events, LAPIC_EVENT_INIT); break;
	case APIC_STARTUP:
		atomic_store(&lapic->sipi_vector, m->vector);
		atomic_fetch_or(&lapic->events, LAPIC_EVENT_SIPI);
		break;
	/* There is no system management, and the PIC has its own wire (lapic_local). */
	case APIC_SMI:
	case APIC_EXTINT:
	default: return false;
	}
	wake(lapic);
	return true;
}

void lapic_local(struct lapic *lapic, enum lapic_reg reg)
{
	uint32_t entry = lapic_reg(lapic, reg);
	if (!lapic_is_on(lapic) || (entry & LAPIC_LVT_MASKED) != 0)
		return;
	/* The timer's and the error's entries have no mode: they are fixed.  INIT from a pin is not
	 * supported, and nothing here pulls one. */
	const struct apic_message m = { .mode = LVT_MODE(entry), .vector = (uint8_t)entry };
	if (m.mode == APIC_FIXED || m.mode == APIC_NMI)
		(void)lapic_accept(lapic, &m);
}

void lapic_error(struct lapic *lapic, uint32_t error)
{
	/* Only a new error interrupts, which also ends the chain when the error's vector is itself
	 * illegal. */
	if ((atomic_fetch_or(&lapic->errors, error) & error) == 0)
		lapic_local(lapic, LAPIC_LVT_ERROR);
}

/* ---- service ---- */

/* 11.8.3.1: the higher of the task's priority and of the interrupt's in service. */
static void update_priority(struct lapic *lapic)
{
	uint32_t tpr = lapic_reg(lapic, LAPIC_TPR);
	int vector = vector_highest(lapic, LAPIC_ISR);
	uint32_t in_service = vector < 0 ? 0 : (uint32_t)vector & 0xf0;
	lapic_set_reg(lapic, LAPIC_PPR, tpr >> 4 >= in_service >> 4 ? tpr : in_service);
}

void lapic_set_tpr(struct lapic *lapic, uint32_t tpr)
{
	lapic_set_reg(lapic, LAPIC_TPR, tpr & 0xff);
	update_priority(lapic);
}

bool lapic_takes_extint(const struct lapic *lapic)
{
	uint32_t entry = lapic_reg(lapic, LAPIC_LVT_LINT0);
	/* Without an APIC the wire is the processor's interrupt pin (11.4.3). */
	return !lapic_is_on(lapic) ||
	       ((entry & LAPIC_LVT_MASKED) == 0 && LVT_MODE(entry) == APIC_EXTINT);
}

int lapic_pending(const struct lapic *lapic)
{
	if (!lapic_is_on(lapic))
		return -1;
	int vector = vector_highest(lapic, LAPIC_IRR);
	return vector >= 0 && (uint32_t)vector >> 4 > lapic_priority(lapic) >> 4 ? vector : -1;
}

int lapic_take(struct lapic *lapic)
{
	int vector = lapic_pending(lapic);
	if (vector < 0)
		return -1;
	vector_remove(lapic, LAPIC_IRR, (unsigned)vector);
	vector_add(lapic, LAPIC_ISR, (unsigned)vector);
	update_priority(lapic);
	return vector;
}

void lapic_end(struct lapic *lapic)
{
	int vector = vector_highest(lapic, LAPIC_ISR);
	if (vector < 0)
		return;
	vector_remove(lapic, LAPIC_ISR, (unsigned)vector);
	update_priority(lapic);
	if (vector_has(lapic, LAPIC_TMR, (unsigned)vector))
		lapic->bus->end(lapic->bus->context, (uint8_t)vector);
}

void lapic_run_timer(struct lapic *lapic, uint64_t now)
{
	if (lapic_timer_expire(&lapic->timer, now))
		lapic_local(lapic, LAPIC_LVT_TIMER);
}

/* ---- life ---- */

void lapic_reset(struct lapic *lapic)
{
	for (unsigned reg = 0; reg < LAPIC_REGS; reg++)
		lapic_set_reg(lapic, reg, 0);
	/* The id stays in the older format here whatever the mode, as in KVM's state. */
	lapic_set_reg(lapic, LAPIC_ID, lapic->id << 24);
	lapic_set_reg(lapic, LAPIC_VERSION, VERSION | (LVT_ENTRIES - 1) << 16);
	lapic_set_reg(lapic, LAPIC_DFR, DFR_FLAT);
	lapic_set_reg(lapic, LAPIC_SVR, 0xff);
	for (unsigned reg = LAPIC_LVT_TIMER; reg <= LAPIC_LVT_ERROR; reg++)
		lapic_set_reg(lapic, reg, LAPIC_LVT_MASKED);
	atomic_store(&lapic->errors, 0);
	lapic_timer_reset(&lapic->timer);
}

void lapic_init(struct lapic *lapic, struct apic_bus *bus, unsigned id, uint32_t tsc_khz)
{
	lapic->bus = bus;
	lapic->id = id;
	lapic->timer.tsc_khz = tsc_khz;
	lapic_reset(lapic);
	atomic_init(&lapic->base,
		LAPIC_BASE_DEFAULT | LAPIC_BASE_ENABLED | (id == 0 ? LAPIC_BASE_BSP : 0));
	lapic_set_reg(lapic, LAPIC_LVT_LINT0, APIC_EXTINT << 8);
	lapic_set_reg(lapic, LAPIC_LVT_LINT1, APIC_NMI << 8);
}

/* ---- state ---- */

void lapic_get(const struct lapic *lapic, uint64_t now, struct kvm_lapic_state *ret_state)
{
	static_assert(sizeof(ret_state->regs) == (size_t)16 * LAPIC_REGS,
		"a register has 16 bytes");
	memset(ret_state, 0, sizeof(*ret_state));
	for (unsigned reg = 0; reg < LAPIC_REGS; reg++) {
		uint32_t value = reg == LAPIC_TIMER_COUNT ? lapic_timer_count(&lapic->timer, now)
							  : lapic_reg(lapic, reg);
		memcpy(ret_state->regs + (size_t)reg * 16, &value, sizeof(value));
	}
}

void lapic_set(struct lapic *lapic, uint64_t now, const struct kvm_lapic_state *state)
{
	for (unsigned reg = 0; reg < LAPIC_REGS; reg++) {
		uint32_t value;
		memcpy(&value, state->regs + (size_t)reg * 16, sizeof(value));
		if (reg != LAPIC_ID && reg != LAPIC_VERSION)
			lapic_set_reg(lapic, reg, value);
	}
	lapic_set_tpr(lapic, lapic_reg(lapic, LAPIC_TPR));
	uint32_t mode = lapic_reg(lapic, LAPIC_LVT_TIMER) >> 17 & 3;
	lapic_timer_set_mode(&lapic->timer, (enum lapic_timer_mode)mode);
	lapic_timer_set_divide(&lapic->timer, lapic_reg(lapic, LAPIC_TIMER_DIVIDE), now);
	lapic_timer_resume(&lapic->timer, lapic_reg(lapic, LAPIC_TIMER_INITIAL),
		lapic_reg(lapic, LAPIC_TIMER_COUNT), now);
	wake(lapic);
}
