/* pci_none - no bus: stands in for pci.c and device.c until they are there. */
#include "vm/device.h"
#include "vm/pci.h"

int pci_bus_new(struct machine *machine, struct pci_bus **ret_bus, struct err *err)
{
	(void)machine;
	(void)ret_bus;
	(void)err;
	return 0;
}

void pci_bus_free(struct pci_bus *bus)
{
	(void)bus;
}

bool pci_mmio(struct pci_bus *bus, uint64_t address, void *bytes, uint32_t len, bool is_write)
{
	(void)bus;
	(void)address;
	(void)bytes;
	(void)len;
	(void)is_write;
	return false;
}

bool pci_io(struct pci_bus *bus, uint16_t port, void *bytes, uint32_t len, bool is_write)
{
	(void)bus;
	(void)port;
	(void)bytes;
	(void)len;
	(void)is_write;
	return false;
}

int device_add(json *config, struct machine *machine, struct err *err)
{
	(void)config;
	(void)machine;
	return err_set(err, ERR_UNSUPPORTED, "there are no devices");
}
