#include "test.h"

#include <linux/pci_regs.h>

#include "fake_machine.h"

enum { ONES = -1, BAR_BYTES = 8192 };
#define SLOT(slot, index) (PCI_ECAM_BASE + ((uint64_t)(slot) << 15 | (uint64_t)(index) << 12))
#define DEVICE SLOT(1, 0)

/* A BAR that keeps what was asked of it. */
struct registers {
	uint8_t bytes[BAR_BYTES];
	unsigned reads, writes, moves;
	uint64_t address;
};

struct fixture {
	struct machine machine;
	struct pci_function *function;
	struct registers registers;
};

static void registers_read(void *context, uint64_t offset, void *bytes, uint32_t len)
{
	struct registers *registers = context;
	registers->reads++;
	memcpy(bytes, registers->bytes + offset, len);
}

static void registers_write(void *context, uint64_t offset, const void *bytes, uint32_t len)
{
	struct registers *registers = context;
	registers->writes++;
	memcpy(registers->bytes + offset, bytes, len);
}

static void registers_moved(void *context, uint64_t address)
{
	struct registers *registers = context;
	registers->moves++;
	registers->address = address;
}

static const struct pci_bar_ops registers_ops = { registers_read, registers_write,
	registers_moved };
static const struct pci_identity identity = { 0x1af4, 0x1042, 0x1af4, 0x1042, 0x01800001 };

static int make(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	fake_machine_init(&f->machine);
	if (pci_function_new(f->machine.bus, &identity, &f->function, NULL) < 0)
		return -1;
	*state = f;
	return pci_function_add_bar(f->function, 0, BAR_BYTES, &registers_ops, &f->registers, NULL);
}

static int destroy(void **state)
{
	struct fixture *f = *state;
	fake_machine_done(&f->machine);
	free(f);
	return 0;
}

static uint64_t get(struct fixture *f, uint64_t address, uint32_t len)
{
	return fake_machine_read(&f->machine, address, len);
}

static void set(struct fixture *f, uint64_t address, uint64_t value, uint32_t len)
{
	fake_machine_write(&f->machine, address, value, len);
}

static void what_is_not_there_reads_as_ones(void **state)
{
	struct fixture *f = *state;
	uint32_t value = 0;
	assert_false(pci_mmio(f->machine.bus, SLOT(2, 0), &value, 4, false));
	assert_true(value == UINT32_MAX);
	assert_int_equal(get(f, SLOT(1, 1), 2), 0xffff);
	value = 0;
	assert_false(pci_mmio(f->machine.bus, PCI_MMIO32_BASE + 0x100000, &value, 4, false));
	assert_true(value == UINT32_MAX);
	value = 0;
	assert_false(pci_mmio(f->machine.bus, UINT64_MAX - 3, &value, 4, false));
	assert_false(pci_mmio(f->machine.bus, SLOT(2, 0), &value, 4, true));
	assert_false(pci_io(f->machine.bus, 0xcf8, &value, 1, false));
	assert_false(pci_io(f->machine.bus, 0xcf9, &value, 1, true));
	assert_false(pci_io(f->machine.bus, 0xcfe, &value, 4, false));
}

static void the_host_bridge_is_function_zero(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(get(f, SLOT(0, 0) + PCI_CLASS_DEVICE, 2), 0x0600);
	assert_int_equal(get(f, SLOT(0, 0) + PCI_STATUS, 2), 0);
	/* It has no BARs. */
	set(f, SLOT(0, 0) + PCI_BASE_ADDRESS_0, UINT32_MAX, 4);
	assert_int_equal(get(f, SLOT(0, 0) + PCI_BASE_ADDRESS_0, 4), 0);
}

static void ports_and_memory_reach_the_same_bytes(void **state)
{
	struct fixture *f = *state;
	uint32_t address = 0x80000000 | 1 << 11 | PCI_VENDOR_ID, value = 0;
	assert_true(pci_io(f->machine.bus, 0xcf8, &address, 4, true));
	assert_true(pci_io(f->machine.bus, 0xcf8, &value, 4, false));
	assert_int_equal(value, address);
	assert_true(pci_io(f->machine.bus, 0xcfc, &value, 4, false));
	assert_int_equal(value, 0x10421af4);
	assert_int_equal(get(f, DEVICE, 4), 0x10421af4);
	uint16_t half = 0;
	assert_true(pci_io(f->machine.bus, 0xcfe, &half, 2, false));
	assert_int_equal(half, 0x1042);
	address = 0x80000000 | 1 << 11 | PCI_INTERRUPT_LINE;
	uint8_t line = 7;
	assert_true(pci_io(f->machine.bus, 0xcf8, &address, 4, true));
	assert_true(pci_io(f->machine.bus, 0xcfc, &line, 1, true));
	assert_int_equal(get(f, DEVICE + PCI_INTERRUPT_LINE, 1), 7);
	/* Not enabled, or another bus. */
	address = 1 << 11;
	assert_true(pci_io(f->machine.bus, 0xcf8, &address, 4, true));
	assert_false(pci_io(f->machine.bus, 0xcfc, &value, 4, false));
	assert_true(value == UINT32_MAX);
	address = 0x80010000 | 1 << 11;
	assert_true(pci_io(f->machine.bus, 0xcf8, &address, 4, true));
	assert_false(pci_io(f->machine.bus, 0xcfc, &value, 4, false));
}

static void slots_are_filled_before_functions(void **state)
{
	struct fixture *f = *state;
	struct err err = { 0 };
	struct pci_function *function;
	for (unsigned n = 2; n <= 31 * 8; n++) {
		assert_int_equal(get(f, SLOT(1 + (n - 1) % 31, (n - 1) / 31), 2), 0xffff);
		assert_int_equal(pci_function_new(f->machine.bus, &identity, &function, NULL), 0);
		assert_int_equal(get(f, SLOT(1 + (n - 1) % 31, (n - 1) / 31), 2), 0x1af4);
		/* The slot says that it has more than one. */
		assert_int_equal(get(f, DEVICE + PCI_HEADER_TYPE, 1), n > 31 ? 0x80 : 0);
		assert_int_equal(get(f, SLOT(31, 0) + PCI_HEADER_TYPE, 1), n > 61   ? 0x80
									   : n < 31 ? 0xff
										    : 0);
	}
	assert_error(pci_function_new(f->machine.bus, &identity, &function, &err), ERR_LIMIT,
		"at most 248");
}

static void only_what_may_change_changes(void **state)
{
	struct fixture *f = *state;
	uint32_t before[64];
	for (unsigned i = 0; i < 64; i++)
		before[i] = (uint32_t)get(f, DEVICE + i * 4, 4);
	for (unsigned i = 0; i < 64; i++)
		set(f, DEVICE + i * 4, 0x5a5a5a5a, 4);
	for (unsigned i = 0; i < 64; i++) {
		uint32_t may = 0;
		if (i * 4 == PCI_COMMAND)
			may = 0x0406;
		if (i * 4 == PCI_CACHE_LINE_SIZE || i * 4 == PCI_INTERRUPT_LINE)
			may = 0xff;
		if (i * 4 == PCI_BASE_ADDRESS_0)
			may = ~(BAR_BYTES - 1u);
		assert_int_equal(get(f, DEVICE + i * 4, 4),
			(before[i] & ~may) | (0x5a5a5a5a & may));
	}
	/* The extended space is empty; accesses that leave the first are nothing. */
	set(f, DEVICE + 0x100, UINT32_MAX, 4);
	assert_int_equal(get(f, DEVICE + 0x100, 4), 0);
	assert_int_equal(get(f, DEVICE + 0xfe, 4), 0);
}

static void a_bar_tells_its_size_and_moves(void **state)
{
	struct fixture *f = *state;
	uint64_t bar = DEVICE + PCI_BASE_ADDRESS_0;
	uint64_t first = get(f, bar, 4);
	assert_true(first >= PCI_MMIO32_BASE && first % BAR_BYTES == 0);
	assert_int_equal(f->registers.moves, 0);
	assert_int_equal(get(f, first, 4), UINT32_MAX); /* not decoded yet */
	set(f, bar, UINT32_MAX, 4);
	assert_int_equal(get(f, bar, 4), ~(BAR_BYTES - 1u));
	set(f, bar, first, 4);

	set(f, DEVICE + PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	assert_int_equal(f->registers.moves, 1);
	assert_true(f->registers.address == first);
	set(f, first + 16, 0x11223344, 4);
	assert_int_equal(get(f, first + 18, 1), 0x22);
	assert_int_equal(get(f, first + BAR_BYTES - 4, 4), 0);
	/* Across its end is nowhere. */
	assert_int_equal(get(f, first + BAR_BYTES - 4, 8), UINT64_MAX);
	assert_int_equal(f->registers.reads, 2);

	set(f, bar, 0xd0000000, 4);
	assert_true(f->registers.address == 0xd0000000);
	assert_int_equal(get(f, 0xd0000010, 4), 0x11223344);
	assert_int_equal(get(f, first + 16, 4), UINT32_MAX);
	set(f, DEVICE + PCI_COMMAND, 0, 2);
	assert_true(f->registers.address == 0);
	assert_int_equal(get(f, 0xd0000010, 4), UINT32_MAX);
	assert_int_equal(f->registers.moves, 3);
}

static void registers_below_4_gib_run_out(void **state)
{
	struct fixture *f = *state;
	struct err err = { 0 };
	assert_int_equal(pci_function_add_bar(f->function, 1, 1u << 28, &registers_ops,
				 &f->registers, NULL),
		0);
	assert_error(pci_function_add_bar(f->function, 2, 1u << 28, &registers_ops, &f->registers,
			     &err),
		ERR_LIMIT, "below 4 GiB");
}

static void capabilities_are_a_list(void **state)
{
	struct fixture *f = *state;
	struct err err = { 0 };
	assert_int_equal(get(f, DEVICE + PCI_STATUS, 2), 0);
	uint8_t one[7] = { PCI_CAP_ID_VNDR, 0xff, 7, 1, 2, 3, 4 }, other[20] = { PCI_CAP_ID_PM };
	int first = pci_function_add_capability(f->function, one, sizeof(one), NULL);
	int second = pci_function_add_capability(f->function, other, sizeof(other), NULL);
	assert_int_equal(first, 0x40);
	assert_int_equal(second, 0x48);
	assert_int_equal(get(f, DEVICE + PCI_STATUS, 2), PCI_STATUS_CAP_LIST);
	assert_int_equal(get(f, DEVICE + PCI_CAPABILITY_LIST, 1), first);
	assert_int_equal(get(f, DEVICE + first, 2), PCI_CAP_ID_VNDR | second << 8);
	assert_int_equal(get(f, DEVICE + second, 2), PCI_CAP_ID_PM);
	for (unsigned i = 0; i < 8; i++)
		assert_true(pci_function_add_capability(f->function, other, 20, NULL) > 0);
	assert_error(pci_function_add_capability(f->function, other, 20, &err), ERR_LIMIT,
		"no room");
}

static void a_window_reaches_a_bar(void **state)
{
	struct fixture *f = *state;
	const uint8_t bytes[20] = { PCI_CAP_ID_VNDR, 0, 20 };
	int at = pci_function_add_capability(f->function, bytes, sizeof(bytes), NULL);
	pci_function_set_window(f->function, (uint8_t)at);
	uint64_t window = DEVICE + (unsigned)at;
	set(f, window + 8, 64, 4);
	set(f, window + 12, 4, 4);
	set(f, window + 16, 0xcafe1234, 4);
	assert_memory_equal(f->registers.bytes + 64, "\x34\x12\xfe\xca", 4);
	set(f, window + 8, 66, 4);
	set(f, window + 12, 2, 4);
	assert_int_equal(get(f, window + 16, 2), 0xcafe);
	/* Not a length, not aligned, beyond the BAR, not a BAR. */
	static const uint32_t bad[][3] = { { 0, 0, 3 }, { 0, 0, 0 }, { 0, 1, 4 },
		{ 0, BAR_BYTES, 4 }, { 0, UINT32_MAX - 3, 4 }, { 5, 0, 4 }, { 6, 0, 4 },
		{ 255, 0, 4 } };
	unsigned writes = f->registers.writes, reads = f->registers.reads;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		set(f, window + 4, bad[i][0], 1);
		set(f, window + 8, bad[i][1], 4);
		set(f, window + 12, bad[i][2], 4);
		set(f, window + 16, 1, 4);
		(void)get(f, window + 16, 4);
	}
	assert_int_equal(f->registers.writes, writes);
	assert_int_equal(f->registers.reads, reads);
}

/* ---- messages ---- */

enum { VECTORS = 3 };

struct messages {
	uint64_t capability, table, pending;
};

static struct messages add_msix(struct fixture *f)
{
	assert_int_equal(pci_function_add_msix(f->function, 1, VECTORS, NULL), 0);
	set(f, DEVICE + PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	uint64_t capability = DEVICE + get(f, DEVICE + PCI_CAPABILITY_LIST, 1);
	assert_int_equal(get(f, capability, 1), PCI_CAP_ID_MSIX);
	assert_int_equal(get(f, capability + PCI_MSIX_FLAGS, 2), VECTORS - 1);
	uint64_t bar = get(f, DEVICE + PCI_BASE_ADDRESS_1, 4);
	uint32_t table = (uint32_t)get(f, capability + PCI_MSIX_TABLE, 4);
	uint32_t pending = (uint32_t)get(f, capability + PCI_MSIX_PBA, 4);
	assert_int_equal(table & 7, 1);
	assert_int_equal(pending & 7, 1);
	return (struct messages){ capability, bar + (table & ~7u), bar + (pending & ~7u) };
}

static void set_message(struct fixture *f, const struct messages *m, unsigned vector,
	uint64_t address, uint32_t data, bool is_masked)
{
	set(f, m->table + vector * 16, address, 8);
	set(f, m->table + vector * 16 + 8, data, 4);
	set(f, m->table + vector * 16 + 12, is_masked, 4);
}

static void enable(struct fixture *f, const struct messages *m, uint16_t flags)
{
	set(f, m->capability + PCI_MSIX_FLAGS, flags, 2);
}

static void a_message_goes_by_its_route(void **state)
{
	struct fixture *f = *state;
	struct messages m = add_msix(f);
	enable(f, &m, PCI_MSIX_FLAGS_ENABLE);
	set_message(f, &m, 1, UINT64_C(0x1fee00000), 0x41, true);
	/* A route is made at first use. */
	assert_int_equal(f->machine.next_route, 0);
	set_message(f, &m, 1, UINT64_C(0x1fee00000), 0x41, false);
	assert_int_equal(f->machine.next_route, 1);
	assert_true(f->machine.cpu.routes[0].address == UINT64_C(0x1fee00000));
	assert_int_equal(f->machine.cpu.routes[0].data, 0x41);
	pci_msix_send(f->function, 1);
	pci_msix_send(f->function, 1);
	assert_int_equal(fake_machine_messages(&f->machine, 0), 2);
	/* Those that are not there, or have no message yet. */
	pci_msix_send(f->function, VECTORS);
	pci_msix_send(f->function, 0xffff);
	pci_msix_send(f->function, 0);
	assert_int_equal(fake_machine_messages(&f->machine, 0), 0);
	assert_int_equal(get(f, m.table + 16, 4), 0xfee00000);
	assert_int_equal(get(f, m.table + 16 + 8, 8), 0x41);
}

static void a_masked_vector_keeps_its_message(void **state)
{
	struct fixture *f = *state;
	struct messages m = add_msix(f);
	enable(f, &m, PCI_MSIX_FLAGS_ENABLE);
	set_message(f, &m, 2, 0xfee00000, 1, false);
	set(f, m.table + 2 * 16 + 12, 1, 4);
	pci_msix_send(f->function, 2);
	pci_msix_send(f->function, 2);
	assert_int_equal(get(f, m.pending, 8), 4);
	assert_int_equal(fake_machine_messages(&f->machine, 0), 0);
	set(f, m.table + 2 * 16 + 12, 0, 4);
	assert_int_equal(fake_machine_messages(&f->machine, 0), 1);
	assert_int_equal(get(f, m.pending, 8), 0);
	/* The mask of all. */
	enable(f, &m, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	pci_msix_send(f->function, 2);
	assert_int_equal(get(f, m.pending, 4), 4);
	/* Nobody writes pending bits. */
	set(f, m.pending, 0, 8);
	enable(f, &m, PCI_MSIX_FLAGS_ENABLE);
	assert_int_equal(fake_machine_messages(&f->machine, 0), 1);
}

static void nothing_is_sent_or_kept_while_messages_are_off(void **state)
{
	struct fixture *f = *state;
	struct messages m = add_msix(f);
	set_message(f, &m, 0, 0xfee00000, 1, false);
	assert_int_equal(f->machine.next_route, 0);
	pci_msix_send(f->function, 0);
	assert_int_equal(get(f, m.pending, 8), 0);
	enable(f, &m, PCI_MSIX_FLAGS_ENABLE);
	assert_int_equal(fake_machine_messages(&f->machine, 0), 0);
	set(f, m.table + 12, 1, 4);
	pci_msix_send(f->function, 0);
	enable(f, &m, 0);
	assert_int_equal(get(f, m.pending, 8), 0);
}

static void a_changed_message_changes_the_route(void **state)
{
	struct fixture *f = *state;
	struct messages m = add_msix(f);
	enable(f, &m, PCI_MSIX_FLAGS_ENABLE);
	set_message(f, &m, 0, 0xfee00000, 1, false);
	assert_int_equal(f->machine.cpu.routes[0].sets, 1);
	/* The same again is no change; while masked it waits. */
	set_message(f, &m, 0, 0xfee00000, 1, false);
	assert_int_equal(f->machine.cpu.routes[0].sets, 1);
	set(f, m.table + 12, 1, 4);
	set_message(f, &m, 0, 0xfee01000, 2, true);
	assert_int_equal(f->machine.cpu.routes[0].sets, 1);
	set(f, m.table + 12, 0, 4);
	assert_int_equal(f->machine.cpu.routes[0].sets, 2);
	assert_int_equal(f->machine.cpu.routes[0].address, 0xfee01000);
	/* Without a mask at once. */
	set(f, m.table + 8, 3, 4);
	assert_int_equal(f->machine.cpu.routes[0].data, 3);
	assert_int_equal(f->machine.next_route, 1);
}

static void a_route_that_is_refused_is_tried_again(void **state)
{
	struct fixture *f = *state;
	struct messages m = add_msix(f);
	f->machine.cpu.refuses_routes = true;
	enable(f, &m, PCI_MSIX_FLAGS_ENABLE);
	for (uint32_t i = 0; i < 100; i++)
		set_message(f, &m, 0, 0xfee00000, i, false);
	assert_int_equal(f->machine.next_route, 1);
	pci_msix_send(f->function, 0);
	f->machine.cpu.refuses_routes = false;
	set_message(f, &m, 0, 0xfee00000, 7, false);
	assert_int_equal(fake_machine_messages(&f->machine, 0), 1);

	f->machine.routes_end = 1;
	set_message(f, &m, 1, 0xfee00000, 8, false);
	pci_msix_send(f->function, 1);
	assert_int_equal(get(f, m.pending, 8), 2);
}

static void odd_accesses_to_the_table_are_nothing(void **state)
{
	struct fixture *f = *state;
	struct messages m = add_msix(f);
	set_message(f, &m, 0, 0xfee00000, 0x55, true);
	set(f, m.table + 8, 0, 1);
	set(f, m.table + 8, 0, 2);
	set(f, m.table + 4, UINT64_MAX, 8);
	set(f, m.table + VECTORS * 16, UINT64_MAX, 8);
	assert_int_equal(get(f, m.table + 8, 4), 0x55);
	assert_int_equal(get(f, m.table + 8, 2), 0);
	assert_int_equal(get(f, m.table + 4, 8), 0);
	assert_int_equal(get(f, m.table + VECTORS * 16, 4), 0);
	assert_int_equal(get(f, m.pending + 8, 8), 0);
	assert_int_equal(get(f, m.table + 12, 4), 1);
	set(f, m.table + 12, UINT32_MAX, 4);
	assert_int_equal(get(f, m.table + 12, 4), 1);
}

#define IN_FIXTURE(test) cmocka_unit_test_setup_teardown(test, make, destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_FIXTURE(what_is_not_there_reads_as_ones),
		IN_FIXTURE(the_host_bridge_is_function_zero),
		IN_FIXTURE(ports_and_memory_reach_the_same_bytes),
		IN_FIXTURE(slots_are_filled_before_functions),
		IN_FIXTURE(only_what_may_change_changes),
		IN_FIXTURE(a_bar_tells_its_size_and_moves),
		IN_FIXTURE(registers_below_4_gib_run_out),
		IN_FIXTURE(capabilities_are_a_list),
		IN_FIXTURE(a_window_reaches_a_bar),
		IN_FIXTURE(a_message_goes_by_its_route),
		IN_FIXTURE(a_masked_vector_keeps_its_message),
		IN_FIXTURE(nothing_is_sent_or_kept_while_messages_are_off),
		IN_FIXTURE(a_changed_message_changes_the_route),
		IN_FIXTURE(a_route_that_is_refused_is_tried_again),
		IN_FIXTURE(odd_accesses_to_the_table_are_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
