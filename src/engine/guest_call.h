/* guest_call - commands to moat-guest in a running machine, through the machine's socket
 * RUN/ID/vm.sock (wire/guest_msg.h). */
#pragma once

#include "engine/backend.h"

/* The socket, for the machine's process to accept at. */
MUST_CHECK int guest_call_listen(int run_fd, int *ret_socket, struct err *err);

/* Runs a process in the machine.  The caller's child *ret_pid stands for it here: it carries its
 * streams and ends with its status. */
MUST_CHECK int guest_call_exec(struct engine *engine, const struct backend_exec *exec,
	pid_t *ret_pid, int *ret_pidfd, struct err *err);

/* Has the guest kill the workload: it then writes to the disk what is left, and ends the machine.
 * An error, after some seconds, where the guest does not answer. */
MUST_CHECK int guest_call_end(struct engine *engine, const char *id, struct err *err);
