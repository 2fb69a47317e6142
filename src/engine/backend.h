/* backend - what an isolation is: the verbs behind which a container and a virtual machine
 * differ.  Restart, logs, attach, networks and volumes are engine code, written once.
 *
 * A verb that a backend lacks is NULL.  No command of this version asks for wait, pause, resume,
 * update or snapshot. */
#pragma once

#include "engine/launch.h"
#include "engine/live.h"

struct backend_stats {
	uint64_t memory_bytes, memory_peak_bytes, cpu_ns, pids;
	bool oom_killed;
};

struct backend_exec {
	const char *id;
	const struct live *live;
	const struct workload_spec *spec; /* of the workload */
	const struct engine_exec *request;
	int stdio[3];       /* borrowed; unused with a terminal */
	int console_socket; /* where the pty master goes; -1 without a terminal */
};

struct backend {
	const char *name;
	/* Whether this host offers it; why_not tells a person what is missing. */
	bool (*probe)(struct engine *engine, struct text *why_not);
	/* Makes what lasts from one start to the next, in launch->dirs; once, with the workload. */
	int (*make_disk)(struct launch *launch, struct err *err);
	/* Makes the workload's init and its monitor; the init waits.  Fills launch->init and the
	 * descriptors to go on with. */
	int (*create)(struct launch *launch, struct err *err);
	/* Lets the init execute the command; returns when it has, or why it could not. */
	int (*start)(struct launch *launch, struct err *err);
	/* Waits for the end of a workload that has no monitor any more. */
	int (*wait)(struct engine *engine, const char *id, int timeout_ms, struct err *err);
	int (*signal)(const struct live *live, int signal_number, struct err *err);
	/* Kills the workload where that is less than SIGKILL to its init: a machine still writes
	 * what it holds to its disk. */
	int (*end)(struct engine *engine, const char *id, struct err *err);
	/* Starts a further process inside; the caller's child. */
	int (*exec)(struct engine *engine, const struct backend_exec *exec, pid_t *ret_pid,
		int *ret_pidfd, struct err *err);
	int (*pause)(struct engine *engine, const char *id, struct err *err);
	int (*resume)(struct engine *engine, const char *id, struct err *err);
	int (*update)(struct engine *engine, const char *id, const struct workload_spec *spec,
		struct err *err);
	int (*stats)(struct engine *engine, const char *id, struct backend_stats *ret_stats);
	int (*snapshot)(struct engine *engine, const char *id, int dir_fd, struct err *err);
	/* Kills what lives of it and removes what the kernel holds for it.  Idempotent: repair
	 * calls it for workloads that were never finished. */
	int (*destroy)(struct engine *engine, const char *id, struct err *err);
	/* For compare.  The name of what runs the workload's instructions, where that is not
	 * plainly the processor. */
	const char *(*accelerator)(struct engine *engine);
	/* How many x86-64 system calls of the host's kernel are within reach of whoever has taken
	 * the workload's side of the wall. */
	unsigned (*host_calls)(struct engine *engine);
	/* Bytes of the host's memory that the wall needs for a workload beside what is the
	 * workload's; its monitor, which stands behind every wall, aside. */
	int (*own_memory)(const struct live *live, uint64_t *ret_bytes);
};

/* The backend of an isolation's name, as in backends.def. */
MUST_CHECK int backend_find(const char *isolation, const struct backend **ret_backend,
	struct err *err);
/* All of them; *ret_len rows. */
const struct backend *const *backend_all(size_t *ret_len);
