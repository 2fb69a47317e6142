/* guest_call - the child that stands for a process in a machine.
 *
 * It connects, says EXEC, reports what came of it to the command that forked it, and then carries
 * streams: stdin as STDIN messages, OUTPUT messages to stdout and stderr, window sizes as RESIZE,
 * until EXITED tells how to end.  It blocks when the reader of its output does: the guest's credit
 * (vsock) then stops the process there. */
#include "engine/guest_call.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/report.h"
#include "base/spawn.h"
#include "base/unix_socket.h"
#include "container/container.h"
#include "engine/host_pty.h"
#include "engine/live.h"
#include "engine/raw_terminal.h"
#include "wire/guest_msg.h"

#define SOCKET_NAME "vm.sock"
#define EXEC_TIMEOUT_MS 60000
#define END_TIMEOUT_S 5
#define CONNECT_ANSWER "OK\n"
#define INPUT_MAX 8192

/* The child's view of one call. */
struct call {
	const struct backend_exec *exec;
	int socket;     /* owned */
	int terminal;   /* owned; -1: none */
	int signal_fd;  /* owned; window size changes; -1 without a terminal */
	int in, out[2]; /* borrowed */
	struct guest_decoder decoder;
};

int guest_call_listen(int run_fd, int *ret_socket, struct err *err)
{
	return unix_socket_listen(run_fd, SOCKET_NAME, SOCK_STREAM, ret_socket, err);
}

/* timeout_s 0: what is read and written may take as long as it takes. */
static int connect_service(struct engine *engine, const char *id, int timeout_s, int *ret_socket,
	struct err *err)
{
	const struct timeval timeout = { .tv_sec = timeout_s };
	AUTO_CLOSE int run_fd = openat(engine->run_fd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (run_fd < 0)
		return err_sys(err, errno, "open the run directory of workload %.12s", id);
	AUTO_CLOSE int fd = -1;
	int r = unix_socket_connect(run_fd, SOCKET_NAME, SOCK_STREAM, &fd, err);
	if (r < 0)
		return r;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0 ||
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0)
		return err_sys(err, errno, "limit the time of the machine's answer");
	char line[32];
	int len = snprintf(line, sizeof(line), "CONNECT %d\n", GUEST_PORT_SERVICE);
	r = fd_write_all(fd, line, (size_t)len);
	if (r == 0)
		r = fd_read_exact(fd, line, strlen(CONNECT_ANSWER));
	if (r < 0 || memcmp(line, CONNECT_ANSWER, strlen(CONNECT_ANSWER)) != 0)
		return err_set(err, ERR_SYSTEM, "the machine of workload %.12s does not answer",
			id);
	*ret_socket = TAKE_FD(fd);
	return 0;
}

static char *request_text(const struct backend_exec *exec)
{
	const struct engine_exec *request = exec->request;
	const struct workload_spec *spec = exec->spec;
	AUTO_DONE(strv) env = { 0 };
	strv_extend(&env, &spec->env);
	for (size_t i = 0; i < request->env.len; i++)
		strv_set_env(&env, request->env.items[i]);
	if (request->tty && strv_env(&env, "TERM") == NULL)
		strv_add(&env, "TERM=xterm");
	AUTO_JSON object = json_new_object();
	json_set_strv(object, "args", &request->args);
	json_set_strv(object, "env", &env);
	json_set_string(object, "cwd", request->workdir != NULL ? request->workdir : spec->workdir);
	json_set_string(object, "user", request->user != NULL ? request->user : spec->user);
	json_set_bool(object, "tty", request->tty);
	json_set_bool(object, "interactive", request->interactive);
	return json_text(object, false);
}

static int open_streams(struct call *call, struct err *err)
{
	const struct backend_exec *exec = call->exec;
	call->in = exec->stdio[0];
	call->out[0] = exec->stdio[1];
	call->out[1] = exec->stdio[2];
	if (!exec->request->tty)
		return 0;
	int r = host_pty_open(exec->console_socket, &call->terminal, err);
	if (r < 0)
		return r;
	call->in = call->out[0] = call->out[1] = call->terminal;
	sigset_t set;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGWINCH);
	/* Its size changes reach who has it as controlling terminal. */
	if (setsid() < 0 || ioctl(call->terminal, TIOCSCTTY, 0) < 0 ||
		sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return err_sys(err, errno, "take the terminal");
	call->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return call->signal_fd < 0 ? err_sys(err, errno, "make a signal descriptor") : 0;
}

static int take_answer(int socket, struct guest_decoder *decoder, const char *what, struct err *err)
{
	struct guest_msg answer = { 0 };
	int r = guest_msg_receive(socket, decoder, &answer);
	if (r < 0)
		return err_sys(err, -r, "%s", what);
	if (answer.type == GUEST_STARTED)
		return 0;
	if (answer.type != GUEST_FAILED || answer.value == 0 || answer.value >= ERR_KIND_COUNT)
		return err_set(err, ERR_DAMAGED, "the machine answered with message %u",
			answer.type);
	return err_set(err, (enum err_kind)answer.value, "%.*s", (int)answer.data.len,
		answer.data.data);
}

static int say_exec(struct call *call, struct err *err)
{
	static const char what[] = "ask the machine for a process";
	AUTO_FREE char *text = request_text(call->exec);
	int r = guest_msg_send(call->socket, GUEST_EXEC, 0, text, strlen(text));
	return r < 0 ? err_sys(err, -r, "%s", what)
		     : take_answer(call->socket, &call->decoder, what, err);
}

/* False at the end of the input. */
static bool send_input(struct call *call)
{
	char bytes[INPUT_MAX];
	ssize_t n = read(call->in, bytes, sizeof(bytes));
	if (n < 0 && errno == EINTR)
		return true;
	return guest_msg_send(call->socket, GUEST_STDIN, 0, bytes, n > 0 ? (size_t)n : 0) == 0 &&
	       n > 0;
}

static void send_size(struct call *call)
{
	struct signalfd_siginfo info;
	if (read(call->signal_fd, &info, sizeof(info)) == sizeof(info))
		(void)!guest_msg_send(call->socket, GUEST_RESIZE, raw_terminal_size(call->terminal),
			NULL, 0);
}

/* Takes what has been read; true when the process has ended, *ret_status then is its wait status.
 */
static bool take_messages(struct call *call, int *ret_status)
{
	struct guest_msg message;
	while (guest_decoder_next(&call->decoder, &message) == 1) {
		if (message.type == GUEST_EXITED) {
			*ret_status = (int)message.value;
			return true;
		}
		if (message.type != GUEST_OUTPUT || message.data.len == 0)
			continue;
		/* Nobody reads it any more: the process runs on, as with docker exec. */
		(void)!fd_write_all(call->out[message.value == 2], message.data.data,
			message.data.len);
	}
	return false;
}

/* The machine that ends takes its processes with it: as if they were killed. */
static int carry(struct call *call)
{
	int status = SIGKILL;
	/* All that a short process has to say may have come with the answer. */
	if (take_messages(call, &status))
		return status;
	bool input_open = call->in >= 0 && call->exec->request->interactive;
	if (call->terminal >= 0)
		(void)!guest_msg_send(call->socket, GUEST_RESIZE, raw_terminal_size(call->terminal),
			NULL, 0);
	for (;;) {
		struct pollfd fds[] = { { .fd = call->socket, .events = POLLIN },
			{ .fd = input_open ? call->in : -1, .events = POLLIN },
			{ .fd = call->signal_fd, .events = POLLIN } };
		if (poll(fds, ARRAY_LEN(fds), -1) < 0 && errno != EINTR)
			return status;
		if (fds[0].revents != 0) {
			ssize_t n = guest_decoder_read(&call->decoder, call->socket);
			if (take_messages(call, &status) || (n <= 0 && n != -EAGAIN))
				return status;
		}
		if (fds[1].revents != 0)
			input_open = send_input(call);
		if (fds[2].revents != 0)
			send_size(call);
	}
}

static _Noreturn void run_child(struct engine *engine, const struct backend_exec *exec,
	int report_fd)
{
	struct call call = { .exec = exec, .socket = -1, .terminal = -1, .signal_fd = -1 };
	struct err err = { 0 };
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	(void)sigaction(SIGPIPE, &ignore, NULL);
	guest_decoder_init(&call.decoder, GUEST_MSG_DATA_MAX);
	int r = connect_service(engine, exec->id, 0, &call.socket, &err);
	if (r == 0)
		r = open_streams(&call, &err);
	if (r == 0)
		r = say_exec(&call, &err);
	if (r < 0) {
		report_failure(report_fd, &err);
		_exit(err_exit_status(err.kind));
	}
	(void)close(report_fd);
	_exit(live_shell_status(carry(&call)));
}

int guest_call_exec(struct engine *engine, const struct backend_exec *exec, pid_t *ret_pid,
	int *ret_pidfd, struct err *err)
{
	int pipe_fds[2];
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return err_sys(err, errno, "make a pipe");
	AUTO_CLOSE int report_in = pipe_fds[0];
	AUTO_CLOSE int report_out = pipe_fds[1];
	AUTO_CLOSE int pidfd = -1;
	pid_t pid = spawn_fork(0, &pidfd);
	if (pid < 0)
		return err_sys(err, -pid, "fork");
	if (pid == 0)
		run_child(engine, exec, report_out);
	(void)close(TAKE_FD(report_out));
	int r = container_report_wait(report_in, CONTAINER_STARTED, EXEC_TIMEOUT_MS, err);
	if (r < 0) {
		int status;
		(void)!proc_signal(pidfd, SIGKILL);
		(void)!spawn_wait(pid, pidfd, -1, &status, NULL);
		return r;
	}
	*ret_pid = pid;
	*ret_pidfd = TAKE_FD(pidfd);
	return 0;
}

int guest_call_end(struct engine *engine, const char *id, struct err *err)
{
	static const char what[] = "have the machine end its workload";
	AUTO_CLOSE int socket = -1;
	int r = connect_service(engine, id, END_TIMEOUT_S, &socket, err);
	if (r < 0)
		return r;
	r = guest_msg_send(socket, GUEST_SIGNAL, SIGKILL, NULL, 0);
	if (r < 0)
		return err_sys(err, -r, "%s", what);
	struct guest_decoder decoder;
	guest_decoder_init(&decoder, GUEST_MSG_DATA_MAX);
	r = take_answer(socket, &decoder, what, err);
	guest_decoder_done(&decoder);
	return r;
}
