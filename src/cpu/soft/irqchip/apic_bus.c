/* apic_bus - see apic_bus.h.
 *
 * What an APIC answers to (mode, id, logical id) is read while its own thread may be changing it;
 * a message that crosses such a change goes either way, as on a real bus.
 *
 * Among several that could take a lowest-priority message the one with the lowest processor
 * priority gets it, and equals take turns. */
#include "cpu/soft/irqchip/apic_bus.h"

#include <stddef.h>

#include "cpu/soft/irqchip/lapic.h"

#define MSI_WINDOW 0xfee00000u
#define MSI_WINDOW_MASK 0xfff00000u
#define MSI_LOGICAL (1u << 2)
#define MSI_HINT (1u << 3)
#define MSI_LEVEL (1u << 15)
#define MSI_ASSERT (1u << 14)

uint32_t apic_bus_destination8(uint32_t destination)
{
	return (destination & 0xff) == 0xff ? APIC_BROADCAST : destination & 0xff;
}

/* 11.6.2.2, and 11.12.10.2 for the ids of x2APIC. */
static bool is_logical_match(const struct lapic *lapic, uint32_t destination)
{
	uint32_t id = lapic_logical_id(lapic);
	if (lapic_is_x2apic(lapic))
		return id >> 16 == destination >> 16 && (id & destination & 0xffff) != 0;
	if (destination > 0xff)
		return false;
	if (lapic_is_flat(lapic))
		return (id & destination) != 0;
	return id >> 4 == destination >> 4 && (id & destination & 0xf) != 0;
}

static bool is_addressed(const struct lapic *lapic, const struct lapic *sender,
	const struct apic_message *m)
{
	if (!lapic_is_on(lapic))
		return false;
	switch (m->who) {
	case APIC_SELF: return lapic == sender;
	case APIC_ALL: return true;
	case APIC_OTHERS: return lapic != sender;
	case APIC_DESTINATION: break;
	}
	if (m->destination == APIC_BROADCAST)
		return true;
	return m->is_logical ? is_logical_match(lapic, m->destination)
			     : lapic->id == m->destination;
}

/* The APICs to look at: all, but for the two kinds of message that name one by its index. */
static struct lapic *first_of(const struct apic_bus *bus, const struct lapic *sender,
	const struct apic_message *m, unsigned *ret_count)
{
	bool is_named =
		m->who == APIC_DESTINATION && !m->is_logical && m->destination != APIC_BROADCAST;
	*ret_count = m->who == APIC_SELF || is_named ? 1 : bus->count;
	if (m->who == APIC_SELF)
		return &bus->lapics[sender->id];
	if (!is_named)
		return bus->lapics;
	if (m->destination >= bus->count)
		*ret_count = 0;
	return &bus->lapics[*ret_count == 0 ? 0 : m->destination];
}

static struct lapic *least_busy(struct apic_bus *bus, const struct lapic *sender,
	const struct apic_message *m)
{
	struct lapic *best = NULL;
	unsigned count, turn = atomic_fetch_add(&bus->turn, 1);
	struct lapic *first = first_of(bus, sender, m, &count);
	for (unsigned i = 0; i < count; i++) {
		struct lapic *lapic = &first[(turn + i) % count];
		if (!is_addressed(lapic, sender, m) || !lapic_is_enabled(lapic))
			continue;
		if (best == NULL || lapic_priority(lapic) >> 4 < lapic_priority(best) >> 4)
			best = lapic;
	}
	return best;
}

bool apic_bus_send(struct apic_bus *bus, const struct lapic *sender, const struct apic_message *m)
{
	if (m->mode == APIC_LOWEST || (m->is_hinted && m->mode == APIC_FIXED)) {
		struct lapic *lapic = least_busy(bus, sender, m);
		return lapic != NULL && lapic_accept(lapic, m);
	}
	bool is_taken = false;
	unsigned count;
	struct lapic *first = first_of(bus, sender, m, &count);
	for (unsigned i = 0; i < count; i++) {
		if (is_addressed(&first[i], sender, m))
			is_taken |= lapic_accept(&first[i], m);
	}
	return is_taken;
}

bool apic_bus_send_msi(struct apic_bus *bus, uint64_t address, uint32_t data)
{
	if (address >> 32 != 0 || (address & MSI_WINDOW_MASK) != MSI_WINDOW)
		return false;
	bool is_level = (data & MSI_LEVEL) != 0;
	if (is_level && (data & MSI_ASSERT) == 0)
		return false;
	const struct apic_message m = {
		.mode = (enum apic_mode)((data >> 8) & 7),
		.vector = (uint8_t)data,
		.is_logical = (address & MSI_LOGICAL) != 0,
		.is_hinted = (address & MSI_HINT) != 0,
		.is_level = is_level,
		.destination = apic_bus_destination8((uint32_t)(address >> 12)),
	};
	return apic_bus_send(bus, NULL, &m);
}
