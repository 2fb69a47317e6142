/* proc - processes by pidfd, and the one private procfs (THREATS rule 2). */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/err.h"

/* A process that is surely the same one later: its pid and its start time since boot in clock ticks
 * (proc(5), /proc/PID/stat field 22). */
struct proc_id {
	pid_t pid;
	uint64_t start_ticks;
};

/* An O_PATH fd of a procfs of our own (fsopen, in no mount table, of the caller's pid namespace),
 * or of /proc after its file system type was checked.  Borrowed; opened once per process, and anew
 * where it was closed. */
MUST_CHECK int proc_root(struct err *err);

MUST_CHECK int proc_identify(pid_t pid, struct proc_id *ret_id);
/* A pidfd of that very process: -ESRCH when it has gone or the number was reused. */
MUST_CHECK int proc_open(const struct proc_id *id, int *ret_pidfd);
/* Opens /proc/PID/NAME ("ns/net", "root"); check with the pidfd afterwards that it still lives. */
MUST_CHECK int proc_open_file(pid_t pid, const char *name, int flags);

MUST_CHECK int proc_signal(int pidfd, int signal_number); /* pidfd_send_signal(2) */
/* Waits for the end: 0, or -ETIMEDOUT.  timeout_ms -1 waits for ever. */
MUST_CHECK int proc_wait_end(int pidfd, int timeout_ms);
/* The wait status of an ended process that was another's child, by PIDFD_GET_INFO with
 * PIDFD_INFO_EXIT (Linux 6.15); -ENODATA where the kernel cannot tell. */
MUST_CHECK int proc_exit_status(int pidfd, int *ret_status);

/* SIGTERM and "TERM" and "15" to 15; -EINVAL.  And back: "SIGTERM", "SIGRTMIN+1". */
MUST_CHECK int proc_signal_parse(const char *name, int *ret_signal);
const char *proc_signal_name(int signal_number, char buffer[16]);
