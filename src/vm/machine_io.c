/* machine_io - who answers which port and which address.  What nobody answers reads as all ones and
 * swallows writes, as on a PC.
 *
 * Runs in vCPU threads.  PCI is under the machine's lock; the serial port has its own, so that a
 * log that nobody reads does not hold up the other processors' configuration accesses. */
#include <string.h>

#include "vm/layout.h"
#include "vm/machine_parts.h"
#include "vm/pci/pci.h"
#include "vm/platform/power.h"

static bool access_serial(struct machine *machine, uint16_t port, void *bytes, uint32_t len,
	bool is_write)
{
	uint8_t *byte = bytes;
	if (len != 1)
		return false;
	if (is_write)
		serial_write(machine->serial, port - LAYOUT_SERIAL_PORT, *byte);
	else
		*byte = serial_read(machine->serial, port - LAYOUT_SERIAL_PORT);
	return true;
}

static bool access_power(struct machine *machine, uint16_t port, void *bytes, uint32_t len,
	bool is_write)
{
	uint8_t *byte = bytes;
	if (len != 1 || !power_has_port(port))
		return false;
	if (!is_write) {
		*byte = power_read(port);
		return true;
	}
	switch (power_write(port, *byte)) {
	case POWER_OFF: machine_end(machine, MACHINE_POWER_OFF, 0, NULL, NULL); break;
	case POWER_RESET:
		machine_end(machine, MACHINE_RESET, 125, "the guest has reset itself", NULL);
		break;
	case POWER_NONE: break;
	}
	return true;
}

static bool access_pci(struct machine *machine, uint16_t port, void *bytes, uint32_t len,
	bool is_write)
{
	(void)pthread_mutex_lock(&machine->lock);
	bool is_done = pci_io(machine->bus, port, bytes, len, is_write);
	(void)pthread_mutex_unlock(&machine->lock);
	return is_done;
}

/* The first row that answers counts: 0xcf9 lies inside PCI's ports. */
static const struct {
	uint16_t first, last;
	bool (*access)(struct machine *machine, uint16_t port, void *bytes, uint32_t len,
		bool is_write);
} rows[] = {
	{ 0x0064, 0x0064, access_power },
	{ LAYOUT_SERIAL_PORT, LAYOUT_SERIAL_PORT + 7, access_serial },
	{ LAYOUT_SLEEP_CONTROL_PORT, LAYOUT_RESET_PORT, access_power },
	{ 0x0cf9, 0x0cf9, access_power },
	{ 0x0cf8, 0x0cff, access_pci },
};

static void access_port(void *context, uint16_t port, void *bytes, uint32_t len, bool is_write)
{
	struct machine *machine = context;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (port >= rows[i].first && port <= rows[i].last &&
			rows[i].access(machine, port, bytes, len, is_write))
			return;
	}
	if (!is_write)
		memset(bytes, 0xff, len);
}

static void access_memory(void *context, uint64_t address, void *bytes, uint32_t len, bool is_write)
{
	struct machine *machine = context;
	(void)pthread_mutex_lock(&machine->lock);
	bool is_done = pci_mmio(machine->bus, address, bytes, len, is_write);
	(void)pthread_mutex_unlock(&machine->lock);
	if (!is_done && !is_write)
		memset(bytes, 0xff, len);
}

struct cpu_bus machine_cpu_bus(struct machine *machine)
{
	return (struct cpu_bus){ .io = access_port, .mmio = access_memory, .context = machine };
}
