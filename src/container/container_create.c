/* container_create - clones the init and returns; the init works in container_init.c.
 *
 * Namespaces that the document names by path are opened here, while the caller can still say what
 * is wrong, and entered there. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>

#include "base/mem.h"
#include "base/proc.h"
#include "base/report.h"
#include "container/container.h"
#include "container/container_clone.h"
#include "container/container_init.h"
#include "container/container_spec.h"
#include "container/mount_tree.h"

static void joins_done(struct container_joins *joins, int pid_namespace)
{
	for (int i = 0; i < joins->len; i++)
		(void)close(joins->fds[i]);
	cleanup_close(&pid_namespace);
}

/* Opens what is to be joined; the pid namespace is apart, since a child gets it at its birth. */
static int joins_open(const struct container_spec *spec, struct container_joins *joins,
	int *ret_pid_namespace, struct err *err)
{
	for (size_t i = 0; i < spec->namespaces_len; i++) {
		const struct spec_namespace *namespace = &spec->namespaces[i];
		if (namespace->path == NULL)
			continue;
		int fd = open(namespace->path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return err_sys(err, errno, "open namespace %s", namespace->path);
		if (namespace->flag == CLONE_NEWPID) {
			*ret_pid_namespace = fd;
			continue;
		}
		joins->flags[joins->len] = namespace->flag;
		joins->fds[joins->len++] = fd;
	}
	return 0;
}

int container_create(const struct container_create *create, pid_t *ret_pid, int *ret_pidfd,
	struct err *err)
{
	CHECK(create->report_fd > 2 && create->go_fd > 2);
	struct container_joins joins = { .len = 0 };
	int pid_namespace = -1;
	int r = joins_open(create->spec, &joins, &pid_namespace, err);
	if (r < 0) {
		joins_done(&joins, pid_namespace);
		return r;
	}
	const struct container_clone clone = {
		/* The cgroup namespace is made by the init when it is in its group. */
		.namespaces = (uint64_t)(spec_namespaces_new(create->spec) & ~CLONE_NEWCGROUP),
		.pid_namespace = pid_namespace,
		.cgroup = create->cgroup,
	};
	int pidfd = -1;
	pid_t pid = container_clone(&clone, &pidfd, err);
	if (pid == 0)
		container_init_run(create, &joins);
	joins_done(&joins, pid_namespace);
	if (pid < 0)
		return pid;
	*ret_pid = pid;
	*ret_pidfd = pidfd;
	return 0;
}

int container_report_wait(int report_fd, enum container_report until, int timeout_ms,
	struct err *err)
{
	return report_wait(report_fd,
		until == CONTAINER_READY ? REPORT_IS_READY : REPORT_IS_STARTED, timeout_ms,
		"the container", err);
}

int container_mounts_open(const struct container_spec *spec, int **ret_fds, size_t *ret_len,
	struct err *err)
{
	size_t len = spec->mounts_len;
	int *fds = mem_new(len + 1, sizeof(*fds));
	int r = 0;
	for (size_t i = 0; i < len; i++)
		fds[i] = -1;
	for (size_t i = 0; r == 0 && i < len; i++)
		if (spec->mounts[i].is_bind)
			r = mount_source_open(&spec->mounts[i], &fds[i], err);
	if (r < 0) {
		for (size_t i = 0; i < len; i++)
			cleanup_close(&fds[i]);
		free(fds);
		return r;
	}
	*ret_fds = fds;
	*ret_len = len;
	return 0;
}

int container_signal(int pidfd, int signal_number, struct err *err)
{
	int r = proc_signal(pidfd, signal_number);
	return r < 0 ? err_sys(err, -r, "send signal %d to the container", signal_number) : 0;
}
