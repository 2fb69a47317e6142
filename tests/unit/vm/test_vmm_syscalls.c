/* The filter that the role hands to the kernel, caught on its way there: no process is harmed. */
#include "test.h"

#include <linux/audit.h>
#include <sys/syscall.h>

#include "bpf_reach.h"
#include "cpu/cpu.h"
#include "vm/vm.h"
#include "vm/vmm_syscalls.h"

static struct sock_filter caught[BPF_MAXINSNS];
static size_t caught_len;

/* Of the calls below only seccomp(2) comes by here. */
long __wrap_syscall(long number, unsigned operation, unsigned flags,
	const struct sock_fprog *program);

long __wrap_syscall(long number, unsigned operation, unsigned flags,
	const struct sock_fprog *program)
{
	assert_int_equal(number, SYS_seccomp);
	assert_int_equal(operation, SECCOMP_SET_MODE_FILTER);
	assert_int_equal(flags, SECCOMP_FILTER_FLAG_TSYNC);
	caught_len = program->len;
	memcpy(caught, program->filter, caught_len * sizeof(caught[0]));
	return 0;
}

static bool is_reached(uint32_t number)
{
	const struct bpf_reach reach = { caught, caught_len, AUDIT_ARCH_X86_64, number };
	return bpf_reach_from(&reach, 0, false, 0);
}

static void the_count_is_that_of_the_filter(void **state)
{
	(void)state;
	assert_int_equal(vmm_syscalls_close(cpu_accel_at(0), NULL), 0);
	assert_int_equal(bpf_reach_count(caught, caught_len, AUDIT_ARCH_X86_64, 1 << 16),
		vm_syscalls_count(cpu_accel_at(0)));
	assert_int_equal(bpf_reach_count(caught, caught_len, AUDIT_ARCH_I386, 1 << 16), 0);
	assert_false(is_reached(0x40000000 | SYS_write));
}

static void the_filter_opens_executes_and_connects_nothing(void **state)
{
	(void)state;
	static const uint32_t open[] = { SYS_write, SYS_ioctl, SYS_mmap, SYS_tgkill };
	static const uint32_t shut[] = { SYS_open, SYS_openat2, SYS_execve, SYS_execveat,
		SYS_connect, SYS_socket, SYS_clone, SYS_clone3, SYS_fork, SYS_vfork, SYS_kill,
		SYS_ptrace, SYS_mount, SYS_bpf, SYS_unshare, SYS_setns };
	assert_int_equal(vmm_syscalls_close(cpu_accel_at(0), NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(open); i++)
		assert_true(is_reached(open[i]));
	for (size_t i = 0; i < ARRAY_LEN(shut); i++)
		assert_false(is_reached(shut[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_count_is_that_of_the_filter),
		cmocka_unit_test(the_filter_opens_executes_and_connects_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
