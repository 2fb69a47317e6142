#include "test.h"

#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/jail.h"

/* Enough for the checks below and for a sanitizer's exit. */
static const int calls[] = { SYS_write, SYS_exit_group, SYS_openat, SYS_close, SYS_newfstatat,
	SYS_getdents64, SYS_getuid, SYS_getgid, SYS_getgroups, SYS_capget, SYS_prctl, SYS_mkdirat,
	SYS_mkdir, SYS_brk, SYS_mmap, SYS_munmap, SYS_futex, SYS_fstat, SYS_sigaltstack,
	SYS_rt_sigprocmask, SYS_statfs, SYS_chdir, SYS_getcwd };

/* Two values of one argument, and bits of another call's. */
static const struct jail_rule rules[] = {
	{ .syscall = SYS_ioctl, .argument = 1, .mask = UINT32_MAX, .value = FIONREAD },
	{ .syscall = SYS_ioctl, .argument = 1, .mask = UINT32_MAX, .value = FIONBIO },
	{ .syscall = SYS_mprotect, .argument = 2, .mask = PROT_EXEC, .value = 0 },
};

enum { NOT_PRIVILEGED = 77 };

/* Runs inside in a child that has entered the jail; returns its wait status. */
static int run_jailed(unsigned uid, void (*inside)(void))
{
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct err err = { 0 };
		const struct jail jail = { .syscalls = calls,
			.syscalls_len = ARRAY_LEN(calls),
			.rules = rules,
			.rules_len = ARRAY_LEN(rules),
			.uid = uid };
		/* The core file of a killed child is nobody's wish. */
		(void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0 });
		if (digest_init(&err) < 0)
			_exit(1);
		if (jail_enter(&jail, &err) < 0) {
			(void)dprintf(STDERR_FILENO, "%s\n", err.message);
			_exit(err.kind == ERR_DENIED ? NOT_PRIVILEGED : 2);
		}
		inside();
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_PRIVILEGED)
		skip();
	return status;
}

#define INSIDE(condition)                       \
	do {                                    \
		if (!(condition))               \
			_exit(__LINE__ & 0x7f); \
	} while (0)

static void look_around(void)
{
	struct stat st;
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	if (getuid() != 0) {
		INSIDE(getuid() == 4321 && getgid() == 4321);
		INSIDE(getgroups(0, NULL) == 0);
	}
	INSIDE(syscall(SYS_capget, &header, data) == 0);
	for (size_t i = 0; i < ARRAY_LEN(data); i++)
		INSIDE(data[i].effective == 0 && data[i].permitted == 0 &&
			data[i].inheritable == 0);
	INSIDE(prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN, 0, 0, 0) == 0);
	INSIDE(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
	INSIDE(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
	/* The root is empty, and ".." leads nowhere. */
	INSIDE(stat("/proc", &st) < 0 && errno == ENOENT);
	INSIDE(stat("/etc", &st) < 0 && errno == ENOENT);
	INSIDE(stat("/../../etc", &st) < 0 && errno == ENOENT);
	INSIDE(stat("/", &st) == 0 && (st.st_mode & 07777) == 0555 && st.st_nlink == 2);
	INSIDE(mkdir("/x", 0700) < 0);
	char cwd[8];
	INSIDE(syscall(SYS_getcwd, cwd, sizeof(cwd)) > 0 && strcmp(cwd, "/") == 0);
	struct digest digest;
	INSIDE(digest_of(V("abc"), &digest, NULL) == 0);
}

static void nothing_is_left_inside(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(run_jailed(4321, look_around), 0);
	assert_int_equal(run_jailed(0, look_around), 0);
}

static void call_socket(void)
{
	(void)syscall(SYS_socket, 1, 1, 0);
}

/* A 64-bit program may enter the kernel by its 32-bit door, where 1 is exit and 4 is write. */
static void call_32_bit_write(void)
{
#ifdef __x86_64__
	long r;
	__asm__ volatile("int $0x80" : "=a"(r) : "a"(4), "b"(2), "c"(0), "d"(0) : "memory");
#else
	call_socket();
#endif
}

static void call_x32_write(void)
{
	(void)syscall(0x40000000 | SYS_write, 2, "", 0);
}

static void a_call_that_is_not_listed_kills(void **state)
{
	(void)state;
	void (*const attempts[])(void) = { call_socket, call_32_bit_write, call_x32_write };
	for (size_t i = 0; i < ARRAY_LEN(attempts); i++) {
		int status = run_jailed(4321, attempts[i]);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGSYS);
	}
}

static void call_allowed_values(void)
{
	(void)syscall(SYS_ioctl, -1, FIONREAD, 0);
	(void)syscall(SYS_ioctl, -1, FIONBIO, 0);
	/* The kernel looks at the lower half of a request only, and so does the rule. */
	(void)syscall(SYS_ioctl, -1, UINT64_C(0xffffffff00000000) | FIONREAD, 0);
	(void)syscall(SYS_mprotect, NULL, 4096, PROT_READ | PROT_WRITE);
	(void)syscall(SYS_getuid);
}

static void call_other_ioctl(void)
{
	(void)syscall(SYS_ioctl, -1, TIOCSTI, 0);
}

static void call_executable_mprotect(void)
{
	(void)syscall(SYS_mprotect, NULL, 4096, PROT_READ | PROT_EXEC);
}

static void a_rule_allows_its_values_only(void **state)
{
	(void)state;
	assert_int_equal(run_jailed(4321, call_allowed_values), 0);
	void (*const attempts[])(void) = { call_other_ioctl, call_executable_mprotect };
	for (size_t i = 0; i < ARRAY_LEN(attempts); i++) {
		int status = run_jailed(4321, attempts[i]);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGSYS);
	}
}

static void an_empty_list_is_refused(void **state)
{
	(void)state;
	pid_t pid = fork();
	if (pid == 0) {
		struct err err = { 0 };
		const struct jail jail = { .uid = 0 };
		int r = jail_enter(&jail, &err);
		_exit(r == -EINVAL || err.kind == ERR_DENIED ? 0 : 1);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_left_inside),
		cmocka_unit_test(a_call_that_is_not_listed_kills),
		cmocka_unit_test(a_rule_allows_its_values_only),
		cmocka_unit_test(an_empty_list_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
