/* spawn - other programs and forked helpers, with an explicit list of what they inherit. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/text.h"

struct spawn {
	const char *const *argv; /* argv[0] is the path that is executed; no search in PATH */
	const char *const *envp; /* NULL: empty */
	int stdio[3];            /* -1: /dev/null */
	const int *keep;         /* further descriptors that stay open under their own number */
	size_t keep_len;
	bool new_session;
};

/* Starts it (vfork semantics); *ret_pidfd, if wanted, is the caller's.  A program that cannot be
 * executed is an error here, not an exit status. */
MUST_CHECK int spawn_start(const struct spawn *spawn, pid_t *ret_pid, int *ret_pidfd,
	struct err *err);
/* Waits at most timeout_ms (-1: for ever), then kills.  *ret_status as of waitpid. */
MUST_CHECK int spawn_wait(pid_t pid, int pidfd, int timeout_ms, int *ret_status, struct err *err);
/* Start, feed input (spawn->stdio does not count), append stdout to *ret_stdout, wait.  More than
 * 64 KiB of stdout is ERR_LIMIT; an exit status other than 0 is an error that carries the last line
 * of stderr. */
MUST_CHECK int spawn_collect(const struct spawn *spawn, struct view input, int timeout_ms,
	struct text *ret_stdout, struct err *err);

/* Runs `run` in a child that shares the caller's memory but nothing else (vfork semantics), on a
 * stack of its own, with all signals blocked; comes back when the child has executed another
 * program or ended, also by returning (status 127).  What `run` stores the caller finds; what it
 * allocates it must free.  For a caller with one thread that handles no signal the child may
 * unblock.  Returns the pid or a negative errno; *ret_pidfd, if wanted, is the caller's. */
typedef void spawn_shared_fn(void *context);
MUST_CHECK pid_t spawn_shared(spawn_shared_fn *run, void *context, int *ret_pidfd);

/* fork(2) with a pidfd (clone3; SIGCHLD at its end): 0 in the child, or a negative errno. */
MUST_CHECK pid_t spawn_fork(uint64_t clone_flags, int *ret_pidfd);

/* The path of a program installed beside this one ("moat-monitor"), caller owns. */
MUST_CHECK int spawn_sibling(const char *name, char **ret_path, struct err *err);
