/* exit_record - how a workload ended, found out and written down. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/err.h"

struct exit_record {
	bool known;
	int status; /* wait status, if known */
	bool oom;
	int64_t wall_ns;
};

/* The wait status of an init that has ended: our child, or (adopted) a stranger's, which the kernel
 * tells only after it was reaped: -EAGAIN until then, -ENODATA if it never will. */
MUST_CHECK int exit_record_child(pid_t pid, int *ret_status);
MUST_CHECK int exit_record_stranger(int pidfd, bool reaped, int *ret_status);

/* Whether the kernel killed a member of the cgroup for want of memory; events_fd may be -1. */
bool exit_record_oom(int events_fd);

/* Writes MONITOR_EXIT_FILE to data_dir or, where that is full, to run_dir. */
MUST_CHECK int exit_record_write(const struct exit_record *record, int data_dir, int run_dir,
	struct err *err);
