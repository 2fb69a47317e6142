/* pci_bus - one bus without bridges: the host bridge at 00:00.0 and the functions behind it, found
 * by ECAM (PCI Express 6.0, 7.2.2) and by the ports 0xcf8 and 0xcfc (PCI 3.0, 3.2.2.3.2), which
 * reach the same 256 bytes.
 *
 * Functions fill slots 1 .. 31 first and are then added to these slots as functions 1 .. 7, so that
 * an image of many layers has room for a device each.  What is not there reads as all ones. */
#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

#include "base/mem.h"
#include "vm/pci/pci_function.h"

enum { SLOTS = 32, FUNCTIONS = 8, PORT_ADDRESS = 0xcf8, PORT_DATA = 0xcfc, MULTIFUNCTION = 0x80 };
#define ADDRESS_ENABLE (UINT32_C(1) << 31)

struct pci_bus {
	struct machine *machine;                           /* borrowed */
	struct pci_function *functions[SLOTS * FUNCTIONS]; /* owned; by slot << 3 | function */
	unsigned devices;                                  /* functions behind the host bridge */
	uint64_t mmio32;                                   /* the next free address */
	uint32_t port_address;                             /* what the guest wrote to 0xcf8 */
};

/* The vendor and device by which Linux and others know a host bridge without registers. */
static const struct pci_identity host_bridge = {
	.vendor = 0x1b36,
	.device = 0x0008,
	.class_revision = 0x06000000,
};

static struct pci_function *add(struct pci_bus *bus, unsigned slot, unsigned index,
	const struct pci_identity *identity)
{
	struct pci_function *function = NEW(pci_function);
	pci_function_init(function, bus, identity);
	size_t first = (size_t)slot * FUNCTIONS;
	bus->functions[first + index] = function;
	if (index > 0)
		bus->functions[first]->config[PCI_HEADER_TYPE] |= MULTIFUNCTION;
	return function;
}

int pci_bus_new(struct machine *machine, struct pci_bus **ret_bus, struct err *err)
{
	(void)err;
	struct pci_bus *bus = NEW(pci_bus);
	bus->machine = machine;
	bus->mmio32 = PCI_MMIO32_BASE;
	(void)add(bus, 0, 0, &host_bridge);
	*ret_bus = bus;
	return 0;
}

void pci_bus_free(struct pci_bus *bus)
{
	if (bus == NULL)
		return;
	for (unsigned i = 0; i < ARRAY_LEN(bus->functions); i++) {
		if (bus->functions[i] != NULL)
			pci_function_done(bus->functions[i]);
		free(bus->functions[i]);
	}
	free(bus);
}

int pci_function_new(struct pci_bus *bus, const struct pci_identity *identity,
	struct pci_function **ret_function, struct err *err)
{
	unsigned slot = 1 + bus->devices % (SLOTS - 1), index = bus->devices / (SLOTS - 1);
	if (index >= FUNCTIONS)
		return err_set(err, ERR_LIMIT, "a machine has at most %d devices",
			(SLOTS - 1) * FUNCTIONS);
	bus->devices++;
	*ret_function = add(bus, slot, index, identity);
	return 0;
}

struct machine *pci_bus_machine(const struct pci_bus *bus)
{
	return bus->machine;
}

int pci_bus_take_mmio32(struct pci_bus *bus, uint32_t size, uint32_t *ret_address, struct err *err)
{
	uint64_t start = (bus->mmio32 + size - 1) & ~((uint64_t)size - 1);
	if (start + size > PCI_MMIO32_BASE + PCI_MMIO32_SIZE)
		return err_set(err, ERR_LIMIT,
			"no room for %ju more bytes of device registers below 4 GiB",
			(uintmax_t)size);
	bus->mmio32 = start + size;
	*ret_address = (uint32_t)start;
	return 0;
}

static bool config_access(struct pci_bus *bus, unsigned where, unsigned at, void *bytes,
	uint32_t len, bool is_write)
{
	struct pci_function *function =
		where < ARRAY_LEN(bus->functions) ? bus->functions[where] : NULL;
	if (function == NULL) {
		if (!is_write)
			memset(bytes, 0xff, len);
		return false;
	}
	if (is_write)
		pci_function_write(function, at, bytes, len);
	else
		pci_function_read(function, at, bytes, len);
	return true;
}

static bool find_bar(struct pci_bus *bus, uint64_t address, uint32_t len,
	struct pci_function **ret_function, unsigned *ret_bar)
{
	for (unsigned i = 0; i < ARRAY_LEN(bus->functions); i++) {
		struct pci_function *function = bus->functions[i];
		for (unsigned bar = 0; function != NULL && bar < PCI_BARS; bar++) {
			const struct pci_bar *b = &function->bars[bar];
			if (b->address == 0 || address < b->address ||
				address - b->address >= b->size ||
				b->size - (address - b->address) < len)
				continue;
			*ret_function = function;
			*ret_bar = bar;
			return true;
		}
	}
	return false;
}

bool pci_mmio(struct pci_bus *bus, uint64_t address, void *bytes, uint32_t len, bool is_write)
{
	if (address >= PCI_ECAM_BASE && address - PCI_ECAM_BASE < PCI_ECAM_SIZE) {
		uint64_t offset = address - PCI_ECAM_BASE;
		return config_access(bus, (unsigned)(offset >> 12), offset & 0xfff, bytes, len,
			is_write);
	}
	struct pci_function *function;
	unsigned bar;
	if (!find_bar(bus, address, len, &function, &bar)) {
		if (!is_write)
			memset(bytes, 0xff, len);
		return false;
	}
	pci_function_access(function, bar, address - function->bars[bar].address, bytes, len,
		is_write);
	return true;
}

static bool port_data(struct pci_bus *bus, unsigned byte, void *bytes, uint32_t len, bool is_write)
{
	uint32_t address = bus->port_address;
	/* Only bus 0 is there; the bits of the register above its 256 bytes are reserved. */
	bool is_here = (address & ADDRESS_ENABLE) != 0 && (address >> 16 & 0xff) == 0;
	unsigned where = is_here ? address >> 8 & 0xff : SLOTS * FUNCTIONS;
	return config_access(bus, where, (address & 0xfc) + byte, bytes, len, is_write);
}

bool pci_io(struct pci_bus *bus, uint16_t port, void *bytes, uint32_t len, bool is_write)
{
	if (port >= PORT_DATA && port < PORT_DATA + 4 && len <= PORT_DATA + 4u - port)
		return port_data(bus, port - PORT_DATA, bytes, len, is_write);
	/* Only whole: 0xcf9 is the reset register of others. */
	if (port == PORT_ADDRESS && len == sizeof(bus->port_address)) {
		if (is_write)
			memcpy(&bus->port_address, bytes, len);
		else
			memcpy(bytes, &bus->port_address, len);
		return true;
	}
	if (!is_write)
		memset(bytes, 0xff, len);
	return false;
}
