/* container - the container wall: namespaces, mounts, cgroups, capabilities, seccomp, built from an
 * OCI runtime-spec document. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/json.h"
#include "base/text.h"

/* ---- the document (runtime-spec config.md, config-linux.md) ---- */
struct container_spec;

/* Reads and checks a config.json tree; unknown parts are ignored as the specification asks, known
 * ones that cannot be honoured are ERR_UNSUPPORTED by name. */
MUST_CHECK int container_spec_parse(json *document, struct container_spec **ret_spec,
	struct err *err);
void container_spec_free(struct container_spec *spec);
DEFINE_AUTO(container_spec)

/* A document with Docker's defaults for everything but what a workload chooses: namespaces, mounts,
 * masked and read-only paths, devices, capabilities, the annotation "moat.seccomp": "default". */
json *container_spec_defaults(void);

/* ---- users, without NSS ---- */
struct container_user {
	uid_t uid;
	gid_t gid;
	gid_t *groups; /* owned; supplementary, as the image's /etc/group says */
	size_t groups_len;
	char *home; /* owned; "/" where passwd has none */
	char *name; /* owned; NULL where only a number is known */
};
/* "name", "uid", "name:group", "uid:gid"; "" is root.  root_fd is the image's root.  Unknown names
 * are ERR_NOT_FOUND, numbers above 2^31-1 ERR_INVALID. */
MUST_CHECK int container_user_resolve(int root_fd, const char *user,
	struct container_user *ret_user, struct err *err);
void container_user_done(struct container_user *user); /* leaves it empty */

/* ---- cgroups: v1, hybrid and v2 behind one table ---- */
struct cgroup;
struct cgroup_limits { /* 0: not limited */
	int64_t cpu_quota_us, cpu_period_us, cpu_shares;
	uint64_t memory_bytes;
	int64_t pids;
};
struct cgroup_stats {
	uint64_t memory_bytes, memory_peak_bytes, cpu_ns, pids, oom_kills;
};
/* Creates PATH ("moat/ID") in every hierarchy it needs and sets the limits and the device list.
 * limits NULL: those of the document (linux.resources).  A controller that a limit needs and the
 * host lacks is ERR_UNSUPPORTED by name; groups made by a failed call are removed again. */
MUST_CHECK int cgroup_create(const char *path, const struct cgroup_limits *limits,
	const struct container_spec *spec, struct cgroup **ret_cgroup, struct err *err);
MUST_CHECK int cgroup_open(const char *path, struct cgroup **ret_cgroup, struct err *err);
void cgroup_free(struct cgroup *cgroup); /* closes; the groups stay */
DEFINE_AUTO(cgroup)
/* The calling single-threaded process joins.  v1: "0" into each `tasks` file, which unlike
 * cgroup.procs waits for no RCU grace period (0.15 ms against 11; docs/decisions). */
MUST_CHECK int cgroup_join_self(const struct cgroup *cgroup, struct err *err);
/* fork(2) into the group: on v2 the child is born in it, on v1 it has to join (cgroup_join_self).
 * 0 in the child, which is not dumpable. */
MUST_CHECK pid_t cgroup_fork(const struct cgroup *cgroup, int *ret_pidfd, struct err *err);
/* The v2 directory for CLONE_INTO_CGROUP, or -1 on v1; borrowed. */
int cgroup_v2_fd(const struct cgroup *cgroup);
MUST_CHECK int cgroup_stats_read(const struct cgroup *cgroup, struct cgroup_stats *ret_stats);
/* The file in which the kernel counts members killed for want of memory (memory.oom_control,
 * memory.events); *ret_fd -1 where no memory controller is. */
MUST_CHECK int cgroup_oom_events_open(const struct cgroup *cgroup, int *ret_fd, struct err *err);
MUST_CHECK int cgroup_freeze(const struct cgroup *cgroup, bool frozen, struct err *err);
/* SIGKILL to every member until none is left, at most deadline_ms. */
MUST_CHECK int cgroup_kill(const struct cgroup *cgroup, int deadline_ms, struct err *err);
/* Removes the groups of PATH; 0 if there are none.  Waits for dying members up to deadline_ms. */
MUST_CHECK int cgroup_remove(const char *path, int deadline_ms, struct err *err);
const char *cgroup_version(void); /* "v1", "hybrid", "v2" for info */

/* ---- creating ---- */
struct container_create {
	const struct container_spec *spec;
	const struct cgroup *cgroup;
	/* Called in the new mount namespace (private propagation); returns a detached mount that
	 * becomes the root. */
	int (*mount_root)(void *context, int *ret_mount_fd, struct err *err);
	void *context;
	const char
		*root_dir; /* an empty host directory the root is attached to before pivot_root */
	const char *cache_dir; /* compiled seccomp filters; NULL: compiled each time */
	const char *user;      /* resolved in the container's root; NULL: process.user */
	int stdio[3];          /* borrowed; unused with a terminal */
	int console_socket;    /* with process.terminal: the pty master is sent here (SCM_RIGHTS) */
	int go_fd; /* the init waits for one byte here before exec; end of file: it dies.  Above 2
		    */
	int report_fd; /* CLOEXEC write end: see container_report_wait; closes at exec.  Above 2 */
	const int *ready_mounts; /* detached mounts for the spec's bind mounts, by index, or -1 */
};
/* Clones the init in its namespaces as a child of the caller and returns at once; it sets itself up
 * while the caller goes on, reports, waits at go_fd and executes the process.  The caller has one
 * thread.  With a cgroup of v2 and CLONE_INTO_CGROUP the init is born in it, on v1 it joins. */
MUST_CHECK int container_create(const struct container_create *create, pid_t *ret_pid,
	int *ret_pidfd, struct err *err);

/* What the init says at report_fd.  First: ready, or an error.  Then, after go: end of file when
 * exec worked, or an error (ERR_NO_COMMAND, ERR_NOT_EXECUTABLE, ...). */
enum container_report { CONTAINER_READY, CONTAINER_STARTED };
MUST_CHECK int container_report_wait(int report_fd, enum container_report until, int timeout_ms,
	struct err *err);

/* Opens the sources of the spec's bind mounts in the caller's mount namespace (open_tree), so that
 * a bad source fails before anything is made; caller closes and frees. */
MUST_CHECK int container_mounts_open(const struct container_spec *spec, int **ret_fds,
	size_t *ret_len, struct err *err);

/* ---- exec in a running container ---- */
struct container_exec {
	int pidfd; /* of its init */
	pid_t pid;
	const struct container_spec
		*spec; /* its process part: args, env, cwd, user, caps, terminal */
	const struct cgroup *cgroup;
	const char *cache_dir;
	int stdio[3];
	int console_socket;
	const char *user; /* resolved inside the container; NULL: the spec's */
};
/* Starts the process; ERR_NO_COMMAND and the like as for create.  *ret_pidfd is waitable by the
 * caller (its child). */
MUST_CHECK int container_exec(const struct container_exec *exec, pid_t *ret_pid, int *ret_pidfd,
	struct err *err);

/* Sends signal to the init; -ESRCH when it has ended. */
MUST_CHECK int container_signal(int pidfd, int signal_number, struct err *err);
/* How many x86-64 system calls the filter of a default document lets through, with some arguments
 * at least. */
unsigned container_syscalls_count(void);
/* Which parts of the wall this host offers, for info; NULL-terminated names. */
MUST_CHECK int container_probe(struct strv *ret_features, struct err *err);
