/* worker - this program again, in a role (main.c): a short-lived process for archives or the
 * firewall. */
#pragma once

#include <sys/types.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/text.h"

/* Runs a role to its end: input on its stdin, what it prints into ret_output (NULL: not wanted). */
MUST_CHECK int worker_collect(const char *role, const char *argument, struct view input,
	int timeout_ms, struct text *ret_output, struct err *err);

/* Starts a role that inherits fds under their own numbers (the arguments name them); its stdout is
 * a pipe, whose read end the caller gets with the process. */
struct worker {
	pid_t pid;
	int pidfd;     /* owned */
	int answer_fd; /* owned */
};
MUST_CHECK int worker_start(const char *role, const struct strv *arguments, const int *fds,
	size_t fds_len, struct worker *ret_worker, struct err *err);
/* Reads the answer, a line "ok ..." (ret_answer gets what follows "ok ") or "error KIND text", and
 * reaps. */
MUST_CHECK int worker_finish(struct worker *worker, struct text *ret_answer, struct err *err);
/* Kills and reaps one that is not wanted any more. */
void worker_abandon(struct worker *worker);
/* The answer of a role's body, on its stdout; returns the exit status for main(). */
int worker_answer(int result, const struct err *err, struct view text);
