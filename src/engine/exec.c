/* exec - a further process in a running workload, as a child of the calling command.
 *
 * The process gets the caller's own pipes and /dev/null as they are.  A terminal or a file of the
 * host is not handed in (the workload could write to the one and read the other): what it prints
 * goes through a pipe, which this command copies. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/spawn.h"
#include "engine/backend.h"
#include "engine/running.h"
#include "engine/session.h"

void engine_exec_done(struct engine_exec *exec)
{
	strv_done(&exec->args);
	strv_done(&exec->env);
	free(exec->user);
	free(exec->workdir);
	*exec = (struct engine_exec){ 0 };
}

/* One of the three streams: where the process's end is, and what we copy between. */
struct stream {
	int process_fd; /* owned unless it is the caller's own */
	int our_fd;     /* owned; -1: nothing to copy */
	int caller_fd;  /* borrowed */
	bool is_owned;
};

static bool can_be_handed_in(int fd)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return false;
	return S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) || (S_ISCHR(st.st_mode) && !isatty(fd));
}

static int stream_open(int index, int caller_fd, struct stream *stream)
{
	*stream = (struct stream){ .process_fd = -1, .our_fd = -1, .caller_fd = caller_fd };
	if (caller_fd < 0) {
		stream->process_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		stream->is_owned = true;
		return stream->process_fd < 0 ? -errno : 0;
	}
	if (can_be_handed_in(caller_fd)) {
		stream->process_fd = caller_fd;
		return 0;
	}
	int pair[2];
	if (pipe2(pair, O_CLOEXEC) < 0)
		return -errno;
	stream->process_fd = pair[index == 0 ? 0 : 1];
	stream->our_fd = pair[index == 0 ? 1 : 0];
	stream->is_owned = true;
	return 0;
}

static void stream_release_process(struct stream *stream)
{
	if (stream->is_owned && stream->process_fd >= 0)
		(void)close(stream->process_fd);
	stream->process_fd = -1;
}

static void stream_close(struct stream *stream)
{
	stream_release_process(stream);
	if (stream->our_fd >= 0)
		(void)close(TAKE_FD(stream->our_fd));
}

/* Copies once from one to the other; false at the end. */
static bool copy_once(int from, int to)
{
	char bytes[8192];
	ssize_t n = read(from, bytes, sizeof(bytes));
	if (n < 0 && errno == EINTR)
		return true;
	return n > 0 && fd_write_all(to, bytes, (size_t)n) == 0;
}

/* Until the process has ended and its output has run dry. */
static int copy_streams(struct stream streams[3], int pidfd, struct err *err)
{
	bool has_ended = false;
	for (;;) {
		struct pollfd fds[4] = { { .fd = has_ended ? -1 : pidfd, .events = POLLIN },
			{ .fd = streams[1].our_fd, .events = POLLIN },
			{ .fd = streams[2].our_fd, .events = POLLIN },
			{ .fd = streams[0].our_fd >= 0 ? streams[0].caller_fd : -1,
				.events = POLLIN } };
		/* Something it left running may hold the pipes: the process's end counts. */
		int n = poll(fds, ARRAY_LEN(fds), has_ended ? 0 : -1);
		if (n < 0 && errno != EINTR)
			return err_sys(err, errno, "wait for the process");
		if (has_ended && n <= 0)
			return 0;
		for (int i = 1; i <= 2; i++) {
			if (fds[i].revents != 0 &&
				!copy_once(streams[i].our_fd, streams[i].caller_fd))
				stream_close(&streams[i]);
		}
		if (fds[3].revents != 0 && !copy_once(streams[0].caller_fd, streams[0].our_fd))
			stream_close(&streams[0]);
		if (fds[0].revents != 0) {
			has_ended = true;
			stream_close(&streams[0]);
		}
	}
}

static int finish(pid_t pid, int pidfd, int *ret_status, struct err *err)
{
	int status;
	int r = spawn_wait(pid, pidfd, -1, &status, err);
	if (r == 0)
		*ret_status = live_shell_status(status);
	return r;
}

static int exec_streams(struct engine *engine, struct backend_exec *exec,
	const struct engine_stdio *stdio, int *ret_status, struct err *err)
{
	bool detach = exec->request->detach;
	const int caller[3] = { exec->request->interactive && !detach ? stdio->in : -1,
		detach ? -1 : stdio->out, detach ? -1 : stdio->err };
	struct stream streams[3];
	int r = 0;
	for (int i = 0; i < 3; i++) {
		int s = stream_open(i, caller[i], &streams[i]);
		exec->stdio[i] = streams[i].process_fd;
		if (r == 0 && s < 0)
			r = err_sys(err, -s, "open the streams of the process");
	}
	pid_t pid;
	AUTO_CLOSE int pidfd = -1;
	const struct backend *backend;
	if (r == 0)
		r = backend_find(exec->spec->isolation, &backend, err);
	if (r == 0)
		r = backend->exec(engine, exec, &pid, &pidfd, err);
	for (int i = 0; i < 3; i++)
		stream_release_process(&streams[i]);
	*ret_status = 0;
	if (r == 0 && !detach) {
		r = copy_streams(streams, pidfd, err);
		if (r == 0)
			r = finish(pid, pidfd, ret_status, err);
	}
	for (int i = 0; i < 3; i++)
		stream_close(&streams[i]);
	return r;
}

static int exec_terminal(struct engine *engine, struct backend_exec *exec,
	const struct engine_stdio *stdio, int *ret_status, struct err *err)
{
	int sockets[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0)
		return err_sys(err, errno, "make a socket for the terminal");
	AUTO_CLOSE int ours = sockets[0];
	AUTO_CLOSE int theirs = sockets[1];
	exec->console_socket = theirs;
	pid_t pid;
	AUTO_CLOSE int pidfd = -1;
	const struct backend *backend;
	int r = backend_find(exec->spec->isolation, &backend, err);
	if (r == 0)
		r = backend->exec(engine, exec, &pid, &pidfd, err);
	if (r != 0)
		return r;
	(void)close(TAKE_FD(theirs));
	char byte;
	int master = -1;
	size_t fds_len = 0;
	if (fd_receive(ours, &byte, 1, &master, 1, &fds_len) < 0 || fds_len != 1)
		return err_set(err, ERR_SYSTEM, "the process sent no terminal");
	AUTO_CLOSE int owned = master;
	*ret_status = 0;
	if (exec->request->detach)
		return 0;
	r = session_run_pty(master, pidfd, stdio, exec->request->interactive, err);
	return r < 0 ? r : finish(pid, pidfd, ret_status, err);
}

int engine_exec(struct engine *engine, const char *name, const struct engine_exec *exec,
	const struct engine_stdio *stdio, int *ret_status, struct err *err)
{
	AUTO_DONE(workload) workload = { 0 };
	int r = running_find(engine, name, &workload);
	if (r == -ENOENT)
		r = engine_find(engine, name, &workload, err);
	if (r < 0)
		return r;
	struct live live = { .init.pid = workload.pid };
	if (workload.phase != WORKLOAD_RUNNING || proc_identify(workload.pid, &live.init) < 0)
		return err_set(err, ERR_CONFLICT, "workload %s is not running", name);
	struct backend_exec request = {
		.id = workload.id,
		.live = &live,
		.spec = &workload.spec,
		.request = exec,
		.stdio = { -1, -1, -1 },
		.console_socket = -1,
	};
	return exec->tty ? exec_terminal(engine, &request, stdio, ret_status, err)
			 : exec_streams(engine, &request, stdio, ret_status, err);
}
