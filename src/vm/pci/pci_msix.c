/* pci_msix - message-signalled interrupts (PCI 3.0, 6.8.2): a BAR with the table of messages and
 * the pending bits, and a capability with the enable bit and the mask of the whole function.
 *
 * A message is a route of the accelerator's: sent without a lock and without stopping the guest.
 * The route is taken when the vector is first unmasked, and set again when the message has changed
 * meanwhile, since setting routes is slow and drivers change messages only while they are masked.
 *
 * Two threads meet here.  vCPU threads, under the machine's lock, decide whether a vector is
 * masked; the device thread sends.  Each first writes its own flag and then reads the other's, both
 * in one total order, so that a message sent while the vector is being unmasked is seen by at least
 * one of them, and the exchange of the pending bit lets only one deliver it:
 *
 *   device:  is_pending = 1;  if (!is_masked) take is_pending and signal
 *   vCPU:    is_masked = 0;   take is_pending and signal */
#include <assert.h>
#include <linux/pci_regs.h>
#include <stdatomic.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "cpu/cpu.h"
#include "vm/machine.h"
#include "vm/pci/pci_function.h"

enum {
	BAR_BYTES = 4096,
	TABLE = 0,
	PENDING = 2048,
	ENTRY_BYTES = 16,
	VECTORS_MAX = 64, /* the pending bits are one word */
	/* Words of a table entry. */
	WORD_ADDRESS = 0,
	WORD_ADDRESS_HIGH = 1,
	WORD_DATA = 2,
	WORD_CONTROL = 3
};
static_assert(TABLE + VECTORS_MAX * ENTRY_BYTES <= PENDING,
	"the table ends before the pending bits");

struct vector {
	/* Under the machine's lock. */
	uint32_t entry[4];
	int route;     /* -1: none yet */
	bool is_stale; /* the route's message is not the entry's */
	/* Atomic: written by vCPU threads, read by the device thread; and the other way round. */
	atomic_bool is_masked, is_pending;
};

struct pci_msix {
	struct pci_function *function; /* borrowed */
	unsigned capability;
	unsigned vectors;
	atomic_bool is_enabled;
	struct vector vector[];
};

/* Only of one that is not masked: then it has a route. */
static void signal_vector(const struct pci_msix *msix, const struct vector *vector)
{
	struct machine *machine = pci_bus_machine(msix->function->bus);
	cpu_machine_interrupt(machine_cpu(machine), (unsigned)vector->route);
}

/* Gives the vector a route with its message; one that fails is tried again at the next change. */
static int update_route(struct pci_msix *msix, struct vector *vector, struct err *err)
{
	struct machine *machine = pci_bus_machine(msix->function->bus);
	struct cpu_machine *cpu = machine_cpu(machine);
	if (vector->route < 0)
		vector->route = machine_take_route(machine);
	if (vector->route < 0)
		return err_set(err, ERR_LIMIT, "no interrupt route is left");
	unsigned route = (unsigned)vector->route;
	uint64_t address =
		(uint64_t)vector->entry[WORD_ADDRESS_HIGH] << 32 | vector->entry[WORD_ADDRESS];
	int r = cpu_machine_route_msi(cpu, route, address, vector->entry[WORD_DATA], err);
	if (r == 0)
		vector->is_stale = false;
	return r;
}

static bool is_wanted_masked(const struct pci_msix *msix, const struct vector *vector)
{
	uint16_t control = pci_function_get16(msix->function, msix->capability + PCI_MSIX_FLAGS);
	return (control & PCI_MSIX_FLAGS_ENABLE) == 0 || (control & PCI_MSIX_FLAGS_MASKALL) != 0 ||
	       (vector->entry[WORD_CONTROL] & PCI_MSIX_ENTRY_CTRL_MASKBIT) != 0;
}

/* After any change of what decides it. */
static void settle(struct pci_msix *msix, struct vector *vector)
{
	bool is_masked = is_wanted_masked(msix, vector);
	struct err err = { 0 };
	if (!is_masked && vector->is_stale && update_route(msix, vector, &err) < 0) {
		log_debug("a vector stays masked: %s", err.message);
		is_masked = true;
	}
	atomic_store(&vector->is_masked, is_masked);
	if (!is_masked && atomic_exchange(&vector->is_pending, false))
		signal_vector(msix, vector);
}

void pci_msix_control(struct pci_msix *msix)
{
	uint16_t control = pci_function_get16(msix->function, msix->capability + PCI_MSIX_FLAGS);
	bool is_enabled = (control & PCI_MSIX_FLAGS_ENABLE) != 0;
	atomic_store(&msix->is_enabled, is_enabled);
	for (unsigned i = 0; i < msix->vectors; i++) {
		settle(msix, &msix->vector[i]);
		if (!is_enabled)
			atomic_store(&msix->vector[i].is_pending, false);
	}
}

bool pci_msix_is_at(const struct pci_msix *msix, unsigned at, uint32_t len)
{
	unsigned control = msix->capability + PCI_MSIX_FLAGS;
	return at < control + 2 && control < at + len;
}

void pci_msix_send(struct pci_function *function, unsigned vector)
{
	struct pci_msix *msix = function->msix;
	if (msix == NULL || vector >= msix->vectors)
		return;
	struct vector *v = &msix->vector[vector];
	if (!atomic_load(&v->is_masked)) {
		signal_vector(msix, v);
		return;
	}
	if (!atomic_load(&msix->is_enabled))
		return;
	atomic_store(&v->is_pending, true);
	if (!atomic_load(&v->is_masked) && atomic_exchange(&v->is_pending, false))
		signal_vector(msix, v);
}

static uint64_t pending_bits(const struct pci_msix *msix)
{
	uint64_t bits = 0;
	for (unsigned i = 0; i < msix->vectors; i++)
		bits |= (uint64_t)atomic_load(&msix->vector[i].is_pending) << i;
	return bits;
}

/* Words and aligned pairs of them are all that the specification allows (6.8.2). */
static bool is_regular(uint64_t offset, uint32_t len)
{
	return (len == 4 || len == 8) && offset % len == 0;
}

static void bar_read(void *context, uint64_t offset, void *bytes, uint32_t len)
{
	const struct pci_msix *msix = context;
	memset(bytes, 0, len);
	if (!is_regular(offset, len))
		return;
	uint64_t bits = pending_bits(msix);
	if (offset + len <= (uint64_t)msix->vectors * ENTRY_BYTES)
		memcpy(bytes, &msix->vector[offset / ENTRY_BYTES].entry[offset % ENTRY_BYTES / 4],
			len);
	else if (offset >= PENDING && offset + len <= PENDING + sizeof(bits))
		memcpy(bytes, (const uint8_t *)&bits + (offset - PENDING), len);
}

static void bar_write(void *context, uint64_t offset, const void *bytes, uint32_t len)
{
	struct pci_msix *msix = context;
	if (!is_regular(offset, len) || offset + len > (uint64_t)msix->vectors * ENTRY_BYTES)
		return;
	struct vector *vector = &msix->vector[offset / ENTRY_BYTES];
	uint32_t before[3];
	memcpy(before, vector->entry, sizeof(before));
	memcpy(&vector->entry[offset % ENTRY_BYTES / 4], bytes, len);
	if (memcmp(before, vector->entry, sizeof(before)) != 0)
		vector->is_stale = true;
	vector->entry[WORD_CONTROL] &= PCI_MSIX_ENTRY_CTRL_MASKBIT;
	settle(msix, vector);
}

static const struct pci_bar_ops bar_ops = { .read = bar_read, .write = bar_write };

void pci_msix_free(struct pci_msix *msix)
{
	free(msix);
}

static struct pci_msix *msix_new(struct pci_function *function, unsigned vectors)
{
	struct pci_msix *msix = mem_new(1, sizeof(*msix) + vectors * sizeof(msix->vector[0]));
	msix->function = function;
	msix->vectors = vectors;
	for (unsigned i = 0; i < vectors; i++) {
		struct vector *vector = &msix->vector[i];
		vector->route = -1;
		vector->is_stale = true;
		vector->entry[WORD_CONTROL] = PCI_MSIX_ENTRY_CTRL_MASKBIT;
		atomic_store(&vector->is_masked, true);
	}
	return msix;
}

int pci_function_add_msix(struct pci_function *function, unsigned bar, unsigned vectors,
	struct err *err)
{
	CHECK(vectors > 0 && vectors <= VECTORS_MAX && function->msix == NULL);
	/* From here on it goes with its function. */
	struct pci_msix *msix = function->msix = msix_new(function, vectors);
	int r = pci_function_add_bar(function, bar, BAR_BYTES, &bar_ops, msix, err);
	if (r < 0)
		return r;
	const uint8_t capability[PCI_CAP_MSIX_SIZEOF] = {
		[0] = PCI_CAP_ID_MSIX,
		[PCI_MSIX_FLAGS] = (uint8_t)(vectors - 1),
		[PCI_MSIX_TABLE] = (uint8_t)(TABLE | bar),
		[PCI_MSIX_PBA] = (uint8_t)(PENDING & 0xff) | (uint8_t)bar,
		[PCI_MSIX_PBA + 1] = PENDING >> 8,
	};
	r = pci_function_add_capability(function, capability, sizeof(capability), err);
	if (r < 0)
		return r;
	msix->capability = (unsigned)r;
	function->writable[r + PCI_MSIX_FLAGS + 1] =
		(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >> 8;
	return 0;
}
