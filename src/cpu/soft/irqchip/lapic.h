/* lapic - one local APIC (Intel SDM volume 3, chapter 11), of the version that KVM shows: six local
 * interrupts, no directed end of interrupt; with x2APIC and the TSC deadline timer.
 *
 * Any thread makes an interrupt pending (lapic_accept); everything else is for the thread of the
 * vCPU that the APIC belongs to. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "cpu/soft/irqchip/apic_bus.h"
#include "cpu/soft/irqchip/lapic_timer.h"

struct kvm_lapic_state;

/* Registers by number: their offset in the page, or MSR - 0x800, in units of 16 bytes. */
enum lapic_reg {
	LAPIC_ID = 0x02,
	LAPIC_VERSION = 0x03,
	LAPIC_TPR = 0x08,
	LAPIC_APR = 0x09,
	LAPIC_PPR = 0x0a,
	LAPIC_EOI = 0x0b,
	LAPIC_LDR = 0x0d,
	LAPIC_DFR = 0x0e,
	LAPIC_SVR = 0x0f,
	LAPIC_ISR = 0x10, /* eight of each */
	LAPIC_TMR = 0x18,
	LAPIC_IRR = 0x20,
	LAPIC_ESR = 0x28,
	LAPIC_ICR = 0x30,
	LAPIC_ICR_HIGH = 0x31,
	LAPIC_LVT_TIMER = 0x32,
	LAPIC_LVT_THERMAL = 0x33,
	LAPIC_LVT_PERF = 0x34,
	LAPIC_LVT_LINT0 = 0x35,
	LAPIC_LVT_LINT1 = 0x36,
	LAPIC_LVT_ERROR = 0x37,
	LAPIC_TIMER_INITIAL = 0x38,
	LAPIC_TIMER_COUNT = 0x39,
	LAPIC_TIMER_DIVIDE = 0x3e,
	LAPIC_SELF_IPI = 0x3f,
	LAPIC_REGS = 0x40,
};

#define LAPIC_SVR_ENABLED (1u << 8)
#define LAPIC_LVT_MASKED (1u << 16)

#define LAPIC_BASE_DEFAULT UINT64_C(0xfee00000)
#define LAPIC_BASE_ADDRESS UINT64_C(0x000ffffffffff000)
#define LAPIC_BASE_BSP (1u << 8)
#define LAPIC_BASE_X2APIC (1u << 10)
#define LAPIC_BASE_ENABLED (1u << 11)

/* Errors (11.5.3). */
#define LAPIC_ERROR_SEND_VECTOR (1u << 5)
#define LAPIC_ERROR_RECEIVE_VECTOR (1u << 6)
#define LAPIC_ERROR_REGISTER (1u << 7)

/* What a processor does not take by the way of its interrupt table alone. */
enum lapic_event { LAPIC_EVENT_INIT = 1, LAPIC_EVENT_SIPI = 2, LAPIC_EVENT_NMI = 4 };

struct lapic {
	struct apic_bus *bus; /* borrowed */
	unsigned id;

	/* Atomic: messages come from all threads, and senders look at the addresses. */
	atomic_uint_least32_t regs[LAPIC_REGS];
	atomic_uint_least64_t base; /* IA32_APIC_BASE */
	atomic_uint events, sipi_vector;
	atomic_uint errors; /* found since ESR was written */

	/* Only the vCPU's thread. */
	struct lapic_timer timer;
};

/* As a processor's firmware leaves it: enabled in hardware, the PIC on LINT0, NMI on LINT1. */
void lapic_init(struct lapic *lapic, struct apic_bus *bus, unsigned id, uint32_t tsc_khz);
/* INIT: all but the id and the base. */
void lapic_reset(struct lapic *lapic);

/* ---- any thread ---- */

/* Whether it was taken: a disabled APIC takes only NMI, INIT and SIPI. */
bool lapic_accept(struct lapic *lapic, const struct apic_message *m);
/* What the LVT entry says happens now. */
void lapic_local(struct lapic *lapic, enum lapic_reg entry);
void lapic_error(struct lapic *lapic, uint32_t error);
bool lapic_is_on(const struct lapic *lapic);      /* in hardware */
bool lapic_is_enabled(const struct lapic *lapic); /* and by its software */
bool lapic_is_x2apic(const struct lapic *lapic);
bool lapic_is_flat(const struct lapic *lapic);
uint32_t lapic_logical_id(const struct lapic *lapic);
uint32_t lapic_priority(const struct lapic *lapic); /* of the processor: PPR */

/* ---- the vCPU's thread ---- */

bool lapic_takes_extint(const struct lapic *lapic);
/* The vector that would be taken now, -1 for none. */
int lapic_pending(const struct lapic *lapic);
/* The same, and it is in service now. */
int lapic_take(struct lapic *lapic);
void lapic_end(struct lapic *lapic); /* end of interrupt */
void lapic_set_tpr(struct lapic *lapic, uint32_t tpr);
uint32_t lapic_reg(const struct lapic *lapic, unsigned reg);
void lapic_set_reg(struct lapic *lapic, unsigned reg, uint32_t value);
void lapic_run_timer(struct lapic *lapic, uint64_t now);

/* lapic_access.c: what the guest sees of it. */
uint32_t lapic_page_read(struct lapic *lapic, unsigned offset, unsigned len, uint64_t now);
void lapic_page_write(struct lapic *lapic, unsigned offset, uint32_t value, uint64_t now);
/* 0, or -EINVAL where the processor raises #GP. */
MUST_CHECK int lapic_msr_read(struct lapic *lapic, uint32_t msr, uint64_t now, uint64_t *ret_value);
MUST_CHECK int lapic_msr_write(struct lapic *lapic, uint32_t msr, uint64_t now, uint64_t value);
MUST_CHECK int lapic_set_base(struct lapic *lapic, uint64_t base);

/* KVM's format.  The base and the timer's deadline are MSRs there too: the one is set before, the
 * other after it. */
void lapic_get(const struct lapic *lapic, uint64_t now, struct kvm_lapic_state *ret_state);
void lapic_set(struct lapic *lapic, uint64_t now, const struct kvm_lapic_state *state);
