/* soft_bus - what is not memory: the interrupt controllers first, then events that take the place
 * of a device's register (ioeventfd), then the machine outside. */
#include <sys/eventfd.h>

#include "cpu/soft/irqchip/irqchip.h"
#include "cpu/soft/soft_clock.h"
#include "cpu/soft/soft_machine.h"

/* A write there is only an event: nothing of it is read. */
static bool is_event(struct soft_machine *machine, uint64_t address, uint32_t size, bool is_pio)
{
	bool is_found = false;
	(void)pthread_mutex_lock(&machine->lock);
	for (unsigned i = 0; i < machine->events && !is_found; i++) {
		const struct soft_event *e = &machine->event[i];
		is_found = e->address == address && e->is_pio == is_pio &&
			   (e->len == 0 || e->len == size);
		/* It fails only when 2^64 events wait. */
		if (is_found)
			(void)eventfd_write(e->fd, 1);
	}
	(void)pthread_mutex_unlock(&machine->lock);
	return is_found;
}

void soft_mmio(struct soft_vcpu *v, uint64_t gpa, void *bytes, uint32_t size, bool is_write)
{
	struct soft_machine *machine = v->machine;
	const struct irqchip_access access = { soft_tsc(v), gpa, bytes, size, is_write };
	if (irqchip_mmio(machine->irqchip, v->index, &access) ||
		(is_write && is_event(machine, gpa, size, false)))
		return;
	machine->base.bus.mmio(machine->base.bus.context, gpa, bytes, size, is_write);
}

void soft_io(struct soft_vcpu *v, uint16_t port, void *bytes, uint32_t size, bool is_write)
{
	struct soft_machine *machine = v->machine;
	const struct irqchip_access access = { soft_tsc(v), port, bytes, size, is_write };
	if (irqchip_io(machine->irqchip, v->index, &access) ||
		(is_write && is_event(machine, port, size, true)))
		return;
	machine->base.bus.io(machine->base.bus.context, port, bytes, size, is_write);
}
