/* report - what a workload's first process, or who starts it, says to the one who waits: whole
 * messages on a pipe, smaller than PIPE_BUF and so never cut.
 *
 * READY or a failure, then a failure or the end of the pipe: that everything went well is said by
 * silence, so a write end that a successful exec closes needs no one to speak. */
#pragma once

#include "base/cleanup.h"
#include "base/err.h"

void report_ready(int report_fd);
void report_failure(int report_fd, const struct err *err);

/* Waits on the read end for READY or for the end behind it; timeout_ms < 0: for ever.  A reported
 * failure is returned as if it had happened here.  who: "the container". */
enum report_stage { REPORT_IS_READY, REPORT_IS_STARTED };
MUST_CHECK int report_wait(int report_fd, enum report_stage until, int timeout_ms, const char *who,
	struct err *err);
