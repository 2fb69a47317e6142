/* pci - the PCI bus: configuration space (ECAM and the ports 0xcf8/0xcfc), BARs, MSI-X.
 *
 * One host bridge at 00:00.0 and one function for each device behind it.  Memory BARs are assigned
 * here before the guest runs, from the window below 4 GiB, and may be moved by the guest. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

struct machine;
struct pci_bus;
struct pci_function;

/* Guest-physical layout below 4 GiB (docs/vm.md). */
#define PCI_MMIO32_BASE UINT64_C(0xc0000000)
#define PCI_MMIO32_SIZE UINT64_C(0x20000000)
#define PCI_ECAM_BASE UINT64_C(0xe0000000)
#define PCI_ECAM_SIZE UINT64_C(0x00100000)     /* one bus */
#define PCI_MMIO64_SIZE UINT64_C(0x1000000000) /* at the top of RAM and windows, see machine.c */

struct pci_bar_ops {
	void (*read)(void *context, uint64_t offset, void *bytes, uint32_t len);
	void (*write)(void *context, uint64_t offset, const void *bytes, uint32_t len);
	/* The guest has moved (or switched on or off: 0) the BAR. */
	void (*moved)(void *context, uint64_t address);
};

MUST_CHECK int pci_bus_new(struct machine *machine, struct pci_bus **ret_bus, struct err *err);
void pci_bus_free(struct pci_bus *bus);
DEFINE_AUTO(pci_bus)

struct pci_identity {
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint32_t class_revision;
};
/* A new function: slots 1 .. 31 first, then the functions 1 .. 7 of these slots; ERR_LIMIT when all
 * are taken.  Owned by the bus. */
MUST_CHECK int pci_function_new(struct pci_bus *bus, const struct pci_identity *identity,
	struct pci_function **ret_function, struct err *err);
/* What is behind the function goes with it: release(context), before the function's BARs. */
void pci_function_own(struct pci_function *function, void *take_context,
	void (*release)(void *context));
/* A 32-bit memory BAR of a power-of-two size of at least 4096 bytes. */
MUST_CHECK int pci_function_add_bar(struct pci_function *function, unsigned bar, uint32_t size,
	const struct pci_bar_ops *ops, void *context, struct err *err);
/* A vendor-specific or other capability; bytes[0] is its id, bytes[1] (next) is filled in.  Returns
 * its offset in configuration space. */
MUST_CHECK int pci_function_add_capability(struct pci_function *function, const void *bytes,
	uint8_t len, struct err *err);
/* A capability whose bytes 4 (BAR), 8 .. 11 (offset) and 12 .. 15 (length) the guest sets, to reach
 * that part of the BAR through its bytes 16 .. 19 (virtio 1.2, 4.1.4.9). */
void pci_function_set_window(struct pci_function *function, uint8_t capability);
/* MSI-X with table and pending bits in a BAR of its own. */
MUST_CHECK int pci_function_add_msix(struct pci_function *function, unsigned bar, unsigned vectors,
	struct err *err);
/* Sends the message of a vector (or keeps it pending while masked); from the device thread, no
 * lock: an eventfd. */
void pci_msix_send(struct pci_function *function, unsigned vector);

/* An access of the guest; false when nothing is there (reads give all ones).  Under the machine's
 * lock. */
bool pci_mmio(struct pci_bus *bus, uint64_t address, void *bytes, uint32_t len, bool is_write);
bool pci_io(struct pci_bus *bus, uint16_t port, void *bytes, uint32_t len, bool is_write);
