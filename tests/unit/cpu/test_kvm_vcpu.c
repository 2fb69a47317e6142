/* Tiny guests on the real /dev/kvm, in protected mode without paging, which works even where KVM
 * interprets ring 0. */
#include "test.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "cpu/cpu.h"

enum { CODE = 0x1000, COUNTER = 0x2000, MEMORY = 0x4000 };

struct access {
	bool is_port, is_write;
	uint64_t address;
	uint32_t size;
	uint8_t bytes[8];
};

struct guest {
	uint8_t *memory;
	struct cpu_machine *machine;
	struct cpu_vcpu *vcpu;
	struct access last; /* size 0: none */
	uint32_t answer;    /* to reads */
};

/* Notes the access and ends the run. */
static void note(struct guest *guest, bool is_port, uint64_t address, void *bytes, uint32_t size,
	bool is_write)
{
	guest->last = (struct access){ is_port, is_write, address, size, { 0 } };
	if (is_write)
		memcpy(guest->last.bytes, bytes, size);
	else
		memcpy(bytes, &guest->answer, size);
	cpu_vcpu_kick(guest->vcpu);
}

static void on_io(void *context, uint16_t port, void *bytes, uint32_t size, bool is_write)
{
	note(context, true, port, bytes, size, is_write);
}

static void on_mmio(void *context, uint64_t gpa, void *bytes, uint32_t size, bool is_write)
{
	note(context, false, gpa, bytes, size, is_write);
}

static void guest_start(struct guest *guest, const uint8_t *code, size_t len)
{
	struct err err = { 0 };
	int fd;
	const struct cpu_accel *accel;
	assert_int_equal(cpu_accel_find("kvm", &accel, &err), 0);
	*guest = (struct guest){ 0 };
	if (cpu_accel_open(accel, &fd, &err) < 0)
		skip();
	const struct cpu_bus bus = { .io = on_io, .mmio = on_mmio, .context = guest };
	assert_int_equal(cpu_machine_new(accel, fd, 1, &bus, &guest->machine, &err), 0);
	guest->memory =
		mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(guest->memory, MAP_FAILED);
	memcpy(guest->memory + CODE, code, len);
	assert_int_equal(cpu_machine_map(guest->machine,
				 &(struct cpu_memory){ .size = MEMORY,
					 .host = guest->memory,
					 .fd = -1 },
				 &err),
		0);
	assert_int_equal(cpu_vcpu_new(guest->machine, 0, &guest->vcpu, &err), 0);
	const struct cpu_segment flat = { .limit = UINT32_MAX, .selector = 8, .attributes = 0xc9b };
	const struct cpu_segment data = { .limit = UINT32_MAX,
		.selector = 16,
		.attributes = 0xc93 };
	const struct cpu_state start = {
		.rip = CODE,
		.cr0 = 0x11,
		.cs = flat,
		.ds = data,
		.es = data,
		.fs = data,
		.gs = data,
		.ss = data,
		.tr = { .limit = 0x67, .attributes = 0x8b },
	};
	assert_int_equal(cpu_vcpu_set_state(guest->vcpu, &start, &err), 0);
}

static void guest_end(struct guest *guest)
{
	cpu_vcpu_free(guest->vcpu);
	cpu_machine_free(guest->machine);
	(void)munmap(guest->memory, MEMORY);
}

/* What the guest accesses up to the end of this run. */
static struct access next_access(struct guest *guest)
{
	enum cpu_exit e;
	struct err err = { 0 };
	guest->last.size = 0;
	int r = cpu_vcpu_run(guest->vcpu, &e, &err);
	if (r < 0)
		fail_msg("%s", err.message);
	assert_int_equal(e, CPU_EXIT_KICKED);
	return guest->last;
}

static void port_accesses_come_out_and_answers_go_in(void **state)
{
	(void)state;
	/* in $0x10, %al; inc %al; out %al, $0xe0; jmp . */
	static const uint8_t code[] = { 0xe4, 0x10, 0xfe, 0xc0, 0xe6, 0xe0, 0xeb, 0xfe };
	struct guest guest;
	guest_start(&guest, code, sizeof(code));
	guest.answer = 41;
	struct access a = next_access(&guest);
	assert_true(a.is_port && !a.is_write);
	assert_int_equal(a.address, 0x10);
	assert_int_equal(a.size, 1);
	a = next_access(&guest);
	assert_true(a.is_port && a.is_write && a.address == 0xe0);
	assert_int_equal(a.bytes[0], 42);
	guest_end(&guest);
}

static void accesses_to_no_memory_come_out(void **state)
{
	(void)state;
	/* mov $7, %al; mov %al, 0xd0000000; mov 0xd0000004, %eax; out %al, $0xe0 */
	static const uint8_t code[] = { 0xb0, 7, 0xa2, 0, 0, 0, 0xd0, 0xa1, 4, 0, 0, 0xd0, 0xe6,
		0xe0 };
	struct guest guest;
	guest_start(&guest, code, sizeof(code));
	struct access a = next_access(&guest);
	assert_true(!a.is_port && a.is_write && a.size == 1);
	assert_true(a.address == 0xd0000000 && a.bytes[0] == 7);
	guest.answer = 0x63;
	a = next_access(&guest);
	assert_true(!a.is_port && !a.is_write && a.size == 4);
	assert_int_equal(a.address, 0xd0000004);
	a = next_access(&guest);
	assert_true(a.is_port && a.bytes[0] == 0x63);
	guest_end(&guest);
}

static void a_kick_before_the_run_ends_it(void **state)
{
	(void)state;
	static const uint8_t code[] = { 0xeb, 0xfe };
	struct guest guest;
	guest_start(&guest, code, sizeof(code));
	cpu_vcpu_kick(guest.vcpu);
	assert_int_equal(next_access(&guest).size, 0);
	guest_end(&guest);
}

/* Waits until the guest counts. */
static void *kick_when_running(void *context)
{
	const struct guest *guest = context;
	const uint32_t *counter = (const uint32_t *)(const void *)(guest->memory + COUNTER);
	while (__atomic_load_n(counter, __ATOMIC_RELAXED) == 0)
		;
	cpu_vcpu_kick(guest->vcpu);
	return NULL;
}

static void a_kick_ends_a_guest_that_spins(void **state)
{
	(void)state;
	/* 1: incl COUNTER; jmp 1b */
	static const uint8_t code[] = { 0xff, 0x05, 0, 0x20, 0, 0, 0xeb, 0xf8 };
	struct guest guest;
	pthread_t thread;
	guest_start(&guest, code, sizeof(code));
	assert_int_equal(pthread_create(&thread, NULL, kick_when_running, &guest), 0);
	assert_int_equal(next_access(&guest).size, 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	guest_end(&guest);
}

static void a_state_is_read_back_as_it_was_set(void **state)
{
	(void)state;
	static const uint8_t code[] = { 0xf4 };
	struct guest guest;
	struct cpu_state got;
	struct err err = { 0 };
	guest_start(&guest, code, sizeof(code));
	assert_int_equal(cpu_vcpu_get_state(guest.vcpu, &got, &err), 0);
	assert_int_equal(got.rip, CODE);
	assert_int_equal(got.cs.attributes, 0xc9b);
	assert_int_equal(got.ds.selector, 16);
	assert_int_equal(got.ds.limit, UINT32_MAX);
	assert_int_equal(got.ldt.attributes, 0);
	assert_int_equal(got.cr0 & 0x11, 0x11);
	guest_end(&guest);
}

static void routes_outside_the_table_are_refused(void **state)
{
	(void)state;
	static const uint8_t code[] = { 0xf4 };
	struct guest guest;
	struct err err = { 0 };
	guest_start(&guest, code, sizeof(code));
	assert_error(cpu_machine_route_msi(guest.machine, CPU_ROUTES_FIRST - 1, 0, 0, &err),
		ERR_INVALID, "route 23");
	err = (struct err){ 0 };
	assert_error(cpu_machine_route_msi(guest.machine, CPU_ROUTES_MAX, 0, 0, &err), ERR_INVALID,
		"route 1024");
	err = (struct err){ 0 };
	assert_error(cpu_machine_irq_line(guest.machine, 24, true, &err), ERR_INVALID, "pin 24");
	guest_end(&guest);
}

static void messages_are_set_changed_and_attached(void **state)
{
	(void)state;
	static const uint8_t code[] = { 0xf4 };
	struct guest guest;
	struct err err = { 0 };
	guest_start(&guest, code, sizeof(code));
	for (unsigned gsi = CPU_ROUTES_FIRST; gsi < CPU_ROUTES_FIRST + 3; gsi++)
		assert_int_equal(cpu_machine_route_msi(guest.machine, gsi, 0xfee00000, gsi, &err),
			0);
	assert_int_equal(cpu_machine_route_msi(guest.machine, 25, 0xfee01000, 77, &err), 0);
	assert_int_equal(cpu_machine_route_msi(guest.machine, CPU_ROUTES_MAX - 1, 0xfee00000, 3,
				 &err),
		0);
	cpu_machine_interrupt(guest.machine, 25);
	guest_end(&guest);
}

static void an_event_takes_the_place_of_an_exit(void **state)
{
	(void)state;
	/* movl $5, 0xd0000000; out %al, $0xe0 */
	static const uint8_t code[] = { 0xc7, 0x05, 0, 0, 0, 0xd0, 5, 0, 0, 0, 0xe6, 0xe0 };
	struct guest guest;
	struct err err = { 0 };
	guest_start(&guest, code, sizeof(code));
	AUTO_CLOSE int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(cpu_machine_ioeventfd(guest.machine, event, 0xd0000000, 0, false, true,
				 &err),
		0);
	assert_true(next_access(&guest).is_port);
	uint64_t count = 0;
	assert_int_equal(read(event, &count, sizeof(count)), sizeof(count));
	assert_int_equal(count, 1);
	guest_end(&guest);
}

static void too_many_processors_are_refused(void **state)
{
	(void)state;
	struct err err = { 0 };
	struct cpu_machine *machine = NULL;
	int fd;
	if (cpu_accel_open(cpu_accel_at(0), &fd, &err) < 0)
		skip();
	assert_error(cpu_machine_new(cpu_accel_at(0), fd, 255, &(struct cpu_bus){ 0 }, &machine,
			     &err),
		ERR_LIMIT, "255 CPUs");
	assert_null(machine);
}

static void an_accelerator_of_no_known_name_is_refused(void **state)
{
	(void)state;
	struct err err = { 0 };
	const struct cpu_accel *accel = NULL;
	assert_error(cpu_accel_find("hvm", &accel, &err), ERR_INVALID, "\"hvm\"");
	assert_null(accel);
	assert_null(cpu_accel_at(1000));
}

/* Whichever it is here, a refusal has a reason and an acceptance has none. */
static void the_probe_says_why_not(void **state)
{
	(void)state;
	AUTO_DONE(text) why_not = { 0 };
	bool is_usable = cpu_accel_probe(cpu_accel_at(0), &why_not);
	assert_true(is_usable == (why_not.len == 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(port_accesses_come_out_and_answers_go_in),
		cmocka_unit_test(accesses_to_no_memory_come_out),
		cmocka_unit_test(a_kick_before_the_run_ends_it),
		cmocka_unit_test(a_kick_ends_a_guest_that_spins),
		cmocka_unit_test(a_state_is_read_back_as_it_was_set),
		cmocka_unit_test(routes_outside_the_table_are_refused),
		cmocka_unit_test(messages_are_set_changed_and_attached),
		cmocka_unit_test(an_event_takes_the_place_of_an_exit),
		cmocka_unit_test(too_many_processors_are_refused),
		cmocka_unit_test(an_accelerator_of_no_known_name_is_refused),
		cmocka_unit_test(the_probe_says_why_not),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
