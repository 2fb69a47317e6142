/* The built-in profile, decided by an interpreter of classic BPF: no process is harmed. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "bpf_reach.h"
#include "container/capability.h"
#include "container/container.h"
#include "container/seccomp_filter.h"

#define DOCKER_CAPABILITIES UINT64_C(0xa80425fb)
#define EPERM_VERDICT (SECCOMP_RET_ERRNO | EPERM)
#define ENOSYS_VERDICT (SECCOMP_RET_ERRNO | ENOSYS)
#define X32_BIT 0x40000000

static uint32_t load(const struct seccomp_data *data, uint32_t offset)
{
	uint32_t word;
	assert_true(offset + sizeof(word) <= sizeof(*data) && offset % sizeof(word) == 0);
	memcpy(&word, (const char *)data + offset, sizeof(word));
	return word;
}

static uint32_t interpret(const struct text *bpf, const struct seccomp_data *data)
{
	const struct sock_filter *insns = (const struct sock_filter *)(const void *)bpf->data;
	size_t len = bpf->len / sizeof(*insns);
	uint32_t a = 0;
	for (size_t pc = 0; pc < len; pc++) {
		const struct sock_filter *i = &insns[pc];
		switch (i->code) {
		case BPF_LD | BPF_W | BPF_ABS: a = load(data, i->k); break;
		case BPF_ALU | BPF_AND | BPF_K: a &= i->k; break;
		case BPF_JMP | BPF_JA: pc += i->k; break;
		case BPF_JMP | BPF_JEQ | BPF_K: pc += a == i->k ? i->jt : i->jf; break;
		case BPF_JMP | BPF_JGE | BPF_K: pc += a >= i->k ? i->jt : i->jf; break;
		case BPF_JMP | BPF_JGT | BPF_K: pc += a > i->k ? i->jt : i->jf; break;
		case BPF_RET | BPF_K: return i->k;
		default: fail_msg("instruction 0x%x", i->code);
		}
	}
	fail_msg("the program runs past its end");
	return 0;
}

struct fixture {
	struct text bpf;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	*state = f;
	return seccomp_compile_default(DOCKER_CAPABILITIES, &f->bpf, NULL);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	text_done(&f->bpf);
	free(f);
	return 0;
}

static uint32_t verdict(const struct text *bpf, uint32_t arch, int number, uint64_t a0, uint64_t a1)
{
	const struct seccomp_data data = { .nr = number, .arch = arch, .args = { a0, a1 } };
	return interpret(bpf, &data);
}

static uint32_t native(const struct fixture *f, const char *name, uint64_t a0, uint64_t a1)
{
	int number = seccomp_syscall_resolve_name_arch(SCMP_ARCH_X86_64, name);
	assert_true(number >= 0);
	return verdict(&f->bpf, AUDIT_ARCH_X86_64, number, a0, a1);
}

/* What Docker's profile does not allow a process with Docker's capabilities, of all calls up to
 * set_mempolicy_home_node (450); written down apart from the table that is tested. */
static const char *const denied[] = { "_sysctl", "acct", "add_key", "afs_syscall", "bpf",
	"clock_settime", "create_module", "delete_module", "fanotify_init", "finit_module",
	"fsconfig", "fsmount", "fsopen", "fspick", "get_kernel_syms", "get_mempolicy", "getpmsg",
	"init_module", "io_uring_enter", "io_uring_register", "io_uring_setup", "ioperm", "iopl",
	"kcmp", "kexec_file_load", "kexec_load", "keyctl", "lookup_dcookie", "mbind",
	"migrate_pages", "mount", "mount_setattr", "move_mount", "move_pages", "nfsservctl",
	"open_by_handle_at", "open_tree", "perf_event_open", "pidfd_getfd", "pivot_root",
	"process_madvise", "putpmsg", "query_module", "quotactl", "quotactl_fd", "reboot",
	"request_key", "security", "set_mempolicy", "set_mempolicy_home_node", "setdomainname",
	"sethostname", "setns", "settimeofday", "swapoff", "swapon", "sysfs", "syslog", "tuxcall",
	"umount2", "unshare", "uselib", "userfaultfd", "ustat", "vhangup", "vserver" };

static bool is_denied(const char *name)
{
	for (size_t i = 0; i < sizeof(denied) / sizeof(denied[0]); i++)
		if (strcmp(denied[i], name) == 0)
			return true;
	return false;
}

static void every_syscall_has_the_expected_verdict(void **state)
{
	const struct fixture *f = *state;
	int known = 0;
	for (int number = 0; number <= 450; number++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, number);
		uint32_t got = verdict(&f->bpf, AUDIT_ARCH_X86_64, number, AF_UNIX, 0);
		uint32_t wanted = name == NULL || is_denied(name)    ? EPERM_VERDICT
				  : strcmp(name, "clone3") == 0      ? ENOSYS_VERDICT
				  : strcmp(name, "personality") == 0 ? EPERM_VERDICT
								     : SECCOMP_RET_ALLOW;
		if (got != wanted)
			fail_msg("%d %s: 0x%x, not 0x%x", number, name != NULL ? name : "-", got,
				wanted);
		known += name != NULL;
		free(name);
	}
	assert_true(known > 350);
}

static void i386_and_x32_agree_with_x86_64(void **state)
{
	const struct fixture *f = *state;
	/* Names that mean the same on all three; those with arguments aside. */
	for (int number = 0; number <= 450; number++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, number);
		if (name == NULL || strcmp(name, "clone") == 0 || strcmp(name, "socket") == 0) {
			free(name);
			continue;
		}
		uint32_t wanted = verdict(&f->bpf, AUDIT_ARCH_X86_64, number, 0, 0);
		int other = seccomp_syscall_resolve_name_arch(SCMP_ARCH_X86, name);
		if (other >= 0 && verdict(&f->bpf, AUDIT_ARCH_I386, other, 0, 0) != wanted)
			fail_msg("%s differs on i386", name);
		other = seccomp_syscall_resolve_name_arch(SCMP_ARCH_X32, name);
		if (other >= 0 &&
			verdict(&f->bpf, AUDIT_ARCH_X86_64, other | X32_BIT, 0, 0) != wanted)
			fail_msg("%s differs on x32", name);
		free(name);
	}
}

static void syscalls_of_the_future_are_enosys(void **state)
{
	const struct fixture *f = *state;
	assert_int_equal(verdict(&f->bpf, AUDIT_ARCH_X86_64, 452, 0, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(verdict(&f->bpf, AUDIT_ARCH_I386, 452, 0, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(verdict(&f->bpf, AUDIT_ARCH_X86_64, 457, 0, 0), ENOSYS_VERDICT);
	assert_int_equal(verdict(&f->bpf, AUDIT_ARCH_X86_64, 5000, 0, 0), ENOSYS_VERDICT);
	assert_int_equal(verdict(&f->bpf, AUDIT_ARCH_I386, 5000, 0, 0), ENOSYS_VERDICT);
}

static void other_architectures_are_killed(void **state)
{
	const struct fixture *f = *state;
	assert_int_equal(verdict(&f->bpf, AUDIT_ARCH_AARCH64, 0, 0, 0), SECCOMP_RET_KILL_PROCESS);
}

static void clone_makes_no_namespace(void **state)
{
	const struct fixture *f = *state;
	static const uint64_t flags[] = { 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000,
		0x20000000, 0x40000000 };
	assert_int_equal(native(f, "clone", 0x3d0f00, 0), SECCOMP_RET_ALLOW); /* a thread */
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		assert_int_equal(native(f, "clone", flags[i] | 17, 0), EPERM_VERDICT);
}

static void only_listed_socket_families_open(void **state)
{
	const struct fixture *f = *state;
	static const int listed[] = { AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET };
	for (int family = 0; family < 64; family++) {
		uint32_t wanted = EPERM_VERDICT;
		for (size_t i = 0; i < sizeof(listed) / sizeof(listed[0]); i++)
			if (listed[i] == family)
				wanted = SECCOMP_RET_ALLOW;
		assert_int_equal(native(f, "socket", (uint64_t)family, 0), wanted);
		assert_int_equal(verdict(&f->bpf, AUDIT_ARCH_I386, 359, (uint64_t)family, 0),
			wanted);
	}
	/* Nor by socketcall, whose family cannot be seen; the rest of it stays. */
	assert_int_equal(verdict(&f->bpf, AUDIT_ARCH_I386, 102, 1, 0), EPERM_VERDICT);
	assert_int_equal(verdict(&f->bpf, AUDIT_ARCH_I386, 102, 3, 0), SECCOMP_RET_ALLOW);
}

static void tiocsti_is_denied(void **state)
{
	const struct fixture *f = *state;
	assert_int_equal(native(f, "ioctl", 0, TIOCGWINSZ), SECCOMP_RET_ALLOW);
	assert_int_equal(native(f, "ioctl", 0, TIOCSTI), EPERM_VERDICT);
	assert_int_equal(native(f, "ioctl", 0, TIOCSTI | UINT64_C(1) << 32), EPERM_VERDICT);
	assert_int_equal(verdict(&f->bpf, AUDIT_ARCH_I386, 54, 0, TIOCSTI), EPERM_VERDICT);
	assert_int_equal(verdict(&f->bpf, AUDIT_ARCH_X86_64, X32_BIT | 514, 0, TIOCSTI),
		EPERM_VERDICT);
	assert_int_equal(native(f, "ioctl", 0, TIOCLINUX), EPERM_VERDICT);
}

static void personality_takes_only_harmless_values(void **state)
{
	const struct fixture *f = *state;
	static const uint64_t harmless[] = { 0, 8, 0x20000, 0x20008, 0xffffffff };
	for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++)
		assert_int_equal(native(f, "personality", harmless[i], 0), SECCOMP_RET_ALLOW);
	assert_int_equal(native(f, "personality", ADDR_NO_RANDOMIZE, 0), EPERM_VERDICT);
}

static void capabilities_open_their_rows(void **state)
{
	(void)state;
	static const struct {
		int capability;
		const char *name;
	} rows[] = {
		{ CAP_SYS_ADMIN, "mount" },
		{ CAP_SYS_ADMIN, "unshare" },
		{ CAP_SYS_ADMIN, "clone3" },
		{ CAP_SYS_MODULE, "init_module" },
		{ CAP_SYS_TIME, "clock_settime" },
		{ CAP_BPF, "bpf" },
		{ CAP_DAC_READ_SEARCH, "open_by_handle_at" },
		{ CAP_SYS_BOOT, "reboot" },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct fixture f = { 0 };
		uint64_t set = DOCKER_CAPABILITIES | CAPABILITY_BIT(rows[i].capability);
		assert_int_equal(seccomp_compile_default(set, &f.bpf, NULL), 0);
		assert_int_equal(native(&f, rows[i].name, 0, 0), SECCOMP_RET_ALLOW);
		assert_int_equal(native(&f, "clone", 0x20000, 0),
			rows[i].capability == CAP_SYS_ADMIN ? SECCOMP_RET_ALLOW : EPERM_VERDICT);
		text_done(&f.bpf);
	}
}

static void the_count_is_that_of_the_filter(void **state)
{
	const struct fixture *f = *state;
	assert_int_equal(capability_default_bits(), DOCKER_CAPABILITIES);
	assert_int_equal(container_syscalls_count(),
		bpf_reach_count((const struct sock_filter *)(const void *)f->bpf.data,
			f->bpf.len / sizeof(struct sock_filter), AUDIT_ARCH_X86_64, 1 << 16));
}

static void program_is_short(void **state)
{
	const struct fixture *f = *state;
	/* Loading costs by length; this is the promise that a change of the table keeps it. */
	assert_true(f->bpf.len / sizeof(struct sock_filter) < 900);
}

#define FILTER_TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FILTER_TEST(every_syscall_has_the_expected_verdict),
		FILTER_TEST(i386_and_x32_agree_with_x86_64),
		FILTER_TEST(syscalls_of_the_future_are_enosys),
		FILTER_TEST(other_architectures_are_killed),
		FILTER_TEST(clone_makes_no_namespace),
		FILTER_TEST(only_listed_socket_families_open),
		FILTER_TEST(tiocsti_is_denied),
		FILTER_TEST(personality_takes_only_harmless_values),
		cmocka_unit_test(capabilities_open_their_rows),
		FILTER_TEST(the_count_is_that_of_the_filter),
		FILTER_TEST(program_is_short),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
