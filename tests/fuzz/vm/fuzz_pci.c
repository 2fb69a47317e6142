/* fuzz_pci - random accesses of a guest to configuration spaces, BARs and message tables, held
 * against what must be so after each of them: identities and capability lists stay, BARs keep to
 * their sizes, an access of a BAR is inside it, both ways into configuration space show the same
 * bytes.
 *
 * The input is a list of 12-byte accesses. */
#include <linux/pci_regs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/fake_machine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUNCTIONS = 34, BAR_BYTES = 4096, VECTORS = 3, STEPS_MAX = 512 };

struct bar {
	uint8_t bytes[BAR_BYTES];
	uint64_t address;
};

struct step {
	uint8_t kind, where;
	uint16_t at;
	uint64_t value;
} __attribute__((packed));

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

static void bar_read(void *context, uint64_t offset, void *bytes, uint32_t len)
{
	const struct bar *bar = context;
	must(offset <= BAR_BYTES && len <= BAR_BYTES - offset, "a read leaves its BAR");
	memcpy(bytes, bar->bytes + offset, len);
}

static void bar_write(void *context, uint64_t offset, const void *bytes, uint32_t len)
{
	struct bar *bar = context;
	must(offset <= BAR_BYTES && len <= BAR_BYTES - offset, "a write leaves its BAR");
	memcpy(bar->bytes + offset, bytes, len);
}

static void bar_moved(void *context, uint64_t address)
{
	struct bar *bar = context;
	must(address % BAR_BYTES == 0, "a BAR is not aligned");
	must(address != bar->address, "a BAR moved to where it was");
	bar->address = address;
}

static const struct pci_bar_ops bar_ops = { bar_read, bar_write, bar_moved };

static void make(struct machine *machine, struct bar *bars, struct pci_function **functions)
{
	static const struct pci_identity identity = { 1, 2, 3, 4, 0x05800001 };
	static const uint8_t window[20] = { PCI_CAP_ID_VNDR, 0, 20 };
	for (unsigned i = 0; i < FUNCTIONS; i++) {
		must(pci_function_new(machine->bus, &identity, &functions[i], NULL) == 0 &&
				pci_function_add_bar(functions[i], 0, BAR_BYTES, &bar_ops, &bars[i],
					NULL) == 0,
			"no room for a function");
		if (i % 16 != 0)
			continue;
		int at = pci_function_add_capability(functions[i], window, sizeof(window), NULL);
		must(at > 0 && pci_function_add_msix(functions[i], 1, VECTORS, NULL) == 0,
			"no room for capabilities");
		pci_function_set_window(functions[i], (uint8_t)at);
	}
}

static uint64_t config_address(unsigned function, unsigned at)
{
	return PCI_ECAM_BASE + (((uint64_t)(1 + function % 31) << 3 | function / 31) << 12) + at;
}

static void check(struct machine *machine, const struct bar *bars, unsigned function)
{
	uint64_t base = config_address(function, 0);
	must(fake_machine_read(machine, base, 4) == 0x00020001, "an identity changed");
	must(fake_machine_read(machine, base + PCI_CLASS_REVISION, 4) == 0x05800001,
		"a class changed");
	uint64_t bar = fake_machine_read(machine, base + PCI_BASE_ADDRESS_0, 4);
	must(bar % BAR_BYTES == 0, "a BAR is smaller than it is");
	bool is_on = (fake_machine_read(machine, base + PCI_COMMAND, 2) & PCI_COMMAND_MEMORY) != 0;
	must(bars[function].address == (is_on ? bar : 0), "a BAR is elsewhere");
	unsigned len = 0;
	for (uint64_t at = fake_machine_read(machine, base + PCI_CAPABILITY_LIST, 1); at != 0;
		len++)
		at = fake_machine_read(machine, base + at + PCI_CAP_LIST_NEXT, 1);
	must(len == (function % 16 == 0 ? 2 : 0), "a capability is lost");

	uint32_t address = (uint32_t)(0x80000000 | (base - PCI_ECAM_BASE) >> 4), value = 0;
	address = (address & ~0xfcu) | PCI_COMMAND;
	must(pci_io(machine->bus, 0xcf8, &address, 4, true) &&
			pci_io(machine->bus, 0xcfc, &value, 4, false) &&
			value == fake_machine_read(machine, base + PCI_COMMAND, 4),
		"two ways, two answers");
}

static void run(struct machine *machine, struct bar *bars, struct pci_function **functions,
	const struct step *step)
{
	static const uint32_t lens[] = { 1, 2, 4, 8 };
	unsigned function = step->where % FUNCTIONS;
	uint32_t len = lens[step->kind >> 3 & 3];
	uint64_t base = config_address(function, 0), value = step->value;
	bool is_write = (step->kind & 0x80) != 0;
	switch (step->kind & 7) {
	case 0:
	case 1: (void)pci_mmio(machine->bus, base + step->at % 0x110, &value, len, is_write); break;
	case 2: (void)pci_mmio(machine->bus, step->value, &value, len, is_write); break;
	case 3:
		if (len <= 4)
			(void)pci_io(machine->bus, (uint16_t)(0xcf8 + step->at % 8), &value, len,
				is_write);
		break;
	case 4: pci_msix_send(functions[function], step->at % (VECTORS + 2)); break;
	default: /* a BAR, wherever it is now; its messages, more often than not */
		base = fake_machine_read(machine,
			base + ((step->kind & 1) != 0 ? PCI_BASE_ADDRESS_1 : PCI_BASE_ADDRESS_0),
			4);
		(void)pci_mmio(machine->bus, base + step->at % (BAR_BYTES + 16), &value, len,
			is_write);
		break;
	}
	check(machine, bars, function);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct machine machine;
	struct pci_function *functions[FUNCTIONS];
	struct bar *bars = mem_new(FUNCTIONS, sizeof(*bars));
	fake_machine_init(&machine);
	make(&machine, bars, functions);
	for (size_t i = 0; i < STEPS_MAX && (i + 1) * sizeof(struct step) <= size; i++) {
		struct step step;
		memcpy(&step, data + i * sizeof(step), sizeof(step));
		run(&machine, bars, functions, &step);
	}
	fake_machine_done(&machine);
	free(bars);
	return 0;
}
