/* container_report - what an init or an executed process says to the one who waits for it: whole
 * messages on a pipe, smaller than PIPE_BUF and so never cut. */
#pragma once

#include "base/cleanup.h"
#include "base/err.h"

void report_ready(int report_fd);
void report_failure(int report_fd, const struct err *err);
