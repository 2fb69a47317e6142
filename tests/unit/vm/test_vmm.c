/* The role as a whole, with kernels of a few bytes: an ELF with a PVH note starts in protected mode
 * without paging, which runs even where KVM interprets ring 0.  Each test is a child process that
 * becomes the role. */
#include "test.h"

#include <elf.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "vm/vm.h"

enum { BASE = 16 << 20, CONFIG_FD = 3, KERNEL_FD = 10, SERIAL_FD = 11 };

struct kernel {
	Elf64_Ehdr e;
	Elf64_Phdr segments[2];
	struct {
		Elf64_Nhdr head;
		char name[4];
		uint32_t entry;
	} note;
	uint8_t code[256];
};

static int kernel_of(const uint8_t *code, size_t len)
{
	struct kernel k = {
		.e = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB },
			.e_machine = EM_X86_64,
			.e_phoff = offsetof(struct kernel, segments),
			.e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = 2 },
		.segments = { { .p_type = PT_LOAD,
				      .p_offset = offsetof(struct kernel, code),
				      .p_paddr = BASE,
				      .p_filesz = sizeof(k.code),
				      .p_memsz = 65536 },
			{ .p_type = PT_NOTE,
				.p_offset = offsetof(struct kernel, note),
				.p_filesz = sizeof(k.note) } },
		.note = { .head = { 4, 4, 18 }, .name = "Xen", .entry = BASE },
	};
	assert_true(len <= sizeof(k.code));
	memcpy(k.code, code, len);
	int fd = memfd_create("kernel", MFD_CLOEXEC);
	assert_int_equal(fd_pwrite_all(fd, &k, sizeof(k), 0), 0);
	return fd;
}

struct role {
	pid_t pid;
	int out; /* what the serial port and stderr say */
};

static void start(struct role *role, const char *config, const uint8_t *code, size_t len)
{
	int pipe_fds[2];
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	AUTO_CLOSE int kernel = kernel_of(code, len);
	AUTO_CLOSE int document = memfd_create("config", MFD_CLOEXEC);
	assert_int_equal(fd_write_all(document, config, strlen(config)), 0);
	assert_int_equal(lseek(document, 0, SEEK_SET), 0);
	role->pid = fork();
	assert_true(role->pid >= 0);
	if (role->pid == 0) {
		char *argv[] = { (char[]){ "@vmm" }, NULL };
		if (dup2(kernel, KERNEL_FD) < 0 || dup2(pipe_fds[1], SERIAL_FD) < 0 ||
			dup2(pipe_fds[1], STDERR_FILENO) < 0 || dup2(document, CONFIG_FD) < 0)
			_exit(99);
		_exit(vm_main(1, argv));
	}
	(void)close(pipe_fds[1]);
	role->out = pipe_fds[0];
}

/* Waits for the end; returns the wait status and what was said. */
static int finish(struct role *role, struct text *said)
{
	int status;
	assert_int_equal(fd_read_text(role->out, 1 << 20, "output", said, NULL), 0);
	assert_int_equal(waitpid(role->pid, &status, 0), role->pid);
	(void)close(role->out);
	if (strstr(text_string(said), "/dev/kvm") != NULL) {
		text_done(said); /* skip() leaves without our caller's clean-up */
		skip();
	}
	return status;
}

#define CONFIG(more)                                                                         \
	"{\"accel\":\"kvm\",\"kernel_fd\":10,\"serial_fd\":11,\"uid\":64990,\"memory_mib\":" \
	"32" more "}"

#define OUT(port, value) 0xba, (port)&0xff, (port) >> 8, 0, 0, 0xb0, (value), 0xee
#define SPIN 0xeb, 0xfe

#define assert_end(code, config, status_, words)                          \
	do {                                                              \
		struct role role_;                                        \
		AUTO_DONE(text) said_ = { 0 };                            \
		start(&role_, config, code, sizeof(code));                \
		int got_ = finish(&role_, &said_);                        \
		if (!WIFEXITED(got_) || WEXITSTATUS(got_) != (status_) || \
			strstr(text_string(&said_), words) == NULL)       \
			fail_msg("status %#x, \"%s\"", got_, said_.data); \
	} while (0)

static void a_guest_prints_and_switches_off(void **state)
{
	(void)state;
	static const uint8_t code[] = { OUT(0x3f8, 'h'), OUT(0x3f8, 'i'), OUT(0x600, 0x34), SPIN };
	assert_end(code, CONFIG(""), 0, "hi");
}

static void a_guest_with_four_processors_does_the_same(void **state)
{
	(void)state;
	static const uint8_t code[] = { OUT(0x3f8, 'h'), OUT(0x3f8, 'i'), OUT(0x600, 0x34), SPIN };
	assert_end(code, CONFIG(",\"cpus\":4"), 0, "hi");
}

static void every_way_to_reset_ends_the_machine(void **state)
{
	(void)state;
	static const uint8_t own[] = { OUT(0x602, 1), SPIN };
	static const uint8_t chipset[] = { OUT(0xcf9, 6), SPIN };
	static const uint8_t keyboard[] = { OUT(0x64, 0xfe), SPIN };
	assert_end(own, CONFIG(""), 125, "reset itself");
	assert_end(chipset, CONFIG(",\"cpus\":2"), 125, "reset itself");
	assert_end(keyboard, CONFIG(""), 125, "reset itself");
}

static void a_triple_fault_ends_the_machine(void **state)
{
	(void)state;
	/* No interrupt table: ud2 faults, and so does what follows. */
	static const uint8_t code[] = { 0x0f, 0x0b };
	assert_end(code, CONFIG(""), 125, "triple fault");
}

static void the_end_says_why_a_kernel_panicked(void **state)
{
	(void)state;
	/* mov $BASE + 0x20, %esi; mov $0x3f8, %edx; 1: lodsb; test %al, %al; jz 2f; out; jmp 1b
	 * 2: mov $0x602, %edx; mov $1, %al; out; jmp . */
	static const uint8_t code[] =
		"\xbe\x30\0\0\x01\xba\xf8\x03\0\0\xac\x84\xc0\x74\x03\xee\xeb\xf8"
		"\xba\x02\x06\0\0\xb0\x01\xee\xeb\xfe"
		"....................[ 1.0] Kernel panic - not syncing: no \x1b[1mroot\r\n";
	assert_int_equal(code[0x30], '[');
	assert_end(code, CONFIG(""), 125, "kernel panicked: no ?[1mroot");
}

static void unknown_ports_and_addresses_read_as_ones(void **state)
{
	(void)state;
	/* mov $0x5555, %edx; in %dx, %al; cmp $0xff, %al; jne .; mov 0xd0000000, %eax;
	 * cmp $-1, %eax; jne .; write there; then off. */
	static const uint8_t code[] = { 0xba, 0x55, 0x55, 0, 0, 0xec, 0x3c, 0xff, 0x75, 0xfe, 0xa1,
		0, 0, 0, 0xd0, 0x83, 0xf8, 0xff, 0x75, 0xfe, 0xa3, 0, 0, 0, 0xd0, OUT(0x600, 0x34),
		SPIN };
	assert_end(code, CONFIG(""), 0, "");
}

static void wide_accesses_to_narrow_ports_do_no_harm(void **state)
{
	(void)state;
	/* out %eax and out %ax to the serial port and to power, and string output of 70000 bytes.
	 */
	static const uint8_t code[] = { 0xba, 0xf8, 3, 0, 0, 0xef, 0x66, 0xef, 0xba, 0, 6, 0, 0,
		0xb8, 0x34, 0x34, 0x34, 0x34, 0xef, 0xba, 0x80, 0, 0, 0, 0xb9, 0x70, 0x11, 1, 0,
		0xbe, 0, 0, 0, 1, 0xf3, 0x6e, OUT(0x3f8, '!'), OUT(0x600, 0x34), SPIN };
	assert_end(code, CONFIG(""), 0, "!");
}

static void a_kernel_that_does_not_fit_is_one_line(void **state)
{
	(void)state;
	static const uint8_t code[] = { SPIN };
	static const char config[] = "{\"accel\":\"kvm\",\"kernel_fd\":10,\"uid\":64990,"
				     "\"memory_mib\":16}";
	assert_end(code, config, 125, "16 MiB of RAM are too few");
}

static void a_wrong_configuration_is_one_line(void **state)
{
	(void)state;
	static const uint8_t code[] = { SPIN };
	assert_end(code, "{}", 125, "names no kernel");
	assert_end(code, "{\"accel\":\"hvm\",\"kernel_fd\":10,\"memory_mib\":32}", 125, "\"hvm\"");
}

static void a_machine_that_spins_can_be_killed(void **state)
{
	(void)state;
	static const uint8_t code[] = { OUT(0x3f8, 'r'), SPIN };
	struct role role;
	AUTO_DONE(text) said = { 0 };
	start(&role, CONFIG(",\"cpus\":2"), code, sizeof(code));
	struct pollfd out = { .fd = role.out, .events = POLLIN };
	assert_int_equal(poll(&out, 1, 20000), 1);
	assert_int_equal(kill(role.pid, SIGKILL), 0);
	int status = finish(&role, &said);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* More than a pipe holds: the processor that prints waits for the reader, and nothing is lost. */
static void a_reader_that_comes_late_gets_all(void **state)
{
	(void)state;
	/* mov $0x3f8, %edx; mov $100000, %ecx; mov $'z', %al; 1: out; loop 1b; off */
	static const uint8_t code[] = { 0xba, 0xf8, 3, 0, 0, 0xb9, 0xa0, 0x86, 1, 0, 0xb0, 'z',
		0xee, 0xe2, 0xfd, OUT(0x600, 0x34), SPIN };
	struct role role;
	AUTO_DONE(text) said = { 0 };
	start(&role, CONFIG(""), code, sizeof(code));
	int status = finish(&role, &said);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_int_equal(said.len, 100000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_guest_prints_and_switches_off),
		cmocka_unit_test(a_guest_with_four_processors_does_the_same),
		cmocka_unit_test(every_way_to_reset_ends_the_machine),
		cmocka_unit_test(a_triple_fault_ends_the_machine),
		cmocka_unit_test(the_end_says_why_a_kernel_panicked),
		cmocka_unit_test(unknown_ports_and_addresses_read_as_ones),
		cmocka_unit_test(wide_accesses_to_narrow_ports_do_no_harm),
		cmocka_unit_test(a_kernel_that_does_not_fit_is_one_line),
		cmocka_unit_test(a_wrong_configuration_is_one_line),
		cmocka_unit_test(a_machine_that_spins_can_be_killed),
		cmocka_unit_test(a_reader_that_comes_late_gets_all),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
