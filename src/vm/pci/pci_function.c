/* pci_function - one function's configuration space (PCI 3.0, 6): a header of type 0, its BARs and
 * its list of capabilities.
 *
 * The guest's writes go through a mask, byte by byte; what they mean is drawn from the bytes after
 * that: where the BARs are now, whether messages are masked, what the window reaches.  A BAR's size
 * is asked in the usual way: it keeps only the address bits that it decodes, whatever is written.
 *
 * Bus mastering can be switched off and is then shown as off, but a device that the driver has not
 * reset goes on. */
#include "vm/pci/pci_function.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

#include "base/mem.h"

enum {
	CAPABILITIES = 0x40, /* the first */
	BAR_ALIGN_MIN = 4096,
	/* The window's part of its capability. */
	WINDOW_BAR = 4,
	WINDOW_OFFSET = 8,
	WINDOW_LENGTH = 12,
	WINDOW_DATA = 16,
	WINDOW_BYTES = 20
};

uint16_t pci_function_get16(const struct pci_function *function, unsigned at)
{
	uint16_t value;
	memcpy(&value, function->config + at, sizeof(value));
	return value;
}

uint32_t pci_function_get32(const struct pci_function *function, unsigned at)
{
	uint32_t value;
	memcpy(&value, function->config + at, sizeof(value));
	return value;
}

void pci_function_set16(struct pci_function *function, unsigned at, uint16_t value)
{
	memcpy(function->config + at, &value, sizeof(value));
}

void pci_function_set32(struct pci_function *function, unsigned at, uint32_t value)
{
	memcpy(function->config + at, &value, sizeof(value));
}

static void allow(struct pci_function *function, unsigned at, uint32_t mask)
{
	memcpy(function->writable + at, &mask, sizeof(mask));
}

void pci_function_init(struct pci_function *function, struct pci_bus *bus,
	const struct pci_identity *identity)
{
	*function = (struct pci_function){ .bus = bus, .capability_end = CAPABILITIES };
	pci_function_set16(function, PCI_VENDOR_ID, identity->vendor);
	pci_function_set16(function, PCI_DEVICE_ID, identity->device);
	pci_function_set32(function, PCI_CLASS_REVISION, identity->class_revision);
	pci_function_set16(function, PCI_SUBSYSTEM_VENDOR_ID, identity->subsystem_vendor);
	pci_function_set16(function, PCI_SUBSYSTEM_ID, identity->subsystem);
	allow(function, PCI_COMMAND,
		PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	function->writable[PCI_CACHE_LINE_SIZE] = 0xff;
	function->writable[PCI_INTERRUPT_LINE] = 0xff;
}

void pci_function_own(struct pci_function *function, void *take_context,
	void (*release)(void *context))
{
	function->owned = take_context;
	function->release = release;
}

void pci_function_done(struct pci_function *function)
{
	if (function->release != NULL)
		function->release(function->owned);
	function->release = NULL;
	pci_msix_free(function->msix);
	function->msix = NULL;
}

int pci_function_add_bar(struct pci_function *function, unsigned bar, uint32_t size,
	const struct pci_bar_ops *ops, void *context, struct err *err)
{
	CHECK(bar < PCI_BARS && function->bars[bar].size == 0);
	CHECK(size >= BAR_ALIGN_MIN && (size & (size - 1)) == 0);
	uint32_t address;
	int r = pci_bus_take_mmio32(function->bus, size, &address, err);
	if (r < 0)
		return r;
	function->bars[bar] = (struct pci_bar){ .size = size, .ops = ops, .context = context };
	unsigned at = PCI_BASE_ADDRESS_0 + bar * 4;
	pci_function_set32(function, at, address);
	allow(function, at, ~(size - 1));
	return 0;
}

int pci_function_add_capability(struct pci_function *function, const void *bytes, uint8_t len,
	struct err *err)
{
	unsigned at = function->capability_end;
	if (at + len > PCI_CONFIG_BYTES)
		return err_set(err, ERR_LIMIT, "no room for a capability of %u bytes", len);
	memcpy(function->config + at, bytes, len);
	function->config[at + PCI_CAP_LIST_NEXT] = 0;
	unsigned link = function->capability_last == 0
				? (unsigned)PCI_CAPABILITY_LIST
				: function->capability_last + (unsigned)PCI_CAP_LIST_NEXT;
	function->config[link] = (uint8_t)at;
	function->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	function->capability_last = (uint8_t)at;
	function->capability_end = (uint16_t)((at + len + 3) & ~3u);
	return (int)at;
}

void pci_function_set_window(struct pci_function *function, uint8_t capability)
{
	CHECK(capability + WINDOW_BYTES <= PCI_CONFIG_BYTES);
	function->window = capability;
	function->writable[capability + WINDOW_BAR] = 0xff;
	memset(function->writable + capability + WINDOW_OFFSET, 0xff, WINDOW_BYTES - WINDOW_OFFSET);
}

void pci_function_access(struct pci_function *function, unsigned bar, uint64_t offset, void *bytes,
	uint32_t len, bool is_write)
{
	if (!is_write)
		memset(bytes, 0xff, len);
	if (bar >= PCI_BARS)
		return;
	const struct pci_bar *b = &function->bars[bar];
	if (offset >= b->size || b->size - offset < len)
		return;
	if (is_write)
		b->ops->write(b->context, offset, bytes, len);
	else
		b->ops->read(b->context, offset, bytes, len);
}

/* The access that the window stands for, between the BAR and the capability's data. */
static void use_window(struct pci_function *function, bool is_write)
{
	unsigned at = function->window;
	uint32_t offset = pci_function_get32(function, at + WINDOW_OFFSET);
	uint32_t len = pci_function_get32(function, at + WINDOW_LENGTH);
	if ((len != 1 && len != 2 && len != 4) || offset % len != 0)
		return;
	pci_function_access(function, function->config[at + WINDOW_BAR], offset,
		function->config + at + WINDOW_DATA, len, is_write);
}

static bool overlaps(unsigned at, uint32_t len, unsigned other, unsigned other_len)
{
	return at < other + other_len && other < at + len;
}

static bool is_window_data(const struct pci_function *function, unsigned at, uint32_t len)
{
	return function->window != 0 && overlaps(at, len, function->window + (unsigned)WINDOW_DATA,
						WINDOW_BYTES - WINDOW_DATA);
}

/* BARs are where the header says, while the memory decoder is on; 0 is nowhere. */
static void place_bars(struct pci_function *function)
{
	bool is_on = (pci_function_get16(function, PCI_COMMAND) & PCI_COMMAND_MEMORY) != 0;
	for (unsigned i = 0; i < PCI_BARS; i++) {
		struct pci_bar *bar = &function->bars[i];
		if (bar->size == 0)
			continue;
		uint64_t address =
			is_on ? pci_function_get32(function, PCI_BASE_ADDRESS_0 + i * 4) : 0;
		if (address == bar->address)
			continue;
		bar->address = address;
		if (bar->ops->moved != NULL)
			bar->ops->moved(bar->context, address);
	}
}

void pci_function_read(struct pci_function *function, unsigned at, void *bytes, uint32_t len)
{
	/* The extended space is there and empty. */
	memset(bytes, 0, len);
	if (at >= PCI_CONFIG_BYTES || len > PCI_CONFIG_BYTES - at)
		return;
	if (is_window_data(function, at, len))
		use_window(function, false);
	memcpy(bytes, function->config + at, len);
}

void pci_function_write(struct pci_function *function, unsigned at, const void *bytes, uint32_t len)
{
	if (at >= PCI_CONFIG_BYTES || len > PCI_CONFIG_BYTES - at)
		return;
	const uint8_t *from = bytes;
	for (uint32_t i = 0; i < len; i++) {
		uint8_t mask = function->writable[at + i];
		uint8_t *byte = &function->config[at + i];
		*byte = (uint8_t)((*byte & ~mask) | (from[i] & mask));
	}
	if (overlaps(at, len, PCI_COMMAND, 2) ||
		overlaps(at, len, PCI_BASE_ADDRESS_0, PCI_BARS * 4))
		place_bars(function);
	if (function->msix != NULL && pci_msix_is_at(function->msix, at, len))
		pci_msix_control(function->msix);
	if (is_window_data(function, at, len))
		use_window(function, true);
}
