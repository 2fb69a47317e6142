/* pci_function - what the parts of the bus (pci.h) know of one function.  All of it is guarded by
 * the machine's lock once the guest runs. */
#pragma once

#include "vm/pci/pci.h"

#define PCI_CONFIG_BYTES 256 /* no extended capabilities: they would need a PCI Express one */
#define PCI_BARS 6

struct pci_msix;

struct pci_bar {
	uint32_t size;    /* 0: there is none */
	uint64_t address; /* where it is now; 0: nowhere */
	const struct pci_bar_ops *ops;
	void *context; /* borrowed */
};

struct pci_function {
	struct pci_bus *bus; /* borrowed */
	uint8_t config[PCI_CONFIG_BYTES];
	uint8_t writable[PCI_CONFIG_BYTES]; /* bits that the guest may change */
	uint8_t capability_last;            /* offset of the newest, 0: none */
	uint16_t capability_end;            /* where the next one goes */
	uint8_t window;                     /* capability that is a window into a BAR, 0: none */
	struct pci_bar bars[PCI_BARS];
	struct pci_msix *msix;          /* owned, NULL: none */
	void *owned;                    /* what is behind it */
	void (*release)(void *context); /* of it; NULL: nothing is */
};

uint16_t pci_function_get16(const struct pci_function *function, unsigned at);
uint32_t pci_function_get32(const struct pci_function *function, unsigned at);
void pci_function_set16(struct pci_function *function, unsigned at, uint16_t value);
void pci_function_set32(struct pci_function *function, unsigned at, uint32_t value);
void pci_function_init(struct pci_function *function, struct pci_bus *bus,
	const struct pci_identity *identity);
void pci_function_done(struct pci_function *function);
/* Configuration space of one function, as the guest reads and writes it. */
void pci_function_read(struct pci_function *function, unsigned at, void *bytes, uint32_t len);
void pci_function_write(struct pci_function *function, unsigned at, const void *bytes,
	uint32_t len);
/* An access inside one BAR; all ones when there is no such BAR or it is shorter. */
void pci_function_access(struct pci_function *function, unsigned bar, uint64_t offset, void *bytes,
	uint32_t len, bool is_write);

struct machine *pci_bus_machine(const struct pci_bus *bus);
/* Guest addresses of this size (a power of two), aligned to it, in the window below 4 GiB. */
MUST_CHECK int pci_bus_take_mmio32(struct pci_bus *bus, uint32_t size, uint32_t *ret_address,
	struct err *err);

/* The control word of the capability has changed. */
void pci_msix_control(struct pci_msix *msix);
/* Whether the capability's control word is among these bytes of configuration space. */
bool pci_msix_is_at(const struct pci_msix *msix, unsigned at, uint32_t len);
void pci_msix_free(struct pci_msix *msix);
