/* vmm_syscalls - see vmm_syscalls.h. */
#include "vm/vmm_syscalls.h"

#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/jail.h"
#include "base/mem.h"
#include "cpu/cpu.h"
#include "vm/vm.h"

#define NUMBERS_MAX 1024 /* above those of any row */
#define MORE_MAX 16      /* of an accelerator */

static const int syscalls[] = {
#define SYSCALL(name) SYS_##name,
#include "vm/vm_syscalls.def"
#undef SYSCALL
#ifdef __SANITIZE_ADDRESS__ /* what the sanitizer's own runtime needs */
	SYS_getpid,
	SYS_gettid,
	SYS_mprotect,
	SYS_openat,
	SYS_prctl,
	SYS_readlink,
	SYS_sched_getaffinity,
	SYS_sched_yield,
	SYS_sigaltstack,
#endif
};

/* The last row's value is this process, which is not known yet. */
static const struct jail_rule fixed_rules[] = {
#define RULE(name, argument_, mask_, value_) \
	{ .syscall = SYS_##name, .argument = (argument_), .mask = (mask_), .value = (value_) },
#include "vm/vm_syscall_rules.def"
#undef RULE
	{ .syscall = SYS_tgkill, .mask = UINT32_MAX },
};

int vmm_syscalls_close(const struct cpu_accel *accel, struct err *err)
{
	size_t more_len;
	const int *more = cpu_accel_syscalls(accel, &more_len);
	int all[ARRAY_LEN(syscalls) + MORE_MAX];
	CHECK(more_len <= MORE_MAX);
	memcpy(all, syscalls, sizeof(syscalls));
	if (more_len > 0)
		memcpy(all + ARRAY_LEN(syscalls), more, more_len * sizeof(*more));
	struct jail_rule rules[ARRAY_LEN(fixed_rules)];
	for (size_t i = 0; i < ARRAY_LEN(fixed_rules); i++)
		rules[i] = fixed_rules[i];
	rules[ARRAY_LEN(fixed_rules) - 1].value = (uint32_t)getpid();
	const struct jail jail = {
		.syscalls = all,
		.syscalls_len = ARRAY_LEN(syscalls) + more_len,
		.rules = rules,
		.rules_len = ARRAY_LEN(rules),
	};
	return jail_close(&jail, err);
}

unsigned vm_syscalls_count(const struct cpu_accel *accel)
{
	size_t more_len;
	const int *more = cpu_accel_syscalls(accel, &more_len);
	bool is_allowed[NUMBERS_MAX] = { false };
	unsigned count = 0;
	for (size_t i = 0; i < ARRAY_LEN(syscalls); i++)
		is_allowed[syscalls[i]] = true;
	for (size_t i = 0; i < ARRAY_LEN(fixed_rules); i++)
		is_allowed[fixed_rules[i].syscall] = true;
	for (size_t i = 0; i < more_len; i++)
		is_allowed[more[i]] = true;
	for (size_t i = 0; i < NUMBERS_MAX; i++)
		count += is_allowed[i];
	return count;
}
