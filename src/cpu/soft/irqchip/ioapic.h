/* ioapic - the IOAPIC (Intel 82093AA), 24 pins, no end-of-interrupt register (version 0x11).  Its
 * owner holds a lock around every call. */
#pragma once

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "cpu/soft/irqchip/apic_bus.h"

struct ioapic {
	struct apic_bus *bus; /* borrowed */
	/* irr: level-triggered pins that are up.  redirtbl: with delivery status and remote IRR. */
	struct kvm_ioapic_state state;
	uint32_t levels; /* of all pins */
};

void ioapic_init(struct ioapic *ioapic, struct apic_bus *bus);
void ioapic_set_line(struct ioapic *ioapic, unsigned pin, bool level);
void ioapic_end(struct ioapic *ioapic, uint8_t vector);
uint32_t ioapic_read(const struct ioapic *ioapic, unsigned offset);
void ioapic_write(struct ioapic *ioapic, unsigned offset, uint32_t value);
void ioapic_set(struct ioapic *ioapic, const struct kvm_ioapic_state *state);
