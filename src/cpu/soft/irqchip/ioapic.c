/* ioapic - see ioapic.h.
 *
 * An edge is a message when it happens, or is lost when the pin is masked (82093AA, 3.2.4).  A
 * level is a message while it is up and the last one was handled: after its end of interrupt
 * (remote IRR falls), after it was unmasked, after it rose. */
#include "cpu/soft/irqchip/ioapic.h"

#include <stddef.h>

#define BASE_ADDRESS 0xfec00000u
#define VERSION 0x11u
#define RTE_READ_ONLY ((UINT64_C(1) << 12) | (UINT64_C(1) << 14))
/* Destination, and what is below the mask bit: the rest is reserved. */
#define RTE_WRITABLE (UINT64_C(0xff0000000001ffff) & ~RTE_READ_ONLY)

enum { SELECT = 0x00, WINDOW = 0x10 };
enum { REG_ID = 0, REG_VERSION = 1, REG_ARBITRATION = 2, REG_TABLE = 0x10 };

static bool send(struct ioapic *ioapic, unsigned pin)
{
	const __typeof__(ioapic->state.redirtbl[0]) *e = &ioapic->state.redirtbl[pin];
	const struct apic_message m = {
		.mode = (enum apic_mode)e->fields.delivery_mode,
		.vector = e->fields.vector,
		.is_logical = e->fields.dest_mode != 0,
		.is_level = e->fields.trig_mode != 0,
		.destination = apic_bus_destination8(e->fields.dest_id),
	};
	return apic_bus_send(ioapic->bus, NULL, &m);
}

static void service_level(struct ioapic *ioapic, unsigned pin)
{
	__typeof__(ioapic->state.redirtbl[0]) *e = &ioapic->state.redirtbl[pin];
	bool is_up = (ioapic->state.irr >> pin & 1) != 0;
	if (is_up && e->fields.trig_mode != 0 && e->fields.mask == 0 && e->fields.remote_irr == 0)
		e->fields.remote_irr = send(ioapic, pin);
}

void ioapic_set_line(struct ioapic *ioapic, unsigned pin, bool level)
{
	if (pin >= KVM_IOAPIC_NUM_PINS)
		return;
	uint32_t bit = 1u << pin;
	bool was = (ioapic->levels & bit) != 0;
	ioapic->levels = level ? ioapic->levels | bit : ioapic->levels & ~bit;
	const __typeof__(ioapic->state.redirtbl[0]) *e = &ioapic->state.redirtbl[pin];
	if (e->fields.trig_mode != 0) {
		ioapic->state.irr = level ? ioapic->state.irr | bit : ioapic->state.irr & ~bit;
		service_level(ioapic, pin);
	} else if (level && !was && e->fields.mask == 0) {
		(void)send(ioapic, pin);
	}
}

void ioapic_end(struct ioapic *ioapic, uint8_t vector)
{
	for (unsigned pin = 0; pin < KVM_IOAPIC_NUM_PINS; pin++) {
		__typeof__(ioapic->state.redirtbl[0]) *e = &ioapic->state.redirtbl[pin];
		if (e->fields.vector != vector || e->fields.trig_mode == 0)
			continue;
		e->fields.remote_irr = 0;
		service_level(ioapic, pin);
	}
}

static void write_entry(struct ioapic *ioapic, unsigned pin, bool is_high, uint32_t value)
{
	__typeof__(ioapic->state.redirtbl[0]) *e = &ioapic->state.redirtbl[pin];
	uint64_t old = e->bits;
	uint64_t bits = is_high ? (uint64_t)value << 32 | (uint32_t)old
				: (old & ~(uint64_t)UINT32_MAX) | value;
	e->bits = (bits & RTE_WRITABLE) | (old & RTE_READ_ONLY);
	uint32_t bit = 1u << pin;
	/* Made an edge, it has nothing to wait for: Linux ends interrupts of this version so. */
	if (e->fields.trig_mode == 0) {
		e->fields.remote_irr = 0;
		ioapic->state.irr &= ~bit;
	} else {
		ioapic->state.irr = (ioapic->state.irr & ~bit) | (ioapic->levels & bit);
		service_level(ioapic, pin);
	}
}

static uint32_t read_window(const struct ioapic *ioapic)
{
	uint32_t reg = ioapic->state.ioregsel, pin = (reg - REG_TABLE) / 2;
	switch (reg) {
	case REG_ID:
	case REG_ARBITRATION: return (ioapic->state.id & 0xf) << 24;
	case REG_VERSION: return VERSION | (KVM_IOAPIC_NUM_PINS - 1) << 16;
	default: break;
	}
	if (reg < REG_TABLE || pin >= KVM_IOAPIC_NUM_PINS)
		return 0;
	uint64_t bits = ioapic->state.redirtbl[pin].bits;
	return (uint32_t)(reg % 2 != 0 ? bits >> 32 : bits);
}

uint32_t ioapic_read(const struct ioapic *ioapic, unsigned offset)
{
	switch (offset) {
	case SELECT: return ioapic->state.ioregsel;
	case WINDOW: return read_window(ioapic);
	default: return 0;
	}
}

void ioapic_write(struct ioapic *ioapic, unsigned offset, uint32_t value)
{
	uint32_t reg = ioapic->state.ioregsel, pin = (reg - REG_TABLE) / 2;
	if (offset == SELECT)
		ioapic->state.ioregsel = value & 0xff;
	else if (offset == WINDOW && reg == REG_ID)
		ioapic->state.id = (value >> 24) & 0xf;
	else if (offset == WINDOW && reg >= REG_TABLE && pin < KVM_IOAPIC_NUM_PINS)
		write_entry(ioapic, pin, reg % 2 != 0, value);
}

void ioapic_init(struct ioapic *ioapic, struct apic_bus *bus)
{
	*ioapic = (struct ioapic){ .bus = bus, .state = { .base_address = BASE_ADDRESS } };
	for (unsigned pin = 0; pin < KVM_IOAPIC_NUM_PINS; pin++)
		ioapic->state.redirtbl[pin].fields.mask = 1;
}

void ioapic_set(struct ioapic *ioapic, const struct kvm_ioapic_state *state)
{
	ioapic->state = *state;
	ioapic->state.base_address = BASE_ADDRESS;
	ioapic->state.ioregsel &= 0xff;
	/* The levels of edge-triggered pins are not in the state; those pins are down between
	 * edges. */
	ioapic->levels = state->irr;
	for (unsigned pin = 0; pin < KVM_IOAPIC_NUM_PINS; pin++)
		service_level(ioapic, pin);
}
