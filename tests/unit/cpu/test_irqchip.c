/* Messages, pins and priorities of the software CPU's interrupt controllers, through the accesses a
 * guest makes.  Four vCPUs, a TSC of 2 GHz: a nanosecond is two ticks. */
#include "test.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "cpu/soft/irqchip/irqchip.h"

enum { CPUS = 4, TSC_KHZ = 2000000 };
enum {
	ID = 0x20,
	VERSION = 0x30,
	TPR = 0x80,
	APR = 0x90,
	PPR = 0xa0,
	EOI = 0xb0,
	LDR = 0xd0,
	DFR = 0xe0,
	SVR = 0xf0,
	ISR = 0x100,
	TMR = 0x180,
	IRR = 0x200,
	ESR = 0x280,
	ICR = 0x300,
	ICR_HIGH = 0x310,
	LVT_TIMER = 0x320,
	LVT_LINT0 = 0x350,
	LVT_LINT1 = 0x360,
	LVT_ERROR = 0x370,
	TIMER_INITIAL = 0x380,
	TIMER_COUNT = 0x390,
	TIMER_DIVIDE = 0x3e0,
};
#define LAPIC_PAGE 0xfee00000u
#define IOAPIC_PAGE 0xfec00000u
#define MSR_APIC_BASE 0x1bu
#define MSR_DEADLINE 0x6e0u
#define MSR_X2(offset) (0x800u + ((offset) >> 4))
#define BASE_BSP UINT64_C(0x100)
#define BASE_X2 UINT64_C(0x400)
#define BASE_ON UINT64_C(0x800)
#define LEVEL (1u << 15)
#define MASKED (1u << 16)

struct fixture {
	struct irqchip *chip;
	unsigned wakes[CPUS];
	uint64_t now;
};

static void on_wake(void *context, unsigned vcpu)
{
	struct fixture *f = context;
	f->wakes[vcpu]++;
}

static const struct irqchip_ops ops = { .wake = on_wake };

static uint32_t mmio(struct fixture *f, unsigned vcpu, uint64_t address, bool is_write,
	uint32_t value)
{
	const struct irqchip_access access = {
		.now = f->now,
		.address = address,
		.bytes = (uint8_t *)&value,
		.len = 4,
		.is_write = is_write,
	};
	assert_true(irqchip_mmio(f->chip, vcpu, &access));
	return value;
}

static uint32_t get(struct fixture *f, unsigned vcpu, unsigned offset)
{
	return mmio(f, vcpu, LAPIC_PAGE + offset, false, 0xdeadbeef);
}

static void set(struct fixture *f, unsigned vcpu, unsigned offset, uint32_t value)
{
	(void)mmio(f, vcpu, LAPIC_PAGE + offset, true, value);
}

static uint32_t pin_get(struct fixture *f, unsigned reg)
{
	(void)mmio(f, 0, IOAPIC_PAGE, true, reg);
	return mmio(f, 0, IOAPIC_PAGE + 0x10, false, 0);
}

static void pin_set(struct fixture *f, unsigned pin, uint8_t destination, uint32_t low)
{
	(void)mmio(f, 0, IOAPIC_PAGE, true, 0x11 + 2 * pin);
	(void)mmio(f, 0, IOAPIC_PAGE + 0x10, true, (uint32_t)destination << 24);
	(void)mmio(f, 0, IOAPIC_PAGE, true, 0x10 + 2 * pin);
	(void)mmio(f, 0, IOAPIC_PAGE + 0x10, true, low);
}

static uint8_t port(struct fixture *f, uint16_t number, bool is_write, uint8_t value)
{
	const struct irqchip_access access = {
		.now = f->now,
		.address = number,
		.bytes = &value,
		.len = 1,
		.is_write = is_write,
	};
	assert_true(irqchip_io(f->chip, 0, &access));
	return value;
}

static uint64_t msr_get(struct fixture *f, unsigned vcpu, uint32_t msr)
{
	uint64_t value = 0;
	assert_int_equal(irqchip_msr_read(f->chip, vcpu, msr, f->now, &value), 0);
	return value;
}

static int msr_set(struct fixture *f, unsigned vcpu, uint32_t msr, uint64_t value)
{
	return irqchip_msr_write(f->chip, vcpu, msr, f->now, value);
}

/* The vector taken, or -1. */
static int take(struct fixture *f, unsigned vcpu)
{
	uint8_t vector = 0;
	bool is_pending = (irqchip_pending(f->chip, vcpu) & IRQCHIP_INTERRUPT) != 0;
	bool is_taken = irqchip_take_interrupt(f->chip, vcpu, &vector);
	assert_int_equal(is_pending, is_taken);
	return is_taken ? vector : -1;
}

/* Which vCPUs a message of this vector came to, as bits; handles it there. */
static unsigned takers(struct fixture *f, int vector)
{
	unsigned bits = 0;
	for (unsigned i = 0; i < CPUS; i++) {
		int taken = take(f, i);
		if (taken < 0)
			continue;
		assert_int_equal(taken, vector);
		bits |= 1u << i;
		uint64_t base = msr_get(f, i, MSR_APIC_BASE);
		if ((base & BASE_X2) != 0)
			assert_int_equal(msr_set(f, i, MSR_X2(EOI), 0), 0);
		else
			set(f, i, EOI, 0);
	}
	return bits;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	f->chip = irqchip_new(CPUS, TSC_KHZ, &ops, f);
	for (unsigned i = 0; i < CPUS; i++)
		set(f, i, SVR, 0x1ff);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	irqchip_free(f->chip);
	free(f);
	return 0;
}

static void msi(struct fixture *f, unsigned destination, uint32_t flags, uint32_t data)
{
	irqchip_message(f->chip, LAPIC_PAGE | destination << 12 | flags, data);
}

static void registers_are_as_after_firmware(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(get(f, 2, ID), 2u << 24);
	assert_int_equal(get(f, 0, VERSION), 0x50014);
	assert_int_equal(get(f, 0, LVT_LINT0), 0x700);
	assert_int_equal(get(f, 0, LVT_LINT1), 0x400);
	assert_int_equal(get(f, 0, LVT_TIMER), MASKED);
	assert_int_equal(get(f, 0, DFR), 0xffffffff);
	assert_int_equal(msr_get(f, 0, MSR_APIC_BASE), LAPIC_PAGE | BASE_ON | BASE_BSP);
	assert_int_equal(msr_get(f, 1, MSR_APIC_BASE), LAPIC_PAGE | BASE_ON);
	assert_int_equal(pin_get(f, 1), 0x170011);
	assert_int_equal(pin_get(f, 0x10), MASKED);
	uint8_t byte = 0;
	const struct irqchip_access outside = { .address = 0xfed00000, .bytes = &byte, .len = 1 };
	assert_false(irqchip_mmio(f->chip, 0, &outside));
	const struct irqchip_access part = { .address = LAPIC_PAGE + VERSION + 2,
		.bytes = &byte,
		.len = 1 };
	assert_true(irqchip_mmio(f->chip, 0, &part));
	assert_int_equal(byte, 5);
}

static void a_higher_class_interrupts_a_lower_one(void **state)
{
	struct fixture *f = *state;
	msi(f, 1, 0, 0x41);
	assert_int_equal(f->wakes[1], 1);
	assert_int_equal(f->wakes[0], 0);
	msi(f, 1, 0, 0x4f);
	msi(f, 1, 0, 0x4e);
	assert_int_equal(get(f, 1, IRR + 0x20), 1u << 1 | 3u << 14);
	assert_int_equal(get(f, 1, APR), 0x40);
	assert_int_equal(take(f, 1), 0x4f);
	assert_int_equal(get(f, 1, PPR), 0x40);
	assert_int_equal(get(f, 1, ISR + 0x20), 1u << 15);
	assert_int_equal(take(f, 1), -1);
	msi(f, 1, 0, 0x50);
	assert_int_equal(take(f, 1), 0x50);
	assert_int_equal(get(f, 1, PPR), 0x50);
	set(f, 1, EOI, 0);
	assert_int_equal(get(f, 1, PPR), 0x40);
	assert_int_equal(take(f, 1), -1);
	set(f, 1, EOI, 0);
	assert_int_equal(take(f, 1), 0x4e);
	set(f, 1, EOI, 0);
	assert_int_equal(take(f, 1), 0x41);
	set(f, 1, EOI, 0);
	set(f, 1, EOI, 0);
	assert_int_equal(get(f, 1, PPR), 0);
}

static void the_task_priority_holds_interrupts_back(void **state)
{
	struct fixture *f = *state;
	set(f, 0, TPR, 0x45);
	assert_int_equal(irqchip_tpr(f->chip, 0), 4);
	assert_int_equal(get(f, 0, PPR), 0x45);
	msi(f, 0, 0, 0x4f);
	assert_int_equal(take(f, 0), -1);
	irqchip_set_tpr(f->chip, 0, 3);
	assert_int_equal(get(f, 0, TPR), 0x30);
	assert_int_equal(take(f, 0), 0x4f);
	irqchip_set_tpr(f->chip, 0, 15);
	msi(f, 0, 0, 0xff);
	assert_int_equal(take(f, 0), -1);
	irqchip_set_tpr(f->chip, 0, 0);
	assert_int_equal(take(f, 0), 0xff);
}

static void an_apic_disabled_by_software_takes_only_what_is_not_fixed(void **state)
{
	struct fixture *f = *state;
	set(f, 1, LVT_TIMER, 0x31);
	set(f, 1, SVR, 0xff);
	assert_int_equal(get(f, 1, LVT_TIMER), 0x31 | MASKED);
	set(f, 1, LVT_TIMER, 0x32);
	assert_int_equal(get(f, 1, LVT_TIMER), 0x32 | MASKED);
	msi(f, 1, 0, 0x41);
	assert_int_equal(take(f, 1), -1);
	msi(f, 1, 0, 4u << 8);
	assert_true(irqchip_take_nmi(f->chip, 1));
	set(f, 1, SVR, 0x1ff);
	assert_int_equal(get(f, 1, LVT_TIMER), 0x32 | MASKED);
	assert_int_equal(take(f, 1), -1);
}

static void messages_address_by_id_flat_and_cluster(void **state)
{
	struct fixture *f = *state;
	static const struct {
		uint32_t dfr;
		uint8_t ldr[CPUS], destination;
		bool is_logical;
		unsigned takers;
	} cases[] = {
		{ 0xffffffff, { 1, 2, 4, 8 }, 2, false, 4 },
		{ 0xffffffff, { 1, 2, 4, 8 }, 0xff, false, 15 },
		{ 0xffffffff, { 1, 2, 4, 8 }, 4, false, 0 },
		{ 0xffffffff, { 1, 2, 4, 8 }, 2, true, 2 },
		{ 0xffffffff, { 1, 2, 4, 8 }, 0xd, true, 13 },
		{ 0xffffffff, { 1, 2, 4, 8 }, 0xf0, true, 0 },
		{ 0xffffffff, { 1, 2, 4, 8 }, 0xff, true, 15 },
		{ 0x0fffffff, { 0x01, 0x02, 0x11, 0x12 }, 0x03, true, 3 },
		{ 0x0fffffff, { 0x01, 0x02, 0x11, 0x12 }, 0x12, true, 8 },
		{ 0x0fffffff, { 0x01, 0x02, 0x11, 0x12 }, 0x2f, true, 0 },
		{ 0x0fffffff, { 0x01, 0x02, 0x11, 0x12 }, 0xff, true, 15 },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (unsigned cpu = 0; cpu < CPUS; cpu++) {
			set(f, cpu, DFR, cases[i].dfr);
			set(f, cpu, LDR, (uint32_t)cases[i].ldr[cpu] << 24);
		}
		msi(f, cases[i].destination, cases[i].is_logical ? 4 : 0, 0x51);
		assert_int_equal(takers(f, 0x51), cases[i].takers);
		set(f, 3, ICR_HIGH, (uint32_t)cases[i].destination << 24);
		set(f, 3, ICR, 0x52 | (cases[i].is_logical ? 1u << 11 : 0));
		assert_int_equal(takers(f, 0x52), cases[i].takers);
		pin_set(f, 5, cases[i].destination, 0x53 | (cases[i].is_logical ? 1u << 11 : 0));
		irqchip_line(f->chip, 5, true);
		irqchip_line(f->chip, 5, false);
		assert_int_equal(takers(f, 0x53), cases[i].takers);
	}
}

static void lowest_priority_goes_to_one_that_is_least_busy(void **state)
{
	struct fixture *f = *state;
	for (unsigned cpu = 0; cpu < CPUS; cpu++)
		set(f, cpu, LDR, 0x01000000u << cpu);
	set(f, 0, TPR, 0x20);
	set(f, 1, TPR, 0x10);
	set(f, 2, TPR, 0x30);
	set(f, 3, SVR, 0xff);
	for (unsigned i = 0; i < CPUS; i++) {
		msi(f, 0x0f, 4, 0x61 | 1u << 8);
		assert_int_equal(takers(f, 0x61), 2);
		msi(f, 0x0f, 4 | 8, 0x62);
		assert_int_equal(takers(f, 0x62), 2);
		msi(f, 0x0d, 4, 0x63 | 1u << 8);
		assert_int_equal(takers(f, 0x63), 1);
	}
	/* Equals take turns. */
	set(f, 0, TPR, 0x10);
	unsigned all = 0;
	for (unsigned i = 0; i < CPUS; i++) {
		msi(f, 0x03, 4, 0x64 | 1u << 8);
		unsigned taker = takers(f, 0x64);
		assert_true(taker == 1 || taker == 2);
		all |= taker;
	}
	assert_int_equal(all, 3);
}

static void shorthands_address_self_all_and_others(void **state)
{
	struct fixture *f = *state;
	set(f, 2, ICR_HIGH, 0);
	set(f, 2, ICR, 0x71 | 1u << 18);
	assert_int_equal(takers(f, 0x71), 4);
	set(f, 2, ICR, 0x72 | 2u << 18);
	assert_int_equal(takers(f, 0x72), 15);
	set(f, 2, ICR, 0x73 | 3u << 18);
	assert_int_equal(takers(f, 0x73), 11);
	assert_int_equal(get(f, 2, ICR), 0x73 | 3u << 18);
}

static void other_messages_are_lost(void **state)
{
	struct fixture *f = *state;
	irqchip_message(f->chip, 0xfec00000u, 0x51);
	irqchip_message(f->chip, UINT64_C(0x1fee00000), 0x51);
	msi(f, 0, 0, 0x51 | LEVEL);
	msi(f, 0, 0, 2u << 8);
	msi(f, 0, 0, 7u << 8);
	for (unsigned i = 0; i < CPUS; i++) {
		assert_int_equal(irqchip_pending(f->chip, i), 0);
		assert_int_equal(f->wakes[i], 0);
	}
}

static void init_and_sipi_start_a_processor(void **state)
{
	struct fixture *f = *state;
	uint8_t vector = 0;
	set(f, 1, TPR, 0x20);
	set(f, 1, LVT_TIMER, 0x31);
	set(f, 0, ICR_HIGH, 1u << 24);
	set(f, 0, ICR, 5u << 8 | LEVEL | 1u << 14);
	set(f, 0, ICR, 5u << 8 | LEVEL); /* its end is not another INIT */
	assert_int_equal(irqchip_pending(f->chip, 1), IRQCHIP_INIT);
	assert_int_equal(f->wakes[1], 1);
	set(f, 0, ICR, 6u << 8 | 0x9a);
	assert_int_equal(irqchip_pending(f->chip, 1), IRQCHIP_INIT | IRQCHIP_SIPI);
	assert_true(irqchip_take_init(f->chip, 1));
	assert_false(irqchip_take_init(f->chip, 1));
	assert_int_equal(get(f, 1, TPR), 0);
	assert_int_equal(get(f, 1, SVR), 0xff);
	assert_int_equal(get(f, 1, LVT_TIMER), MASKED);
	assert_int_equal(get(f, 1, LVT_LINT0), MASKED);
	assert_int_equal(get(f, 1, ID), 1u << 24);
	assert_true(irqchip_take_sipi(f->chip, 1, &vector));
	assert_int_equal(vector, 0x9a);
	assert_false(irqchip_take_sipi(f->chip, 1, &vector));
	/* INIT cancels what came before. */
	set(f, 0, ICR, 6u << 8 | 0x9b);
	set(f, 0, ICR, 5u << 8);
	assert_int_equal(irqchip_pending(f->chip, 1), IRQCHIP_INIT);
	assert_int_equal(irqchip_pending(f->chip, 0), 0);
}

static void illegal_vectors_and_registers_are_errors(void **state)
{
	struct fixture *f = *state;
	set(f, 0, LVT_ERROR, 0x3e);
	set(f, 0, ICR, 0x0f | 1u << 18);
	assert_int_equal(get(f, 0, ESR), 0);
	assert_int_equal(take(f, 0), 0x3e);
	set(f, 0, EOI, 0);
	set(f, 0, ESR, 0);
	assert_int_equal(get(f, 0, ESR), 1u << 5);
	set(f, 0, ESR, 0);
	assert_int_equal(get(f, 0, ESR), 0);
	msi(f, 0, 0, 0x0f);
	(void)get(f, 0, 0x400);
	set(f, 0, ESR, 0);
	assert_int_equal(get(f, 0, ESR), 1u << 6 | 1u << 7);
	assert_int_equal(take(f, 0), 0x3e);
	/* An error whose own vector is illegal ends there. */
	set(f, 0, LVT_ERROR, 0x01);
	set(f, 0, ESR, 0);
	msi(f, 0, 0, 0x02);
	set(f, 0, ESR, 0);
	assert_int_equal(get(f, 0, ESR), 1u << 6);
}

static void a_level_is_sent_again_after_its_end_while_it_is_up(void **state)
{
	struct fixture *f = *state;
	pin_set(f, 10, 1, 0x81 | LEVEL);
	irqchip_line(f->chip, 10, true);
	irqchip_line(f->chip, 10, true);
	assert_int_equal(pin_get(f, 0x10 + 20), 0x81 | LEVEL | 1u << 14);
	assert_int_equal(take(f, 1), 0x81);
	assert_int_equal(get(f, 1, TMR + 0x40), 1u << 1);
	/* Written again, it still waits for its end. */
	pin_set(f, 10, 1, 0x81 | LEVEL);
	assert_int_equal(pin_get(f, 0x10 + 20), 0x81 | LEVEL | 1u << 14);
	irqchip_line(f->chip, 10, false);
	irqchip_line(f->chip, 10, true);
	assert_int_equal(f->wakes[1], 1);
	set(f, 1, EOI, 0);
	assert_int_equal(take(f, 1), 0x81);
	irqchip_line(f->chip, 10, false);
	set(f, 1, EOI, 0);
	assert_int_equal(pin_get(f, 0x10 + 20), 0x81 | LEVEL);
	assert_int_equal(take(f, 1), -1);
	/* The vector of an edge clears the trigger mode. */
	msi(f, 1, 0, 0x81);
	assert_int_equal(get(f, 1, TMR + 0x40), 0);
}

static void masks_of_the_ioapic_hold_levels_and_lose_edges(void **state)
{
	struct fixture *f = *state;
	pin_set(f, 10, 0, 0x81 | LEVEL | MASKED);
	pin_set(f, 11, 0, 0x91 | MASKED);
	irqchip_line(f->chip, 10, true);
	irqchip_line(f->chip, 11, true);
	assert_int_equal(take(f, 0), -1);
	pin_set(f, 10, 0, 0x81 | LEVEL);
	pin_set(f, 11, 0, 0x91);
	assert_int_equal(take(f, 0), 0x81);
	/* Masked as an edge and back again: how Linux ends it without a register for that. */
	pin_set(f, 10, 0, 0x81 | MASKED);
	assert_int_equal(pin_get(f, 0x10 + 20), 0x81 | MASKED);
	pin_set(f, 10, 0, 0x82 | LEVEL);
	set(f, 0, EOI, 0);
	assert_int_equal(take(f, 0), 0x82);
	irqchip_line(f->chip, 10, false);
	set(f, 0, EOI, 0);
	irqchip_line(f->chip, 11, false);
	irqchip_line(f->chip, 11, true);
	assert_int_equal(take(f, 0), 0x91);
	set(f, 0, EOI, 0);
	irqchip_line(f->chip, 11, true);
	assert_int_equal(take(f, 0), -1);
	irqchip_line(f->chip, 24, true);
	irqchip_line(f->chip, UINT32_MAX, true);
}

static void the_base_moves_between_the_modes_as_the_manual_draws_it(void **state)
{
	struct fixture *f = *state;
	static const struct {
		uint64_t from, to;
		bool is_legal;
	} moves[] = {
		{ BASE_ON, BASE_X2, false },
		{ BASE_ON, 0, true },
		{ 0, BASE_ON | BASE_X2, false },
		{ 0, BASE_X2, false },
		{ 0, BASE_ON, true },
		{ BASE_ON, BASE_ON | BASE_X2, true },
		{ BASE_ON | BASE_X2, BASE_ON | BASE_X2, true },
		{ BASE_ON | BASE_X2, BASE_ON, false },
		{ BASE_ON | BASE_X2, BASE_X2, false },
		{ BASE_ON | BASE_X2, 0, true },
	};
	for (size_t i = 0; i < sizeof(moves) / sizeof(moves[0]); i++) {
		uint64_t before = msr_get(f, 1, MSR_APIC_BASE);
		assert_int_equal(before, LAPIC_PAGE | moves[i].from);
		int r = msr_set(f, 1, MSR_APIC_BASE, LAPIC_PAGE | moves[i].to);
		assert_int_equal(r, moves[i].is_legal ? 0 : -EINVAL);
		assert_int_equal(msr_get(f, 1, MSR_APIC_BASE),
			moves[i].is_legal ? LAPIC_PAGE | moves[i].to : before);
	}
	assert_int_equal(msr_set(f, 0, MSR_APIC_BASE, LAPIC_PAGE | BASE_ON | 1), -EINVAL);
	assert_int_equal(msr_set(f, 0, MSR_APIC_BASE, UINT64_C(1) << 52 | BASE_ON), -EINVAL);
	/* Off, it takes nothing, and its page is memory. */
	msi(f, 1, 0, 4u << 8);
	assert_int_equal(irqchip_pending(f->chip, 1), 0);
	uint32_t value = 0;
	const struct irqchip_access access = { .address = LAPIC_PAGE + ID,
		.bytes = (uint8_t *)&value,
		.len = 4 };
	assert_false(irqchip_mmio(f->chip, 1, &access));
	/* The page moves with the base. */
	assert_int_equal(msr_set(f, 2, MSR_APIC_BASE, 0xfe000000u | BASE_ON), 0);
	assert_int_equal(mmio(f, 2, 0xfe000000u + ID, false, 0), 2u << 24);
	assert_false(irqchip_mmio(f->chip, 2, &access));
}

static void x2apic_sends_with_one_register(void **state)
{
	struct fixture *f = *state;
	uint64_t value;
	assert_int_equal(irqchip_msr_read(f->chip, 0, MSR_X2(ID), 0, &value), -EINVAL);
	for (unsigned i = 0; i < CPUS; i++)
		assert_int_equal(msr_set(f, i, MSR_APIC_BASE, LAPIC_PAGE | BASE_ON | BASE_X2), 0);
	assert_int_equal(msr_get(f, 3, MSR_X2(ID)), 3);
	assert_int_equal(msr_get(f, 3, MSR_X2(LDR)), 8);
	assert_int_equal(msr_set(f, 0, MSR_X2(ICR), UINT64_C(2) << 32 | 0x51), 0);
	assert_int_equal(msr_get(f, 0, MSR_X2(ICR)), UINT64_C(2) << 32 | 0x51);
	assert_int_equal(takers(f, 0x51), 4);
	assert_int_equal(msr_set(f, 0, MSR_X2(ICR), UINT64_C(0x0a) << 32 | 1u << 11 | 0x52), 0);
	assert_int_equal(takers(f, 0x52), 10);
	assert_int_equal(msr_set(f, 0, MSR_X2(ICR), UINT64_C(0x1000a) << 32 | 1u << 11 | 0x52), 0);
	assert_int_equal(takers(f, 0x52), 0);
	assert_int_equal(msr_set(f, 0, MSR_X2(ICR), UINT64_C(0xffffffff) << 32 | 0x53), 0);
	assert_int_equal(takers(f, 0x53), 15);
	assert_int_equal(msr_set(f, 0, MSR_X2(ICR), UINT64_C(0xff) << 32 | 0x53), 0);
	assert_int_equal(takers(f, 0x53), 0);
	msi(f, 0xff, 0, 0x54);
	assert_int_equal(takers(f, 0x54), 15);
	msi(f, 0x05, 4, 0x55);
	assert_int_equal(takers(f, 0x55), 5);
	assert_int_equal(msr_set(f, 1, MSR_X2(0x3f0), 0x56), 0);
	assert_int_equal(takers(f, 0x56), 2);
}

static void x2apic_refuses_what_the_page_forgives(void **state)
{
	struct fixture *f = *state;
	uint64_t value = 7;
	assert_int_equal(msr_set(f, 0, MSR_APIC_BASE, LAPIC_PAGE | BASE_ON | BASE_X2), 0);
	static const struct {
		unsigned offset;
		uint64_t value;
	} refused[] = {
		{ ID, 0 },
		{ LDR, 0 },
		{ DFR, 0 },
		{ EOI, 1 },
		{ ESR, 1 },
		{ TPR, 0x100 },
		{ TPR, UINT64_C(1) << 32 },
		{ ICR, 1u << 20 },
		{ ICR_HIGH, 0 },
		{ TIMER_COUNT, 0 },
		{ LVT_TIMER, 0x80000 },
		{ TIMER_DIVIDE, 4 },
		{ 0x3f0, 0x100 },
		{ 0x400, 0 },
		{ 0xff0, 0 },
	};
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		assert_int_equal(msr_set(f, 0, MSR_X2(refused[i].offset), refused[i].value),
			-EINVAL);
	static const unsigned unreadable[] = { APR, EOI, DFR, ICR_HIGH, 0x3f0, 0x40, 0x400 };
	for (size_t i = 0; i < sizeof(unreadable) / sizeof(unreadable[0]); i++)
		assert_int_equal(irqchip_msr_read(f->chip, 0, MSR_X2(unreadable[i]), 0, &value),
			-EINVAL);
	assert_int_equal(value, 7);
	assert_true(irqchip_has_msr(0x8ff) && irqchip_has_msr(MSR_DEADLINE));
	assert_false(irqchip_has_msr(0x900) || irqchip_has_msr(0x7ff));
}

static void the_timer_sends_its_vector(void **state)
{
	struct fixture *f = *state;
	f->now = 1000;
	set(f, 1, TIMER_DIVIDE, 3); /* by 16 */
	set(f, 1, LVT_TIMER, 0x31 | 1u << 17);
	set(f, 1, TIMER_INITIAL, 100);
	assert_int_equal(irqchip_deadline(f->chip, 1), 1000 + 3200);
	assert_int_equal(irqchip_deadline(f->chip, 0), UINT64_MAX);
	f->now = 1000 + 1600;
	assert_int_equal(get(f, 1, TIMER_COUNT), 50);
	irqchip_run_timers(f->chip, 1, 4199);
	assert_int_equal(take(f, 1), -1);
	irqchip_run_timers(f->chip, 1, 4200);
	assert_int_equal(take(f, 1), 0x31);
	set(f, 1, EOI, 0);
	assert_int_equal(irqchip_deadline(f->chip, 1), 7400);
	set(f, 1, LVT_TIMER, 0x31 | 1u << 17 | MASKED);
	irqchip_run_timers(f->chip, 1, 7400);
	assert_int_equal(take(f, 1), -1);
	assert_int_equal(irqchip_deadline(f->chip, 1), 10600);
	set(f, 1, LVT_TIMER, 0x32 | 2u << 17);
	assert_int_equal(irqchip_deadline(f->chip, 1), UINT64_MAX);
	assert_int_equal(get(f, 1, TIMER_INITIAL), 0);
	assert_int_equal(msr_set(f, 1, MSR_DEADLINE, 12345), 0);
	assert_int_equal(msr_get(f, 1, MSR_DEADLINE), 12345);
	assert_int_equal(irqchip_deadline(f->chip, 1), 12345);
	irqchip_run_timers(f->chip, 1, 12345);
	assert_int_equal(msr_get(f, 1, MSR_DEADLINE), 0);
	assert_int_equal(take(f, 1), 0x32);
}

static void pic_start(struct fixture *f)
{
	static const struct {
		uint16_t port;
		uint8_t value;
	} words[] = {
		{ 0x20, 0x11 },
		{ 0x21, 0x30 },
		{ 0x21, 4 },
		{ 0x21, 1 },
		{ 0xa0, 0x11 },
		{ 0xa1, 0x38 },
		{ 0xa1, 2 },
		{ 0xa1, 1 },
	};
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		(void)port(f, words[i].port, true, words[i].value);
}

static void the_old_controller_interrupts_through_lint0_of_the_first(void **state)
{
	struct fixture *f = *state;
	pic_start(f);
	irqchip_line(f->chip, 4, true);
	assert_int_equal(f->wakes[0], 1);
	assert_int_equal(irqchip_pending(f->chip, 1), 0);
	set(f, 0, LVT_LINT0, 0x700 | MASKED);
	assert_int_equal(take(f, 0), -1);
	set(f, 0, LVT_LINT0, 0x700);
	/* It comes before the APIC's, whatever the priority. */
	msi(f, 0, 0, 0xf1);
	assert_int_equal(take(f, 0), 0x34);
	assert_int_equal(take(f, 0), 0xf1);
	set(f, 0, EOI, 0);
	irqchip_line(f->chip, 4, false);
	(void)port(f, 0x20, true, 0x20);
	/* As an NMI, as watchdogs had it. */
	set(f, 0, LVT_LINT0, 0x400);
	irqchip_line(f->chip, 4, true);
	assert_int_equal(irqchip_pending(f->chip, 0), IRQCHIP_NMI);
	assert_true(irqchip_take_nmi(f->chip, 0));
	/* Without an APIC the wire goes to the processor. */
	assert_int_equal(msr_set(f, 0, MSR_APIC_BASE, LAPIC_PAGE), 0);
	assert_int_equal(take(f, 0), 0x34);
}

static void the_pit_interrupts_on_pin_0(void **state)
{
	struct fixture *f = *state;
	pic_start(f);
	(void)port(f, 0x21, true, 0xff);
	pin_set(f, 0, 1, 0x91);
	(void)port(f, 0x43, true, 0x34);
	(void)port(f, 0x40, true, 0xa9);
	assert_int_equal(irqchip_deadline(f->chip, 0), UINT64_MAX);
	(void)port(f, 0x40, true, 0x04); /* 1193: close to a millisecond */
	assert_int_equal(f->wakes[0], 1);
	uint64_t deadline = irqchip_deadline(f->chip, 0);
	assert_int_equal(deadline, 1999695); /* 1193 / 1193182 s at 2 GHz, rounded up */
	assert_int_equal(irqchip_deadline(f->chip, 1), UINT64_MAX);
	irqchip_run_timers(f->chip, 0, deadline - 1);
	assert_int_equal(take(f, 1), -1);
	irqchip_run_timers(f->chip, 0, deadline);
	assert_int_equal(take(f, 1), 0x91);
	set(f, 1, EOI, 0);
	/* Ten periods late it is one interrupt. */
	irqchip_run_timers(f->chip, 0, 10 * deadline);
	assert_int_equal(take(f, 1), 0x91);
	set(f, 1, EOI, 0);
	irqchip_run_timers(f->chip, 0, 10 * deadline + 10);
	assert_int_equal(take(f, 1), -1);
	/* And the PIC has it too. */
	(void)port(f, 0x21, true, 0xfe);
	assert_int_equal(take(f, 0), 0x30);
}

static void state_goes_out_and_comes_back(void **state)
{
	struct fixture *f = *state;
	set(f, 1, TPR, 0x20);
	set(f, 1, LVT_TIMER, 0x31);
	set(f, 1, TIMER_DIVIDE, 0xb);
	set(f, 1, TIMER_INITIAL, 1000);
	msi(f, 1, 0, 0x41);
	msi(f, 1, 0, 0x51);
	assert_int_equal(take(f, 1), 0x51);
	pin_set(f, 10, 1, 0x81 | LEVEL);
	irqchip_line(f->chip, 10, true);
	pic_start(f);
	irqchip_line(f->chip, 4, true);
	(void)port(f, 0x43, true, 0x34);
	(void)port(f, 0x40, true, 0xa9);
	(void)port(f, 0x40, true, 0x04);
	msi(f, 3, 0, 5u << 8);
	msi(f, 3, 0, 6u << 8 | 0x12);

	struct kvm_lapic_state lapic;
	struct kvm_pit_state2 pit;
	struct kvm_irqchip chips[3];
	uint8_t sipi;
	irqchip_get_lapic(f->chip, 1, 500, &lapic);
	irqchip_get_pit(f->chip, &pit);
	for (unsigned i = 0; i < 3; i++) {
		chips[i].chip_id = i;
		assert_true(irqchip_get_chip(f->chip, &chips[i]));
	}
	unsigned events = irqchip_get_events(f->chip, 3, &sipi);
	struct kvm_irqchip unknown = { .chip_id = 3 };
	assert_false(irqchip_get_chip(f->chip, &unknown));

	struct fixture copy = { .now = 500 };
	copy.chip = irqchip_new(CPUS, TSC_KHZ, &ops, &copy);
	irqchip_set_lapic(copy.chip, 1, 500, &lapic);
	irqchip_set_pit(copy.chip, &pit, 500);
	for (unsigned i = 0; i < 3; i++)
		assert_true(irqchip_set_chip(copy.chip, &chips[i]));
	assert_false(irqchip_set_chip(copy.chip, &unknown));
	irqchip_set_events(copy.chip, 3, events, sipi);

	assert_int_equal(get(&copy, 1, PPR), 0x50);
	assert_int_equal(irqchip_deadline(copy.chip, 1), 2000);
	assert_int_equal(irqchip_deadline(copy.chip, 0), 1999695);
	assert_int_equal(take(&copy, 0), 0x34);
	assert_int_equal(pin_get(&copy, 0x10 + 20), 0x81 | LEVEL | 1u << 14);
	assert_int_equal(take(&copy, 1), 0x81);
	set(&copy, 1, EOI, 0);
	assert_int_equal(take(&copy, 1), 0x81);
	assert_true(irqchip_take_init(copy.chip, 3));
	assert_true(irqchip_take_sipi(copy.chip, 3, &sipi));
	assert_int_equal(sipi, 0x12);
	irqchip_free(copy.chip);
}

/* ---- threads ---- */

struct witness {
	struct irqchip *chip;
	unsigned seen;
};

static void on_witness(void *context, unsigned vcpu)
{
	struct witness *w = context;
	w->seen = irqchip_pending(w->chip, vcpu);
}

static void whoever_is_woken_finds_why(void **state)
{
	(void)state;
	static const struct irqchip_ops witness_ops = { .wake = on_witness };
	struct witness w = { 0 };
	w.chip = irqchip_new(1, TSC_KHZ, &witness_ops, &w);
	struct fixture f = { .chip = w.chip };
	set(&f, 0, SVR, 0x1ff);
	static const struct {
		uint32_t data;
		unsigned seen;
	} messages[] = {
		{ 0x41, IRQCHIP_INTERRUPT },
		{ 4u << 8, IRQCHIP_INTERRUPT | IRQCHIP_NMI },
		{ 5u << 8, IRQCHIP_INTERRUPT | IRQCHIP_INIT },
		{ 6u << 8, IRQCHIP_INTERRUPT | IRQCHIP_INIT | IRQCHIP_SIPI },
	};
	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
		msi(&f, 0, 0, messages[i].data);
		assert_int_equal(w.seen, messages[i].seen);
	}
	assert_true(irqchip_take_init(w.chip, 0));
	set(&f, 0, SVR, 0x1ff);
	set(&f, 0, LVT_LINT0, 0x700);
	pic_start(&f);
	w.seen = 0;
	irqchip_line(w.chip, 4, true);
	assert_int_equal(w.seen, IRQCHIP_INTERRUPT | IRQCHIP_SIPI);
	irqchip_free(w.chip);
}

enum { SENDERS = 3, ROUNDS = 3000 };

struct crossing {
	struct irqchip *chip;
	sem_t attention, handled[SENDERS];
	atomic_bool is_over;
};

static void on_crossing(void *context, unsigned vcpu)
{
	struct crossing *c = context;
	(void)vcpu;
	(void)sem_post(&c->attention);
}

static void *receive(void *context)
{
	struct crossing *c = context;
	uint32_t zero = 0;
	const struct irqchip_access end = { .address = LAPIC_PAGE + EOI,
		.bytes = (uint8_t *)&zero,
		.len = 4,
		.is_write = true };
	while (!atomic_load(&c->is_over)) {
		uint8_t vector;
		(void)sem_wait(&c->attention);
		while (irqchip_take_interrupt(c->chip, 0, &vector)) {
			assert_true(irqchip_mmio(c->chip, 0, &end));
			(void)sem_post(&c->handled[vector / 16 - 4]);
		}
	}
	return NULL;
}

struct sender {
	struct crossing *crossing;
	unsigned index;
};

/* The first two by message, the third by a level that falls when it was handled. */
static void *send(void *context)
{
	struct sender *s = context;
	struct crossing *c = s->crossing;
	for (unsigned i = 0; i < ROUNDS; i++) {
		if (s->index < 2)
			irqchip_message(c->chip, LAPIC_PAGE, 0x40 + 16 * s->index);
		else
			irqchip_line(c->chip, 20, true);
		(void)sem_wait(&c->handled[s->index]);
		if (s->index == 2)
			irqchip_line(c->chip, 20, false);
	}
	return NULL;
}

/* A lost one would leave its sender waiting for ever.  A level is handled twice when its end comes
 * before the line falls: then the sender is a round ahead, which is no loss. */
static void no_interrupt_is_lost_between_threads(void **state)
{
	(void)state;
	static const struct irqchip_ops crossing_ops = { .wake = on_crossing };
	struct crossing c = { 0 };
	struct sender senders[SENDERS];
	pthread_t receiver, threads[SENDERS];
	c.chip = irqchip_new(1, TSC_KHZ, &crossing_ops, &c);
	struct fixture f = { .chip = c.chip };
	assert_int_equal(sem_init(&c.attention, 0, 0), 0);
	set(&f, 0, SVR, 0x1ff);
	pin_set(&f, 20, 0, 0x60 | LEVEL);
	for (unsigned i = 0; i < SENDERS; i++)
		assert_int_equal(sem_init(&c.handled[i], 0, 0), 0);
	assert_int_equal(pthread_create(&receiver, NULL, receive, &c), 0);
	for (unsigned i = 0; i < SENDERS; i++) {
		senders[i] = (struct sender){ &c, i };
		assert_int_equal(pthread_create(&threads[i], NULL, send, &senders[i]), 0);
	}
	for (unsigned i = 0; i < SENDERS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	atomic_store(&c.is_over, true);
	(void)sem_post(&c.attention);
	assert_int_equal(pthread_join(receiver, NULL), 0);
	assert_int_equal(get(&f, 0, PPR), 0);
	irqchip_free(c.chip);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(registers_are_as_after_firmware),
		TEST(a_higher_class_interrupts_a_lower_one),
		TEST(the_task_priority_holds_interrupts_back),
		TEST(an_apic_disabled_by_software_takes_only_what_is_not_fixed),
		TEST(messages_address_by_id_flat_and_cluster),
		TEST(lowest_priority_goes_to_one_that_is_least_busy),
		TEST(shorthands_address_self_all_and_others),
		TEST(other_messages_are_lost),
		TEST(init_and_sipi_start_a_processor),
		TEST(illegal_vectors_and_registers_are_errors),
		TEST(a_level_is_sent_again_after_its_end_while_it_is_up),
		TEST(masks_of_the_ioapic_hold_levels_and_lose_edges),
		TEST(the_base_moves_between_the_modes_as_the_manual_draws_it),
		TEST(x2apic_sends_with_one_register),
		TEST(x2apic_refuses_what_the_page_forgives),
		TEST(the_timer_sends_its_vector),
		TEST(the_old_controller_interrupts_through_lint0_of_the_first),
		TEST(the_pit_interrupts_on_pin_0),
		TEST(state_goes_out_and_comes_back),
		cmocka_unit_test(whoever_is_woken_finds_why),
		cmocka_unit_test(no_interrupt_is_lost_between_threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
