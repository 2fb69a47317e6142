/* irqchip - all interrupt controllers and timers of a machine of the software CPU: a local APIC for
 * each vCPU, an IOAPIC, two PICs, a PIT.
 *
 * Time is never read here.  It comes in as `now`, ticks of the guest's TSC, which is one for all
 * vCPUs.  Deadlines are given in the same ticks.
 *
 * Pins are wired as KVM wires them when nobody tells it otherwise, and as the MADT leaves them
 * (vm/platform/acpi.c has no override): the PIT and ISA interrupt 0 are IOAPIC pin 0.  The PIC's
 * output is wired to LINT0 of vCPU 0. */
#pragma once

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"

struct irqchip;

struct irqchip_ops {
	/* From any thread, some of them with locks of the chip held: the vCPU has something new
	 * pending, or its deadline changed.  It calls nothing of the chip and only makes the vCPU
	 * look again (irqchip_pending, irqchip_deadline). */
	void (*wake)(void *context, unsigned vcpu);
};

#define IRQCHIP_CPUS_MAX 255 /* the id 0xff is the broadcast */

struct irqchip *irqchip_new(unsigned cpus, uint32_t tsc_khz, const struct irqchip_ops *ops,
	void *context);
void irqchip_free(struct irqchip *chip); /* NULL is fine */
DEFINE_AUTO(irqchip)

/* ---- devices, any thread ---- */

/* A message-signalled interrupt; one that addresses nobody is lost. */
void irqchip_message(struct irqchip *chip, uint64_t address, uint32_t data);
void irqchip_line(struct irqchip *chip, unsigned pin, bool level);

/* ---- the guest's accesses, from its vCPU's thread ---- */

struct irqchip_access {
	uint64_t now;
	uint64_t address; /* guest-physical, or the port */
	uint8_t *bytes;   /* len of them, to read or to fill */
	unsigned len;
	bool is_write;
};

/* Whether the address belongs to a controller. */
bool irqchip_mmio(struct irqchip *chip, unsigned vcpu, const struct irqchip_access *access);
bool irqchip_io(struct irqchip *chip, unsigned vcpu, const struct irqchip_access *access);

/* IA32_APIC_BASE, IA32_TSC_DEADLINE and the range of x2APIC. */
bool irqchip_has_msr(uint32_t msr);
/* -EINVAL where the processor raises #GP. */
MUST_CHECK int irqchip_msr_read(struct irqchip *chip, unsigned vcpu, uint32_t msr, uint64_t now,
	uint64_t *ret_value);
MUST_CHECK int irqchip_msr_write(struct irqchip *chip, unsigned vcpu, uint32_t msr, uint64_t now,
	uint64_t value);
/* CR8: the task's priority, 0 to 15. */
unsigned irqchip_tpr(const struct irqchip *chip, unsigned vcpu);
void irqchip_set_tpr(struct irqchip *chip, unsigned vcpu, unsigned priority);

/* ---- the run loop, from the vCPU's thread ---- */

enum {
	IRQCHIP_INIT = 1,
	IRQCHIP_SIPI = 2, /* came after the INIT, if both are pending */
	IRQCHIP_NMI = 4,
	IRQCHIP_INTERRUPT = 8, /* for RFLAGS.IF to let in */
};

/* What there is to do: bits from above. */
unsigned irqchip_pending(const struct irqchip *chip, unsigned vcpu);
/* Each takes one of them; false when it is not (or no longer) pending.  INIT resets the APIC. */
bool irqchip_take_init(struct irqchip *chip, unsigned vcpu);
bool irqchip_take_sipi(struct irqchip *chip, unsigned vcpu, uint8_t *ret_vector);
bool irqchip_take_nmi(struct irqchip *chip, unsigned vcpu);
/* The PIC's come first. */
bool irqchip_take_interrupt(struct irqchip *chip, unsigned vcpu, uint8_t *ret_vector);

/* When irqchip_run_timers() has to be called next; UINT64_MAX: never.  The PIT is vCPU 0's. */
uint64_t irqchip_deadline(const struct irqchip *chip, unsigned vcpu);
void irqchip_run_timers(struct irqchip *chip, unsigned vcpu, uint64_t now);

/* ---- state, while no vCPU runs ---- */

/* The formats of KVM: one for both accelerators.  What KVM has elsewhere: a local APIC's base (an
 * MSR, to be set before it) and deadline (after it).  count_load_time of the PIT is in nanoseconds
 * of the guest's TSC. */
void irqchip_get_lapic(const struct irqchip *chip, unsigned vcpu, uint64_t now,
	struct kvm_lapic_state *ret_state);
void irqchip_set_lapic(struct irqchip *chip, unsigned vcpu, uint64_t now,
	const struct kvm_lapic_state *state);
/* chip_id is one of KVM_IRQCHIP_*, in the state; false for another. */
bool irqchip_get_chip(struct irqchip *chip, struct kvm_irqchip *state);
bool irqchip_set_chip(struct irqchip *chip, const struct kvm_irqchip *state);
void irqchip_get_pit(struct irqchip *chip, struct kvm_pit_state2 *ret_state);
void irqchip_set_pit(struct irqchip *chip, const struct kvm_pit_state2 *state, uint64_t now);
/* Pending INIT, SIPI and NMI: bits of irqchip_pending(). */
unsigned irqchip_get_events(const struct irqchip *chip, unsigned vcpu, uint8_t *ret_sipi_vector);
void irqchip_set_events(struct irqchip *chip, unsigned vcpu, unsigned events, uint8_t sipi_vector);
