/* attach - a caller joins a running workload by its monitor. */
#include <errno.h>
#include <fcntl.h>

#include "engine/handle.h"
#include "engine/live.h"
#include "engine/session.h"
#include "wire/monitor_client.h"

int engine_attach(struct engine *engine, const char *name, const struct engine_stdio *stdio,
	int *ret_status, struct err *err)
{
	AUTO_DONE(workload) workload = { 0 };
	int r = engine_find(engine, name, &workload, err);
	if (r < 0)
		return r;
	if (workload.phase != WORKLOAD_RUNNING)
		return err_set(err, ERR_CONFLICT,
			"cannot attach to workload %s: it is not running, start it first", name);
	AUTO_CLOSE int run_fd =
		openat(engine->run_fd, workload.id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_CLOSE int client_fd = -1;
	if (run_fd < 0)
		return err_set(err, ERR_CONFLICT, "workload %s has just ended", name);
	r = monitor_socket_connect(run_fd, &client_fd, err);
	if (r < 0)
		return r;
	struct proc_id init;
	AUTO_CLOSE int pidfd = -1;
	if (proc_identify(workload.pid, &init) == 0)
		(void)!proc_open(&init, &pidfd);
	struct session session = {
		.client_fd = client_fd,
		.init_pidfd = pidfd,
		.stdio = stdio,
		.interactive = workload.spec.interactive,
		.tty = workload.spec.tty,
	};
	uint32_t wants = MONITOR_STDOUT | MONITOR_STDERR;
	if (workload.spec.interactive && stdio->in >= 0)
		wants |= MONITOR_STDIN_BIT;
	r = monitor_send(client_fd, MONITOR_ATTACH, wants, NULL, 0);
	/* -EPIPE: it has ended already; its last message can still be read. */
	if (r < 0 && r != -EPIPE)
		return err_sys(err, -r, "attach to workload %s", name);
	r = session_run(&session, err);
	if (r == 0)
		*ret_status = session.is_detached       ? 0
			      : session.wait_status < 0 ? 125
							: live_shell_status(session.wait_status);
	return r;
}
