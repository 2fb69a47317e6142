/* fuzz_irqchip - any sequence of accesses, messages, pins, timers and foreign state on the software
 * CPU's interrupt controllers, eight bytes an operation: what, which vCPU, two bytes of address,
 * four of value.  Whatever the guest did, a vector that is pending can be taken. */
#include <errno.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/soft/irqchip/irqchip.h"

enum { CPUS = 3, TSC_KHZ = 2000000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct op {
	uint8_t what, vcpu;
	uint16_t address;
	uint32_t value;
};

static void on_wake(void *context, unsigned vcpu)
{
	(void)context;
	if (vcpu >= CPUS)
		abort();
}

static void mmio(struct irqchip *chip, const struct op *op, uint64_t page, uint64_t now)
{
	uint8_t bytes[8] = { 0 };
	memcpy(bytes, &op->value, sizeof(op->value));
	const struct irqchip_access access = {
		.now = now,
		.address = page + op->address % 4096,
		.bytes = bytes,
		.len = 1u << (op->what >> 6),
		.is_write = (op->what & 0x20) == 0,
	};
	(void)irqchip_mmio(chip, op->vcpu, &access);
}

static void io(struct irqchip *chip, const struct op *op, uint64_t now)
{
	static const uint16_t ports[] = { 0x20, 0x21, 0xa0, 0xa1, 0x40, 0x41, 0x42, 0x43, 0x61,
		0x4d0, 0x4d1, 0x80 };
	uint8_t bytes[4];
	memcpy(bytes, &op->value, sizeof(bytes));
	const struct irqchip_access access = {
		.now = now,
		.address = ports[op->address % (sizeof(ports) / sizeof(ports[0]))],
		.bytes = bytes,
		.len = op->what >> 6 == 3 ? 4 : 1,
		.is_write = (op->what & 0x20) == 0,
	};
	(void)irqchip_io(chip, op->vcpu, &access);
}

static void msr(struct irqchip *chip, const struct op *op, uint64_t now)
{
	static const uint32_t others[] = { 0x1b, 0x6e0 };
	uint32_t number =
		op->address >= 0x8000 ? others[op->address % 2] : 0x800u + op->address % 256;
	uint64_t value = op->value;
	/* Bits of a base above 32 are refused, and destinations are small. */
	if (number == 0x830)
		value |= (uint64_t)(op->address >> 8) << 32;
	int r = (op->what & 0x20) == 0 ? irqchip_msr_write(chip, op->vcpu, number, now, value)
				       : irqchip_msr_read(chip, op->vcpu, number, now, &value);
	if (r != 0 && r != -EINVAL)
		abort();
}

static void take(struct irqchip *chip, const struct op *op)
{
	uint8_t vector;
	unsigned pending = irqchip_pending(chip, op->vcpu);
	bool has_init = irqchip_take_init(chip, op->vcpu);
	bool has_sipi = irqchip_take_sipi(chip, op->vcpu, &vector);
	bool has_nmi = irqchip_take_nmi(chip, op->vcpu);
	if (has_init != ((pending & IRQCHIP_INIT) != 0) ||
		has_sipi != ((pending & IRQCHIP_SIPI) != 0) ||
		has_nmi != ((pending & IRQCHIP_NMI) != 0))
		abort();
	pending = irqchip_pending(chip, op->vcpu);
	if (irqchip_take_interrupt(chip, op->vcpu, &vector) != ((pending & IRQCHIP_INTERRUPT) != 0))
		abort();
}

/* State of a snapshot may have any bytes. */
static void state(struct irqchip *chip, const struct op *op, uint64_t now)
{
	union {
		struct kvm_lapic_state lapic;
		struct kvm_irqchip chip;
		struct kvm_pit_state2 pit;
	} any;
	uint32_t seed = op->value;
	for (size_t i = 0; i < sizeof(any); i++) {
		seed = seed * 1664525 + 1013904223;
		((uint8_t *)&any)[i] = (uint8_t)(seed >> 24);
	}
	if (op->address % 3 == 0) {
		irqchip_set_lapic(chip, op->vcpu, now, &any.lapic);
		irqchip_get_lapic(chip, op->vcpu, now, &any.lapic);
	} else if (op->address % 3 == 1) {
		irqchip_set_pit(chip, &any.pit, now);
		irqchip_get_pit(chip, &any.pit);
	} else {
		any.chip.chip_id = op->vcpu;
		(void)irqchip_set_chip(chip, &any.chip);
		(void)irqchip_get_chip(chip, &any.chip);
	}
}

/* A timer that was run is not due at the same time. */
static void run(struct irqchip *chip, const struct op *op, uint64_t now)
{
	irqchip_run_timers(chip, op->vcpu, now);
	if (irqchip_deadline(chip, op->vcpu) <= now)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct irqchip_ops ops = { .wake = on_wake };
	AUTO(irqchip) chip = irqchip_new(CPUS, TSC_KHZ, &ops, NULL);
	uint64_t now = 0;
	for (size_t i = 0; i + sizeof(struct op) <= size; i += sizeof(struct op)) {
		struct op op;
		memcpy(&op, data + i, sizeof(op));
		op.vcpu %= CPUS;
		switch (op.what & 0x1f) {
		case 0:
		case 1:
		case 2: mmio(chip, &op, 0xfee00000, now); break;
		case 3:
		case 4: mmio(chip, &op, 0xfec00000, now); break;
		case 5:
		case 6: io(chip, &op, now); break;
		case 7:
		case 8: msr(chip, &op, now); break;
		case 9:
			irqchip_message(chip, 0xfee00000 | (uint32_t)op.address << 2, op.value);
			break;
		case 10: irqchip_line(chip, op.address, (op.value & 1) != 0); break;
		case 11: now += op.value; break;
		case 12: run(chip, &op, now); break;
		case 13: take(chip, &op); break;
		case 14: state(chip, &op, now); break;
		case 15: irqchip_set_tpr(chip, op.vcpu, op.value & 15); break;
		default: break;
		}
	}
	return 0;
}
