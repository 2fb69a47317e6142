/* console - the terminal of a process in a container. */
#pragma once

#include "base/cleanup.h"
#include "base/err.h"

struct spec_process;

/* A new pty of the container's own devpts: the master goes to console_socket (SCM_RIGHTS),
 * *ret_terminal is the other end. */
MUST_CHECK int console_open(int root_fd, const struct spec_process *process, int console_socket,
	int *ret_terminal, struct err *err);
/* Shows the terminal as /dev/console (dev_fd). */
MUST_CHECK int console_bind(int dev_fd, int terminal, struct err *err);
/* Makes it the controlling terminal of this session and stdin, stdout, stderr; closes it. */
MUST_CHECK int console_attach(int take_terminal, struct err *err);
