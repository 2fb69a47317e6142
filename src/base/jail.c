/* jail - see jail.h.  The order is the point: each step needs rights that a later one takes away.
 *
 *   1 namespaces         mount, network, ipc, uts          needs CAP_SYS_ADMIN
 *   2 empty root         a read-only tmpfs with no entry   needs CAP_SYS_ADMIN
 *   3 bounding set       nothing can be regained by exec   needs CAP_SETPCAP
 *   4 ids                no groups, gid, uid               needs CAP_SETGID, CAP_SETUID
 *   5 capabilities       none
 *   6 no_new_privs       also what lets 7 be unprivileged
 *   7 seccomp            the list; all else kills
 *
 * Without root steps 1 to 4 are impossible, and the process has nothing more than its user to lose;
 * 5 to 7 happen always.  A step that fails ends in an error, and the caller must not go on. */
#include "base/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#else
#error "jail.c does not know this architecture's AUDIT_ARCH"
#endif

/* A tmpfs with nothing in it that is not mounted anywhere yet. */
static int make_empty_root(void)
{
	AUTO_CLOSE int context = fsopen("tmpfs", FSOPEN_CLOEXEC);
	if (context < 0)
		return -errno;
	/* One inode, the root's own: not even root could put something there. */
	if (fsconfig(context, FSCONFIG_SET_STRING, "nr_inodes", "1", 0) < 0 ||
		fsconfig(context, FSCONFIG_SET_STRING, "mode", "0555", 0) < 0 ||
		fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	int root = fsmount(context, FSMOUNT_CLOEXEC,
		MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	return root >= 0 ? root : -errno;
}

/* Puts the empty root over "/", makes it the root, and drops everything that was below it. */
static int enter_empty_root(struct err *err)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(err, errno, "jail: make mounts private");
	AUTO_CLOSE int root = make_empty_root();
	if (root < 0)
		return err_sys(err, -root, "jail: make an empty root");
	if (move_mount(root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_sys(err, errno, "jail: mount the empty root");
	/* pivot_root(".", "."): the old root ends up on top of the new one (pivot_root(2)). */
	if (fchdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
		umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return err_sys(err, errno, "jail: enter the empty root");
	return 0;
}

static int drop_bounding_set(struct err *err)
{
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
		/* Without CAP_SETPCAP it cannot be dropped; no_new_privs covers exec then too. */
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EPERM)
			return err_sys(err, errno, "jail: drop capability %d", cap);
	}
	return 0;
}

static int change_ids(unsigned uid, struct err *err)
{
	if (uid == 0)
		return 0;
	if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
		return err_sys(err, errno, "jail: become user %u", uid);
	return 0;
}

static int drop_capabilities(struct err *err)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };
	/* An empty permitted set empties the ambient set with it (capabilities(7)). */
	if (syscall(SYS_capset, &header, none) < 0)
		return err_sys(err, errno, "jail: drop all capabilities");
	return 0;
}

static struct sock_filter statement(unsigned code, uint32_t value)
{
	return (struct sock_filter)BPF_STMT((uint16_t)code, value);
}

static struct sock_filter jump_if_equal(uint32_t value, uint8_t if_true, uint8_t if_false)
{
	return (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, if_true, if_false);
}

enum { LOAD = BPF_LD | BPF_W | BPF_ABS, RETURN = BPF_RET | BPF_K, AROUND = 5, RULE = 6, PLAIN = 2 };

static size_t add_rule(struct sock_filter *filter, const struct jail_rule *rule)
{
	size_t n = 0;
	/* Little-endian, as all that NATIVE_ARCH knows: the lower half comes first. */
	filter[n++] = jump_if_equal((uint32_t)rule->syscall, 0, RULE - 1);
	filter[n++] = statement(LOAD,
		(uint32_t)(offsetof(struct seccomp_data, args) + 8 * (size_t)rule->argument));
	filter[n++] = statement(BPF_ALU | BPF_AND | BPF_K, rule->mask);
	filter[n++] = jump_if_equal(rule->value, 0, 1);
	filter[n++] = statement(RETURN, SECCOMP_RET_ALLOW);
	filter[n++] = statement(LOAD, offsetof(struct seccomp_data, nr));
	return n;
}

/* A chain costs little: since Linux 5.11 the kernel keeps a bitmap of the numbers that are always
 * allowed and does not run the filter for them. */
int jail_close(const struct jail *jail, struct err *err)
{
	if (jail->syscalls_len == 0 || jail->syscalls_len > BPF_MAXINSNS || jail->rules_len > 256 ||
		AROUND + PLAIN * jail->syscalls_len + RULE * jail->rules_len > BPF_MAXINSNS)
		return err_set(err, ERR_INVALID, "jail: a list of %zu system calls",
			jail->syscalls_len);
	AUTO_FREE struct sock_filter *filter = NEW_ARRAY(sock_filter,
		AROUND + PLAIN * jail->syscalls_len + RULE * jail->rules_len);
	size_t n = 0;
	filter[n++] = statement(LOAD, offsetof(struct seccomp_data, arch));
	filter[n++] = jump_if_equal(NATIVE_ARCH, 1, 0);
	filter[n++] = statement(RETURN, SECCOMP_RET_KILL_PROCESS);
	/* A number of the x32 ABI has a bit more and equals none of the list. */
	filter[n++] = statement(LOAD, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < jail->rules_len; i++)
		n += add_rule(filter + n, &jail->rules[i]);
	for (size_t i = 0; i < jail->syscalls_len; i++) {
		filter[n++] = jump_if_equal((uint32_t)jail->syscalls[i], 0, 1);
		filter[n++] = statement(RETURN, SECCOMP_RET_ALLOW);
	}
	filter[n++] = statement(RETURN, SECCOMP_RET_KILL_PROCESS);
	struct sock_fprog program = { .len = (unsigned short)n, .filter = filter };
	/* TSYNC: every thread, or none and a failure. */
	long r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
	if (r != 0)
		return err_sys(err, r < 0 ? errno : EBUSY, "jail: install the seccomp list");
	return 0;
}

static int give_up_root(const struct jail *jail, struct err *err)
{
	if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) < 0)
		return err_sys(err, errno, "jail: make namespaces");
	int r = enter_empty_root(err);
	if (r == 0)
		r = drop_bounding_set(err);
	if (r == 0)
		r = change_ids(jail->uid, err);
	return r;
}

int jail_leave(const struct jail *jail, struct err *err)
{
	if (geteuid() == 0) {
		int r = give_up_root(jail, err);
		if (r < 0)
			return r;
	}
	int r = drop_capabilities(err);
	if (r < 0)
		return r;
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, errno, "jail: forbid new privileges");
	return 0;
}

int jail_enter(const struct jail *jail, struct err *err)
{
	int r = jail_leave(jail, err);
	return r < 0 ? r : jail_close(jail, err);
}
