/* container_clone - clone3 with what fork(2) cannot say.
 *
 * A pid namespace is entered by the next child, so joining one usually costs a process in between.
 * Here the caller itself points its "namespace of children" at it, clones, and points back: one
 * process less, and the child is the caller's own.  The caller is not dumpable meanwhile, so that
 * the child is not from its first instruction on: in the container's pid namespace it could be
 * traced before it could say so itself (CVE-2016-9962). */
#include "container/container_clone.h"

#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/mem.h"
#include "container/container.h"

static pid_t clone_child(const struct container_clone *clone, int *ret_pidfd)
{
	int cgroup = clone->cgroup != NULL ? cgroup_v2_fd(clone->cgroup) : -1;
	struct clone_args args = {
		.flags = clone->namespaces | CLONE_PIDFD | (cgroup >= 0 ? CLONE_INTO_CGROUP : 0),
		.pidfd = (uintptr_t)ret_pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = cgroup >= 0 ? (uint64_t)cgroup : 0,
	};
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	return pid < 0 ? -errno : pid;
}

pid_t container_clone(const struct container_clone *clone, int *ret_pidfd, struct err *err)
{
	AUTO_CLOSE int self = -1;
	if (clone->pid_namespace >= 0) {
		self = pidfd_open(getpid(), 0);
		if (self < 0 || setns(clone->pid_namespace, CLONE_NEWPID) < 0)
			return err_sys(err, errno, "enter the container's pid namespace");
	}
	int dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	int pidfd = -1;
	pid_t pid = clone_child(clone, &pidfd);
	if (pid == 0)
		return 0;
	if (dumpable == 1)
		(void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	/* Children of ours in a container by mistake would be a hole; the kernel has no reason to
	 * refuse the namespace we are in. */
	if (self >= 0)
		CHECK(setns(self, CLONE_NEWPID) == 0);
	if (pid < 0)
		return err_sys(err, -pid, "make a process in the container's namespaces");
	*ret_pidfd = pidfd;
	return pid;
}
