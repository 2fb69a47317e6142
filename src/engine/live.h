/* live - what is true of a workload now, read from the kernel and its directories: never waits. */
#pragma once

#include "base/proc.h"
#include "engine/engine.h"

struct live {
	enum workload_phase phase;
	struct proc_id init; /* where the init file stands */
	bool has_init;
	bool init_lives;
	bool monitor_lives;
	int64_t started_ns, finished_ns;
	int exit_status; /* as a shell counts, or WORKLOAD_EXIT_UNKNOWN */
	bool oom_killed;
};

/* run_fd may be -1 (no run directory), data_fd not. */
MUST_CHECK int live_read(int run_fd, int data_fd, struct live *ret_live, struct err *err);

/* Whether a monitor answers for the workload (it holds the lock in its run directory). */
bool live_monitor_lives(int run_fd);

/* The process that is the init's parent: its monitor, as long as that has not reaped it.  -ESRCH
 * otherwise. */
MUST_CHECK int live_monitor(const struct live *live, struct proc_id *ret_monitor);

/* Only the init's part of it: -ENOENT where none is recorded. */
MUST_CHECK int live_read_init(int run_fd, struct live *live);

/* Records the init's identity; the file's time is when the workload started. */
MUST_CHECK int live_write_init(int run_fd, const struct proc_id *init, struct err *err);
/* Records an end that no monitor could: wait_status -1 means unknown. */
MUST_CHECK int live_write_exit(int data_fd, int wait_status, struct err *err);

/* A wait status as a shell counts it. */
int live_shell_status(int wait_status);

/* Waits until the exit record stands; -ETIMEDOUT after timeout_ms (-1: for ever), -ECHILD when both
 * the init and its monitor are gone without one. */
MUST_CHECK int live_wait_exit(int run_fd, int data_fd, int timeout_ms, struct live *ret_live,
	struct err *err);

/* Sends a signal to the init, which stands for the workload behind every wall: a machine's process
 * passes it on.  -ESRCH when it has ended. */
MUST_CHECK int live_signal(const struct live *live, int signal_number, struct err *err);
