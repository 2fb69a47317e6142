/* session - a caller attached to a workload by its monitor: output out, input in, signals and the
 * window's size on their way, until the workload ends or the caller detaches. */
#pragma once

#include "engine/engine.h"

struct session {
	int client_fd;  /* borrowed; attached at the monitor (MONITOR_ATTACH was sent) */
	int init_pidfd; /* borrowed; gets the signals; -1: they stay here */
	const struct engine_stdio *stdio;
	bool interactive, tty;
	/* out */
	bool is_detached;
	int wait_status; /* -1: unknown (the monitor was lost) */
};
MUST_CHECK int session_run(struct session *session, struct err *err);

/* The same for a process whose pty master the caller holds (exec -t): until pidfd ends. */
MUST_CHECK int session_run_pty(int master_fd, int pidfd, const struct engine_stdio *stdio,
	bool interactive, struct err *err);
