/* container_exec - another process in a running container.
 *
 * One clone: into the container's pid namespace (container_clone.c) and, on v2, its cgroup.  The
 * child joins the cgroup on v1 while it still sees the host, enters all other namespaces by one
 * setns(2) on the init's pidfd, and goes the same way as an init from there (process_setup.c).  The
 * mount namespace is hostile: nothing is opened in it but through its root's descriptor. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/proc.h"
#include "base/report.h"
#include "container/console.h"
#include "container/container.h"
#include "container/container_clone.h"
#include "container/container_spec.h"
#include "container/process_setup.h"
#include "container/seccomp_filter.h"

#define EXEC_TIMEOUT_MS 10000

static int enter(const struct container_exec *exec, struct seccomp_filter *ret_filter,
	struct err *err)
{
	int r = seccomp_filter_get(exec->spec, exec->cache_dir, ret_filter, err);
	if (r == 0 && exec->cgroup != NULL && cgroup_v2_fd(exec->cgroup) < 0)
		r = cgroup_join_self(exec->cgroup, err);
	if (r < 0)
		return r;
	const int all = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
	if (setns(exec->pidfd, all) < 0)
		return err_sys(err, errno, "enter the container");
	return 0;
}

static int become(const struct container_exec *exec, int report_fd, struct err *err)
{
	const struct spec_process *process = &exec->spec->process;
	struct seccomp_filter filter = { 0 };
	struct container_user user = { 0 };
	int terminal = -1;
	int r = enter(exec, &filter, err);
	if (r < 0)
		return r;
	AUTO_CLOSE int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_sys(err, errno, "open the container's root");
	r = process_user(root, process, exec->user, &user, err);
	if (r == 0 && process->has_terminal)
		r = console_open(root, process, exec->console_socket, &terminal, err);
	if (r < 0)
		return r;
	if (setsid() < 0)
		return err_sys(err, errno, "start a session");
	r = terminal >= 0 ? console_attach(terminal, err) : process_stdio(exec->stdio, err);
	if (r == 0)
		r = process_chdir(root, process, err);
	if (r < 0)
		return r;
	(void)close(TAKE_FD(root));
	r = fd_close_others(&report_fd, 1);
	if (r < 0)
		return err_sys(err, -r, "close descriptors");
	r = process_drop(exec->spec, &user, &filter, err);
	return r < 0 ? r : process_exec(process, &user, err);
}

static int set_oom_score(const struct spec_process *process, pid_t pid, struct err *err)
{
	if (!process->has_oom_score_adj)
		return 0;
	AUTO_CLOSE int fd = proc_open_file(pid, "oom_score_adj", O_WRONLY);
	AUTO_FREE char *value = text_format("%d", process->oom_score_adj);
	int r = fd < 0 ? fd : fd_write_all(fd, value, strlen(value));
	/* Lowering needs CAP_SYS_RESOURCE; and the process may have ended. */
	return r == 0 || r == -EACCES || r == -ENOENT || r == -ESRCH
		       ? 0
		       : err_sys(err, -r, "set oom_score_adj");
}

static void reap(int pidfd)
{
	siginfo_t ended;
	(void)!proc_signal(pidfd, SIGKILL);
	while (waitid(P_PIDFD, (id_t)pidfd, &ended, WEXITED) < 0 && errno == EINTR)
		;
}

int container_exec(const struct container_exec *exec, pid_t *ret_pid, int *ret_pidfd,
	struct err *err)
{
	int pipe_fds[2];
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return err_sys(err, errno, "make a pipe");
	AUTO_CLOSE int report_in = pipe_fds[0];
	/* Out of the way of stdin, stdout and stderr, in case the caller has none of them. */
	AUTO_CLOSE int report_out = fcntl(pipe_fds[1], F_DUPFD_CLOEXEC, 3);
	(void)close(pipe_fds[1]);
	if (report_out < 0)
		return err_sys(err, errno, "make a pipe");

	const struct container_clone clone = { .pid_namespace = exec->pidfd,
		.cgroup = exec->cgroup };
	AUTO_CLOSE int pidfd = -1;
	pid_t pid = container_clone(&clone, &pidfd, err);
	if (pid < 0)
		return pid;
	if (pid == 0) {
		(void)umask(0);
		struct err why = { 0 };
		(void)!become(exec, report_out, &why);
		report_failure(report_out, &why);
		_exit(err_exit_status(why.kind));
	}
	(void)close(TAKE_FD(report_out));
	int r = set_oom_score(&exec->spec->process, pid, err);
	if (r == 0)
		r = container_report_wait(report_in, CONTAINER_STARTED, EXEC_TIMEOUT_MS, err);
	if (r < 0) {
		reap(pidfd);
		return r;
	}
	*ret_pid = pid;
	*ret_pidfd = TAKE_FD(pidfd);
	return 0;
}
