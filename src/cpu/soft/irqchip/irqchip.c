/* irqchip - see irqchip.h.
 *
 * One lock is around the IOAPIC, the PICs and the PIT, which are not used often by a guest that has
 * message-signalled interrupts.  Local APICs have none.  The order is lock, then an APIC's atomics,
 * then wake(); an APIC calls back (the end of a level-triggered interrupt) only from its vCPU's own
 * access, where the lock is not held.
 *
 * What the run loop looks at all the time (the PIC's output, the PIT's deadline) is published in
 * atomics before vCPU 0 is woken. */
#include "cpu/soft/irqchip/irqchip.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "cpu/soft/irqchip/ioapic.h"
#include "cpu/soft/irqchip/lapic.h"
#include "cpu/soft/irqchip/pic.h"
#include "cpu/soft/irqchip/pit.h"

#define IOAPIC_BASE UINT64_C(0xfec00000)
#define PAGE 4096u
#define MSR_APIC_BASE 0x1bu
#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_X2APIC_FIRST 0x800u
#define MSR_X2APIC_LAST 0x8ffu

enum { PIT_LINE = 0, BOOT_CPU = 0 };

static_assert((int)LAPIC_EVENT_INIT == IRQCHIP_INIT && (int)LAPIC_EVENT_SIPI == IRQCHIP_SIPI &&
		      (int)LAPIC_EVENT_NMI == IRQCHIP_NMI,
	"the events are passed on as they are");

struct irqchip {
	const struct irqchip_ops *ops;
	void *context; /* borrowed */
	struct apic_bus bus;
	struct lapic *lapics; /* owned; see lapic.h for which thread may do what */

	atomic_bool is_pic_up;
	atomic_uint_least64_t pit_deadline;

	pthread_mutex_t lock; /* guards all below */
	struct ioapic ioapic;
	struct pic pic;
	struct pit pit;
};

static void lock(struct irqchip *chip)
{
	(void)pthread_mutex_lock(&chip->lock);
}

static void unlock(struct irqchip *chip)
{
	(void)pthread_mutex_unlock(&chip->lock);
}

/* ---- from the APICs ---- */

static void on_wake(void *context, unsigned id)
{
	struct irqchip *chip = context;
	chip->ops->wake(chip->context, id);
}

static void on_end(void *context, uint8_t vector)
{
	struct irqchip *chip = context;
	lock(chip);
	ioapic_end(&chip->ioapic, vector);
	unlock(chip);
}

/* ---- lines; the lock is held ---- */

static void publish_pic(struct irqchip *chip)
{
	struct lapic *lapic = &chip->lapics[BOOT_CPU];
	bool is_up = pic_output(&chip->pic);
	bool was_up = atomic_exchange(&chip->is_pic_up, is_up);
	if (!is_up || was_up)
		return;
	/* An external interrupt is taken from the PIC; any other mode of LINT0 is a message. */
	lapic_local(lapic, LAPIC_LVT_LINT0);
	on_wake(chip, BOOT_CPU);
}

static void publish_pit(struct irqchip *chip)
{
	uint64_t deadline = chip->pit.expiry;
	if (atomic_exchange(&chip->pit_deadline, deadline) != deadline)
		on_wake(chip, BOOT_CPU);
}

static void set_line(struct irqchip *chip, unsigned pin, bool level)
{
	ioapic_set_line(&chip->ioapic, pin, level);
	pic_set_line(&chip->pic, pin, level);
	publish_pic(chip);
}

void irqchip_line(struct irqchip *chip, unsigned pin, bool level)
{
	lock(chip);
	set_line(chip, pin, level);
	unlock(chip);
}

void irqchip_message(struct irqchip *chip, uint64_t address, uint32_t data)
{
	(void)apic_bus_send_msi(&chip->bus, address, data);
}

/* ---- the guest's accesses ---- */

static uint32_t get_value(const struct irqchip_access *access)
{
	uint32_t value = 0;
	memcpy(&value, access->bytes, access->len < 4 ? access->len : 4);
	return value;
}

/* Bytes that no register has read as zero. */
static void put_value(const struct irqchip_access *access, uint32_t value)
{
	memset(access->bytes, 0, access->len);
	memcpy(access->bytes, &value, access->len < 4 ? access->len : 4);
}

static void access_lapic(struct lapic *lapic, const struct irqchip_access *access)
{
	unsigned offset = access->address % PAGE;
	if (!access->is_write)
		put_value(access, lapic_page_read(lapic, offset, access->len, access->now));
	else if (access->len == 4 && offset % 16 == 0)
		lapic_page_write(lapic, offset, get_value(access), access->now);
}

static void access_ioapic(struct irqchip *chip, const struct irqchip_access *access)
{
	unsigned offset = access->address % PAGE;
	lock(chip);
	if (access->is_write)
		ioapic_write(&chip->ioapic, offset, get_value(access));
	else
		put_value(access, ioapic_read(&chip->ioapic, offset));
	unlock(chip);
}

bool irqchip_mmio(struct irqchip *chip, unsigned vcpu, const struct irqchip_access *access)
{
	struct lapic *lapic = &chip->lapics[vcpu];
	uint64_t page = access->address - access->address % PAGE;
	uint64_t base = atomic_load(&lapic->base);
	if (page == (base & LAPIC_BASE_ADDRESS) && lapic_is_on(lapic) && !lapic_is_x2apic(lapic)) {
		access_lapic(lapic, access);
		return true;
	}
	if (page != IOAPIC_BASE)
		return false;
	access_ioapic(chip, access);
	return true;
}

static uint8_t read_port(struct irqchip *chip, uint16_t port, uint64_t now)
{
	return pic_has_port(port) ? pic_read(&chip->pic, port) : pit_read(&chip->pit, port, now);
}

static void write_port(struct irqchip *chip, uint16_t port, uint8_t value, uint64_t now)
{
	if (pic_has_port(port))
		pic_write(&chip->pic, port, value);
	else
		pit_write(&chip->pit, port, value, now);
}

/* The chips are eight bits wide: a wider access is one to each port of its bytes, of which those
 * that are not here float. */
bool irqchip_io(struct irqchip *chip, unsigned vcpu, const struct irqchip_access *access)
{
	(void)vcpu;
	if (access->address > UINT16_MAX || (!pic_has_port((uint16_t)access->address) &&
						    !pit_has_port((uint16_t)access->address)))
		return false;
	lock(chip);
	for (unsigned i = 0; i < access->len; i++) {
		uint16_t port = (uint16_t)(access->address + i);
		if (access->is_write)
			write_port(chip, port, access->bytes[i], access->now);
		else
			access->bytes[i] = read_port(chip, port, access->now);
	}
	publish_pic(chip);
	publish_pit(chip);
	unlock(chip);
	return true;
}

bool irqchip_has_msr(uint32_t msr)
{
	return msr == MSR_APIC_BASE || msr == MSR_TSC_DEADLINE ||
	       (msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST);
}

int irqchip_msr_read(struct irqchip *chip, unsigned vcpu, uint32_t msr, uint64_t now,
	uint64_t *ret_value)
{
	return lapic_msr_read(&chip->lapics[vcpu], msr, now, ret_value);
}

int irqchip_msr_write(struct irqchip *chip, unsigned vcpu, uint32_t msr, uint64_t now,
	uint64_t value)
{
	return lapic_msr_write(&chip->lapics[vcpu], msr, now, value);
}

unsigned irqchip_tpr(const struct irqchip *chip, unsigned vcpu)
{
	return lapic_reg(&chip->lapics[vcpu], LAPIC_TPR) >> 4;
}

void irqchip_set_tpr(struct irqchip *chip, unsigned vcpu, unsigned priority)
{
	lapic_set_tpr(&chip->lapics[vcpu], priority << 4);
}

/* ---- the run loop ---- */

static bool has_extint(const struct irqchip *chip, unsigned vcpu)
{
	return vcpu == BOOT_CPU && atomic_load(&chip->is_pic_up) &&
	       lapic_takes_extint(&chip->lapics[vcpu]);
}

unsigned irqchip_pending(const struct irqchip *chip, unsigned vcpu)
{
	const struct lapic *lapic = &chip->lapics[vcpu];
	bool has_interrupt = has_extint(chip, vcpu) || lapic_pending(lapic) >= 0;
	return atomic_load(&lapic->events) | (has_interrupt ? IRQCHIP_INTERRUPT : 0);
}

static bool take_event(struct irqchip *chip, unsigned vcpu, unsigned event)
{
	return (atomic_fetch_and(&chip->lapics[vcpu].events, ~event) & event) != 0;
}

bool irqchip_take_init(struct irqchip *chip, unsigned vcpu)
{
	if (!take_event(chip, vcpu, IRQCHIP_INIT))
		return false;
	lapic_reset(&chip->lapics[vcpu]);
	return true;
}

bool irqchip_take_sipi(struct irqchip *chip, unsigned vcpu, uint8_t *ret_vector)
{
	if (!take_event(chip, vcpu, IRQCHIP_SIPI))
		return false;
	*ret_vector = (uint8_t)atomic_load(&chip->lapics[vcpu].sipi_vector);
	return true;
}

bool irqchip_take_nmi(struct irqchip *chip, unsigned vcpu)
{
	return take_event(chip, vcpu, IRQCHIP_NMI);
}

bool irqchip_take_interrupt(struct irqchip *chip, unsigned vcpu, uint8_t *ret_vector)
{
	if (has_extint(chip, vcpu)) {
		lock(chip);
		*ret_vector = pic_acknowledge(&chip->pic);
		atomic_store(&chip->is_pic_up, pic_output(&chip->pic));
		unlock(chip);
		return true;
	}
	int vector = lapic_take(&chip->lapics[vcpu]);
	if (vector < 0)
		return false;
	*ret_vector = (uint8_t)vector;
	return true;
}

uint64_t irqchip_deadline(const struct irqchip *chip, unsigned vcpu)
{
	uint64_t deadline = chip->lapics[vcpu].timer.expiry;
	uint64_t pit = vcpu == BOOT_CPU ? atomic_load(&chip->pit_deadline) : PIT_NEVER;
	return pit < deadline ? pit : deadline;
}

static void run_pit(struct irqchip *chip, uint64_t now)
{
	lock(chip);
	if (pit_expire(&chip->pit, now)) {
		set_line(chip, PIT_LINE, true);
		set_line(chip, PIT_LINE, false);
	}
	atomic_store(&chip->pit_deadline, chip->pit.expiry);
	unlock(chip);
}

void irqchip_run_timers(struct irqchip *chip, unsigned vcpu, uint64_t now)
{
	lapic_run_timer(&chip->lapics[vcpu], now);
	if (vcpu == BOOT_CPU && atomic_load(&chip->pit_deadline) <= now)
		run_pit(chip, now);
}

/* ---- state ---- */

void irqchip_get_lapic(const struct irqchip *chip, unsigned vcpu, uint64_t now,
	struct kvm_lapic_state *ret_state)
{
	lapic_get(&chip->lapics[vcpu], now, ret_state);
}

void irqchip_set_lapic(struct irqchip *chip, unsigned vcpu, uint64_t now,
	const struct kvm_lapic_state *state)
{
	lapic_set(&chip->lapics[vcpu], now, state);
}

bool irqchip_get_chip(struct irqchip *chip, struct kvm_irqchip *state)
{
	bool is_known = true;
	lock(chip);
	switch (state->chip_id) {
	case KVM_IRQCHIP_PIC_MASTER:
	case KVM_IRQCHIP_PIC_SLAVE: state->chip.pic = chip->pic.chips[state->chip_id]; break;
	case KVM_IRQCHIP_IOAPIC: state->chip.ioapic = chip->ioapic.state; break;
	default: is_known = false; break;
	}
	unlock(chip);
	return is_known;
}

bool irqchip_set_chip(struct irqchip *chip, const struct kvm_irqchip *state)
{
	bool is_known = true;
	lock(chip);
	switch (state->chip_id) {
	case KVM_IRQCHIP_PIC_MASTER:
	case KVM_IRQCHIP_PIC_SLAVE: pic_set(&chip->pic, state->chip_id, &state->chip.pic); break;
	case KVM_IRQCHIP_IOAPIC: ioapic_set(&chip->ioapic, &state->chip.ioapic); break;
	default: is_known = false; break;
	}
	publish_pic(chip);
	unlock(chip);
	return is_known;
}

void irqchip_get_pit(struct irqchip *chip, struct kvm_pit_state2 *ret_state)
{
	lock(chip);
	pit_get(&chip->pit, ret_state);
	unlock(chip);
}

void irqchip_set_pit(struct irqchip *chip, const struct kvm_pit_state2 *state, uint64_t now)
{
	lock(chip);
	pit_set(&chip->pit, state, now);
	publish_pit(chip);
	unlock(chip);
}

unsigned irqchip_get_events(const struct irqchip *chip, unsigned vcpu, uint8_t *ret_sipi_vector)
{
	const struct lapic *lapic = &chip->lapics[vcpu];
	*ret_sipi_vector = (uint8_t)atomic_load(&lapic->sipi_vector);
	return atomic_load(&lapic->events);
}

void irqchip_set_events(struct irqchip *chip, unsigned vcpu, unsigned events, uint8_t sipi_vector)
{
	struct lapic *lapic = &chip->lapics[vcpu];
	atomic_store(&lapic->sipi_vector, sipi_vector);
	atomic_store(&lapic->events, events & (IRQCHIP_INIT | IRQCHIP_SIPI | IRQCHIP_NMI));
	on_wake(chip, vcpu);
}

/* ---- life ---- */

struct irqchip *irqchip_new(unsigned cpus, uint32_t tsc_khz, const struct irqchip_ops *ops,
	void *context)
{
	CHECK(cpus > 0 && cpus <= IRQCHIP_CPUS_MAX && tsc_khz > 0);
	struct irqchip *chip = NEW(irqchip);
	chip->ops = ops;
	chip->context = context;
	chip->lapics = NEW_ARRAY(lapic, cpus);
	chip->bus.lapics = chip->lapics;
	chip->bus.count = cpus;
	chip->bus.wake = on_wake;
	chip->bus.end = on_end;
	chip->bus.context = chip;
	for (unsigned i = 0; i < cpus; i++)
		lapic_init(&chip->lapics[i], &chip->bus, i, tsc_khz);
	atomic_init(&chip->pit_deadline, PIT_NEVER);
	(void)pthread_mutex_init(&chip->lock, NULL);
	ioapic_init(&chip->ioapic, &chip->bus);
	pic_init(&chip->pic);
	pit_init(&chip->pit, tsc_khz);
	return chip;
}

void irqchip_free(struct irqchip *chip)
{
	if (chip == NULL)
		return;
	(void)pthread_mutex_destroy(&chip->lock);
	free(chip->lapics);
	free(chip);
}
