/* monitor_link - the engine's side of a workload's monitor: what lies between it and the workload,
 * and how a process becomes one. */
#pragma once

#include "engine/launch.h"

struct monitor_link {
	int workload[3]; /* owned, as all here; what the workload gets as 0, 1, 2 */
	int stdin_fd, stdout_fd, stderr_fd; /* the monitor's ends */
	int console[2];                     /* monitor's end, init's end; with a terminal */
	int client[2]; /* command's end, monitor's end; for a caller that attaches at once */
	int lock_fd, listen_fd;
	int oom_events; /* where the kernel counts the kills for want of memory; -1: nowhere */
	char *program;  /* moat-monitor */
	struct strv exit_command; /* what it runs when the workload has ended */
	struct strv argv;         /* its arguments, when it is executed */
};
void monitor_link_init(struct monitor_link *link);
void monitor_link_done(struct monitor_link *link);
/* Makes FIFOs, socket and lock in the run directory. */
MUST_CHECK int monitor_link_open(const struct launch *launch, struct monitor_link *link,
	struct err *err);

/* Executes moat-monitor in place of the calling process; returns only when that failed.  What it
 * allocates is link's, so that it may run in a child that shares memory (spawn_shared). */
MUST_CHECK int monitor_link_exec(const struct launch *launch, struct monitor_link *link,
	pid_t init_pid, int init_pidfd, struct err *err);

/* Starts a monitor for a workload whose own was killed; the caller holds its lock. */
MUST_CHECK int monitor_link_adopt(struct engine *engine, const char *id, const struct dirs *dirs,
	const struct proc_id *init, bool tty, struct err *err);
