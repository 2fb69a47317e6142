/* container_init - a table of steps from a fresh clone to the workload's exec.
 *
 * The order follows from what each step needs.  While the host's mounts are still visible: the
 * cgroup, the root, the sources of binds, the filter's cache.  All work inside the root goes
 * through descriptors, so pivot_root comes last of the mounts and only cuts off the host.  Then the
 * rights are given up, READY is said, and the process waits for its go while the caller connects
 * the network through /proc/PID/ns/net.
 *
 * The process is not dumpable from birth (the caller clones it so) until exec.  A step that fails
 * undoes nothing: the namespaces go with the process. */
#include "container/container_init.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/report.h"
#include "base/step.h"
#include "container/console.h"
#include "container/container_spec.h"
#include "container/mount_tree.h"
#include "container/process_setup.h"
#include "container/seccomp_filter.h"
#include "container/sysctl.h"

struct init {
	const struct container_create *create;
	const struct container_spec *spec;
	const struct container_joins *joins;
	struct mount_tree tree;
	struct seccomp_filter filter;
	struct container_user user;
	int terminal; /* -1: none */
};

static int enter_cgroup(void *context, struct err *err)
{
	const struct init *init = context;
	const struct cgroup *cgroup = init->create->cgroup;
	if (cgroup != NULL && cgroup_v2_fd(cgroup) < 0) {
		int r = cgroup_join_self(cgroup, err);
		if (r < 0)
			return r;
	}
	/* After joining, so that the group is the root of what the container sees. */
	if ((spec_namespaces_new(init->spec) & CLONE_NEWCGROUP) && unshare(CLONE_NEWCGROUP) < 0)
		return err_sys(err, errno, "make a cgroup namespace");
	return 0;
}

static int enter_namespaces(void *context, struct err *err)
{
	const struct init *init = context;
	for (int i = 0; i < init->joins->len; i++)
		if (setns(init->joins->fds[i], init->joins->flags[i]) < 0)
			return err_sys(err, errno, "join a namespace");
	return 0;
}

static int mount_root(void *context, struct err *err)
{
	struct init *init = context;
	const struct container_create *create = init->create;
	/* Nothing that is mounted from here on may reach the host. */
	if (mount(NULL, "/", NULL, MS_REC | init->spec->root_propagation, NULL) < 0)
		return err_sys(err, errno, "separate the container's mounts from the host's");
	int r = create->mount_root(create->context, &init->tree.root_fd, err);
	if (r < 0)
		return err_wrap(err, r, "root file system");
	const struct mount_attr attr = { .propagation = MS_PRIVATE };
	AUTO_CLOSE int target = open(create->root_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (target < 0)
		return err_sys(err, errno, "open %s", create->root_dir);
	if (mount_setattr(init->tree.root_fd, "", AT_EMPTY_PATH | AT_RECURSIVE,
		    (struct mount_attr *)(uintptr_t)&attr, sizeof(attr)) < 0)
		return err_sys(err, errno, "make the root file system private");
	return mount_attach(init->tree.root_fd, target, create->root_dir, err);
}

static int fill_mounts(void *context, struct err *err)
{
	struct init *init = context;
	return mount_tree_fill(&init->tree, err);
}

static int make_devices(void *context, struct err *err)
{
	struct init *init = context;
	return mount_tree_add_devices(&init->tree, err);
}

static int open_console(void *context, struct err *err)
{
	struct init *init = context;
	if (!init->spec->process.has_terminal)
		return 0;
	int r = console_open(init->tree.root_fd, &init->spec->process, init->create->console_socket,
		&init->terminal, err);
	if (r < 0 || init->tree.dev_fd < 0)
		return r;
	return console_bind(init->tree.dev_fd, init->terminal, err);
}

static int raise_loopback(void *context, struct err *err)
{
	const struct init *init = context;
	if (!(spec_namespaces_new(init->spec) & CLONE_NEWNET))
		return 0;
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		return err_sys(err, errno, "bring up the loopback interface");
	return 0;
}

static int set_names(void *context, struct err *err)
{
	const struct container_spec *spec = ((const struct init *)context)->spec;
	if (spec->hostname != NULL && sethostname(spec->hostname, strlen(spec->hostname)) < 0)
		return err_sys(err, errno, "set hostname \"%s\"", spec->hostname);
	if (spec->domainname != NULL &&
		setdomainname(spec->domainname, strlen(spec->domainname)) < 0)
		return err_sys(err, errno, "set domainname \"%s\"", spec->domainname);
	return 0;
}

static int write_proc(void *context, struct err *err)
{
	const struct init *init = context;
	const struct spec_process *process = &init->spec->process;
	if (init->spec->sysctls.len > 0 && init->tree.proc_fd < 0)
		return err_set(err, ERR_INVALID, "linux.sysctl needs a procfs at /proc");
	for (size_t i = 0; i < init->spec->sysctls.len; i++) {
		int r = sysctl_write(init->tree.proc_fd, init->spec->sysctls.items[i], err);
		if (r < 0)
			return r;
	}
	if (!process->has_oom_score_adj || init->tree.proc_fd < 0)
		return 0;
	AUTO_FREE char *path = text_format("%d/oom_score_adj", getpid());
	AUTO_FREE char *value = text_format("%d", process->oom_score_adj);
	int r = file_poke_at(init->tree.proc_fd, path, value, err);
	/* Lowering needs CAP_SYS_RESOURCE; without it the score stays as it is. */
	return r == -EACCES ? 0 : r;
}

static int guard_paths(void *context, struct err *err)
{
	struct init *init = context;
	int r = mount_tree_guard(&init->tree, err);
	if (r < 0 || !init->spec->is_root_readonly)
		return r;
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
	if (mount_setattr(init->tree.root_fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return err_sys(err, errno, "make the root read-only");
	return 0;
}

static int find_user(void *context, struct err *err)
{
	struct init *init = context;
	int r = process_user(init->tree.root_fd, &init->spec->process, init->create->user,
		&init->user, err);
	/* The working directory is made here, before the root may become read-only. */
	return r < 0 ? r
		     : process_make_cwd(init->tree.root_fd, &init->spec->process, &init->user, err);
}

static int load_filter(void *context, struct err *err)
{
	struct init *init = context;
	return seccomp_filter_get(init->spec, init->create->cache_dir, &init->filter, err);
}

static int leave_host(void *context, struct err *err)
{
	const struct init *init = context;
	if (fchdir(init->tree.root_fd) < 0)
		return err_sys(err, errno, "enter the root");
	/* pivot_root(2), "pivot_root(".", ".")": the old root lies on top of the new one and is
	 * taken off. */
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return err_sys(err, errno, "change the root");
	if (umount2(".", MNT_DETACH) < 0)
		return err_sys(err, errno, "leave the host's mounts");
	return 0;
}

static int take_stdio(void *context, struct err *err)
{
	struct init *init = context;
	if (setsid() < 0)
		return err_sys(err, errno, "start a session");
	int r = init->terminal >= 0 ? console_attach(TAKE_FD(init->terminal), err)
				    : process_stdio(init->create->stdio, err);
	return r < 0 ? r : process_chdir(init->tree.root_fd, &init->spec->process, err);
}

static int close_host(void *context, struct err *err)
{
	struct init *init = context;
	mount_tree_done(&init->tree);
	const int keep[] = { init->create->report_fd, init->create->go_fd };
	int r = fd_close_others(keep, ARRAY_LEN(keep));
	return r < 0 ? err_sys(err, -r, "close descriptors") : 0;
}

static int drop_rights(void *context, struct err *err)
{
	struct init *init = context;
	return process_drop(init->spec, &init->user, &init->filter, err);
}

static const struct step init_steps[] = {
	{ "cgroup", enter_cgroup, NULL },
	{ "join", enter_namespaces, NULL },
	{ "filter", load_filter, NULL },
	{ "root", mount_root, NULL },
	{ "mounts", fill_mounts, NULL },
	{ "devices", make_devices, NULL },
	{ "console", open_console, NULL },
	{ "loopback", raise_loopback, NULL },
	{ "names", set_names, NULL },
	{ "sysctl", write_proc, NULL },
	{ "user", find_user, NULL },
	{ "guard", guard_paths, NULL },
	{ "pivot", leave_host, NULL },
	{ "stdio", take_stdio, NULL },
	{ "close", close_host, NULL },
	{ "rights", drop_rights, NULL },
};

static void wait_go(int go_fd)
{
	char byte;
	int r = fd_read_exact(go_fd, &byte, 1);
	/* Who made this container has died or given it up: so does it. */
	if (r < 0)
		_exit(125);
}

_Noreturn void container_init_run(const struct container_create *create,
	const struct container_joins *joins)
{
	struct init init = {
		.create = create,
		.spec = create->spec,
		.joins = joins,
		.tree = { .spec = create->spec,
			.cgroup = create->cgroup,
			.ready_mounts = create->ready_mounts,
			.root_fd = -1,
			.proc_fd = -1,
			.dev_fd = -1 },
		.terminal = -1,
	};
	(void)umask(0); /* modes of nodes and directories are meant as they are written */
	struct err err = { 0 };
	int r = step_run("init", init_steps, ARRAY_LEN(init_steps), &init, &err);
	if (r == 0) {
		report_ready(create->report_fd);
		wait_go(create->go_fd);
		(void)!process_exec(&create->spec->process, &init.user, &err);
	}
	report_failure(create->report_fd, &err);
	_exit(err_exit_status(err.kind));
}
