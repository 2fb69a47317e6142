/* guest_service - one session for each connection.
 *
 *	ASKED   nothing heard yet; a deadline runs
 *	RUNS    a process of EXEC, its output and input pass through
 *	ENDED   it has ended; what its pipes still hold is sent, then EXITED
 *	LAST    the last message waits to be taken; then the connection closes
 *
 * What is to be sent waits in one buffer; a process's output is read only while that is empty, and
 * the connection only while the process takes its input.  So a session's memory is bounded by one
 * message each way.  A connection that is lost takes the process's streams with it and nothing
 * else: the process sees the end of its input, EPIPE, or a hang-up, as on a host. */
#include "guest/guest_service.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proc.h"
#include "container/container.h"
#include "wire/guest_msg.h"

#define SESSIONS_MAX 64
#define ASK_DEADLINE_MS 10000
#define OUTPUT_BYTES 32768
#define REST_BYTES 1048576 /* fs.pipe-max-size: what a pipe can hold at most */
#define OUTPUTS 2

enum session_phase { SESSION_ASKED, SESSION_RUNS, SESSION_ENDED, SESSION_LAST };

struct session_output {
	struct guest_session *session; /* borrowed */
	uint32_t number;               /* 1 or 2, as OUTPUT says */
	int fd;                        /* owned; -1: none, or at its end */
	struct loop_watch *watch;
};

struct guest_session {
	struct guest_service *service; /* borrowed */
	struct guest_session *next;
	enum session_phase phase;
	int fd; /* owned; the connection */
	struct loop_watch *watch, *deadline;
	struct guest_decoder decoder;
	struct text out;
	size_t out_offset;
	struct session_output outputs[OUTPUTS];
	int input; /* owned; where STDIN goes; -1: nowhere */
	struct loop_watch *input_watch;
	struct text in; /* what the process did not take yet */
	size_t in_offset;
	bool is_input_ending;
	int master; /* borrowed: outputs[0].fd with a terminal; -1 */
	pid_t pid;  /* 0: none */
	int pidfd, status;
	size_t rest; /* sent since its end */
	uint8_t bytes[OUTPUT_BYTES];
};

struct guest_service {
	const struct guest_platform *platform;
	struct loop *loop;
	const struct guest_order *order;
	const struct guest_workload *workload;
	int listener; /* owned */
	struct loop_watch *watch;
	struct guest_session *sessions; /* owned */
	size_t len;
};

static void session_free(struct guest_session *s)
{
	loop_remove(TAKE(s->watch));
	loop_remove(TAKE(s->deadline));
	loop_remove(TAKE(s->input_watch));
	for (int i = 0; i < OUTPUTS; i++) {
		loop_remove(TAKE(s->outputs[i].watch));
		cleanup_close(&s->outputs[i].fd);
	}
	cleanup_close(&s->input);
	cleanup_close(&s->pidfd);
	cleanup_close(&s->fd);
	guest_decoder_done(&s->decoder);
	text_done(&s->out);
	text_done(&s->in);
	free(s);
}

static void session_close(struct guest_session *s)
{
	struct guest_service *service = s->service;
	for (struct guest_session **at = &service->sessions; *at != NULL; at = &(*at)->next) {
		if (*at != s)
			continue;
		*at = s->next;
		service->len--;
		session_free(s);
		return;
	}
}

/* ---- sending ---- */

/* False: the connection is lost. */
static bool session_flush(struct guest_session *s)
{
	while (s->out_offset < s->out.len) {
		ssize_t n = send(s->fd, s->out.data + s->out_offset, s->out.len - s->out_offset,
			MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		s->out_offset += (size_t)n;
	}
	text_clear(&s->out);
	s->out_offset = 0;
	return true;
}

static void session_say(struct guest_session *s, enum guest_msg_type type, uint32_t value,
	const void *data, size_t len)
{
	guest_msg_format(&s->out, type, value, data, len);
}

static void session_fail(struct guest_session *s, const struct err *err)
{
	session_say(s, GUEST_FAILED, (uint32_t)err->kind, err->message, strlen(err->message));
	s->phase = SESSION_LAST;
}

static bool session_is_sent(const struct guest_session *s)
{
	return s->out.len == 0;
}

static void output_close(struct session_output *o)
{
	loop_remove(TAKE(o->watch));
	if (o->fd < 0)
		return;
	(void)close(TAKE_FD(o->fd));
	if (o->number == 1)
		o->session->master = -1;
}

/* Reads once; false when there is nothing now, or no more. */
static bool output_read(struct session_output *o)
{
	struct guest_session *s = o->session;
	if (o->fd < 0)
		return false;
	ssize_t n;
	do
		n = read(o->fd, s->bytes, sizeof(s->bytes));
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		session_say(s, GUEST_OUTPUT, o->number, s->bytes, (size_t)n);
		return true;
	}
	if (n == 0 || errno != EAGAIN)
		output_close(o);
	return false;
}

/* After the process's end, whatever its children hold open and go on writing: what is there is
 * sent, then EXITED. */
static bool session_drain(struct guest_session *s)
{
	while (s->phase == SESSION_ENDED && session_is_sent(s)) {
		bool is_dry = s->rest > (size_t)OUTPUTS * REST_BYTES ||
			      (!output_read(&s->outputs[0]) && !output_read(&s->outputs[1]));
		s->rest += s->out.len;
		if (is_dry) {
			session_say(s, GUEST_EXITED, (uint32_t)s->status, NULL, 0);
			s->phase = SESSION_LAST;
		}
		if (!session_flush(s))
			return false;
	}
	return true;
}

static void on_output(void *context, int fd, uint32_t events);
static bool session_wants_input(const struct guest_session *s);

/* Watches what the session can go on with. */
static int session_watch(struct guest_session *s)
{
	uint32_t events =
		(session_wants_input(s) ? EPOLLIN : 0U) | (session_is_sent(s) ? 0U : EPOLLOUT);
	int r = loop_change(s->watch, events, NULL);
	for (int i = 0; r == 0 && i < OUTPUTS; i++) {
		struct session_output *o = &s->outputs[i];
		bool wanted = o->fd >= 0 && s->phase == SESSION_RUNS && session_is_sent(s);
		if (!wanted)
			loop_remove(TAKE(o->watch));
		else if (o->watch == NULL)
			r = loop_watch_fd(s->service->loop, o->fd, EPOLLIN, on_output, o, &o->watch,
				NULL);
	}
	return r;
}

/* After anything has happened.  The session may be gone afterwards. */
static void session_continue(struct guest_session *s)
{
	if (!session_flush(s) || !session_drain(s) ||
		(s->phase == SESSION_LAST && session_is_sent(s)) || session_watch(s) < 0)
		session_close(s);
}

static void on_output(void *context, int fd, uint32_t events)
{
	(void)fd;
	(void)events;
	struct session_output *o = context;
	(void)output_read(o);
	session_continue(o->session);
}

/* ---- what the other side says ---- */

static bool session_wants_input(const struct guest_session *s)
{
	return s->phase <= SESSION_RUNS && s->in.len == 0;
}

static void input_close(struct guest_session *s)
{
	loop_remove(TAKE(s->input_watch));
	if (s->input >= 0)
		(void)close(TAKE_FD(s->input));
	text_clear(&s->in);
	s->in_offset = 0;
}

static void on_input_writable(void *context, int fd, uint32_t events);

static void input_flush(struct guest_session *s)
{
	while (s->input >= 0 && s->in_offset < s->in.len) {
		ssize_t n = write(s->input, s->in.data + s->in_offset, s->in.len - s->in_offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			if (s->input_watch == NULL &&
				loop_watch_fd(s->service->loop, s->input, EPOLLOUT,
					on_input_writable, s, &s->input_watch, NULL) < 0)
				input_close(s);
			return;
		}
		if (n < 0)
			input_close(s);
		else
			s->in_offset += (size_t)n;
	}
	loop_remove(TAKE(s->input_watch));
	text_clear(&s->in);
	s->in_offset = 0;
	if (s->is_input_ending)
		input_close(s);
}

static bool session_read_messages(struct guest_session *s);

static void on_input_writable(void *context, int fd, uint32_t events)
{
	(void)fd;
	(void)events;
	struct guest_session *s = context;
	input_flush(s);
	/* Messages that were read behind it. */
	if (session_read_messages(s))
		session_continue(s);
	else
		session_close(s);
}

static void take_input(struct guest_session *s, struct view data)
{
	if (s->input < 0 || s->is_input_ending)
		return;
	if (data.len == 0)
		s->is_input_ending = true;
	else
		text_add(&s->in, data.data, data.len);
	input_flush(s);
}

/* The terminal's end of input is a character, as it is for a person. */
static int open_terminal(struct guest_session *s, int console, struct err *err)
{
	int master = -1;
	int r = guest_terminal_receive(console, &master, err);
	if (r < 0)
		return r;
	s->outputs[0].fd = s->master = master;
	s->input = fcntl(master, F_DUPFD_CLOEXEC, 3);
	return s->input < 0 ? err_sys(err, errno, "use the terminal") : 0;
}

static int open_pipes(struct guest_session *s, bool is_interactive, int stdio[3], struct err *err)
{
	int *const ours[3] = { &s->input, &s->outputs[0].fd, &s->outputs[1].fd };
	for (int i = 0; i < 3; i++) {
		if (i == STDIN_FILENO && !is_interactive) {
			stdio[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
			if (stdio[i] < 0)
				return err_sys(err, errno, "open /dev/null");
			continue;
		}
		int r = guest_stream_open(i, &stdio[i], ours[i], err);
		if (r == 0 && fd_set_nonblocking(*ours[i], true) < 0)
			r = err_set(err, ERR_SYSTEM, "a pipe cannot be used");
		if (r < 0)
			return r;
	}
	return 0;
}

static int start_process(struct guest_session *s, const struct guest_exec_order *order,
	const struct container_spec *spec, struct err *err)
{
	const struct guest_workload *w = s->service->workload;
	int stdio[3] = { -1, -1, -1 };
	int console[2] = { -1, -1 };
	int r = 0;
	if (!order->has_terminal)
		r = open_pipes(s, order->is_interactive, stdio, err);
	else if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, console) < 0)
		r = err_sys(err, errno, "make a socket for the terminal");
	if (r == 0) {
		const struct container_exec exec = {
			.pidfd = w->pidfd,
			.pid = w->pid,
			.spec = spec,
			.cgroup = w->cgroup,
			.cache_dir = w->cache_dir,
			.stdio = { stdio[0], stdio[1], stdio[2] },
			.console_socket = console[1],
			.user = order->user,
		};
		r = container_exec(&exec, &s->pid, &s->pidfd, err);
	}
	if (r == 0 && order->has_terminal)
		r = open_terminal(s, console[0], err);
	for (int i = 0; i < 3; i++)
		cleanup_close(&stdio[i]);
	cleanup_close(&console[0]);
	cleanup_close(&console[1]);
	return r;
}

static int exec_ask(struct guest_session *s, struct view bytes, struct err *err)
{
	if (s->service->workload->pid == 0)
		return err_set(err, ERR_CONFLICT, "the workload is not running");
	AUTO_DONE(guest_exec_order) order = { 0 };
	AUTO(container_spec) spec = NULL;
	int r = guest_exec_order_parse(s->service->order, bytes, &order, err);
	if (r == 0)
		r = container_spec_parse(order.document, &spec, err);
	return r < 0 ? r : start_process(s, &order, spec, err);
}

static void take_request(struct guest_session *s, const struct guest_msg *msg)
{
	struct err err = { 0 };
	int r;
	loop_remove(TAKE(s->deadline));
	if (msg->type == GUEST_EXEC) {
		r = exec_ask(s, msg->data, &err);
		s->phase = SESSION_RUNS;
	} else if (msg->type == GUEST_SIGNAL && s->service->workload->pid != 0) {
		r = container_signal(s->service->workload->pidfd, (int)msg->value, &err);
		s->phase = SESSION_LAST;
	} else {
		r = err_set(&err, ERR_CONFLICT, "the workload is not running");
	}
	if (r < 0)
		session_fail(s, &err);
	else
		session_say(s, GUEST_STARTED, 0, NULL, 0);
}

/* False: the connection breaks the rules. */
static bool take_message(struct guest_session *s, const struct guest_msg *msg)
{
	if (s->phase == SESSION_ASKED) {
		if (msg->type != GUEST_EXEC && msg->type != GUEST_SIGNAL)
			return false;
		take_request(s, msg);
		return true;
	}
	switch (msg->type) {
	case GUEST_STDIN: take_input(s, msg->data); return true;
	case GUEST_RESIZE: guest_terminal_resize(s->master, msg->value); return true;
	case GUEST_SIGNAL:
		if (s->pid != 0)
			(void)!proc_signal(s->pidfd, (int)msg->value);
		return true;
	default: return false;
	}
}

static bool session_read_messages(struct guest_session *s)
{
	while (session_wants_input(s)) {
		struct guest_msg msg;
		int r = guest_decoder_next(&s->decoder, &msg);
		if (r < 0 || (r > 0 && !take_message(s, &msg)))
			return false;
		if (r == 0)
			return true;
	}
	return true;
}

static void on_connection(void *context, int fd, uint32_t events)
{
	struct guest_session *s = context;
	bool is_good = true;
	if ((events & EPOLLIN) != 0 && session_wants_input(s)) {
		is_good = session_read_messages(s); /* which makes room */
		ssize_t n = is_good ? guest_decoder_read(&s->decoder, fd) : -EBADMSG;
		is_good = n > 0 ? session_read_messages(s) : n == -EAGAIN;
	} else if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
		is_good = false;
	}
	if (is_good)
		session_continue(s);
	else
		session_close(s);
}

static void on_deadline(void *context)
{
	session_close(context);
}

/* ---- connections ---- */

static void session_open(struct guest_service *service, int take_fd)
{
	struct guest_session *s = NEW(guest_session);
	s->service = service;
	s->fd = take_fd;
	s->input = s->master = s->pidfd = -1;
	for (int i = 0; i < OUTPUTS; i++)
		s->outputs[i] = (struct session_output){ s, (uint32_t)i + 1, -1, NULL };
	guest_decoder_init(&s->decoder, GUEST_START_MAX);
	if (loop_watch_fd(service->loop, s->fd, EPOLLIN, on_connection, s, &s->watch, NULL) < 0 ||
		loop_watch_timer(service->loop, ASK_DEADLINE_MS, on_deadline, s, &s->deadline,
			NULL) < 0) {
		session_free(s);
		return;
	}
	s->next = service->sessions;
	service->sessions = s;
	service->len++;
}

static void on_listener(void *context, int fd, uint32_t events)
{
	(void)events;
	struct guest_service *service = context;
	int connection = service->platform->accept(fd);
	if (connection < 0)
		return;
	if (service->len < SESSIONS_MAX)
		session_open(service, connection);
	else
		(void)close(connection);
}

int guest_service_open(const struct guest_platform *platform, struct loop *loop,
	const struct guest_order *order, const struct guest_workload *workload,
	struct guest_service **ret_service, struct err *err)
{
	AUTO(guest_service) service = NEW(guest_service);
	*service = (struct guest_service){ .platform = platform,
		.loop = loop,
		.order = order,
		.workload = workload };
	service->listener = platform->listen(GUEST_PORT_SERVICE, err);
	if (service->listener < 0)
		return service->listener;
	int r = loop_watch_fd(loop, service->listener, EPOLLIN, on_listener, service,
		&service->watch, err);
	if (r == 0)
		*ret_service = TAKE(service);
	return r;
}

void guest_service_free(struct guest_service *service)
{
	if (service == NULL)
		return;
	while (service->sessions != NULL)
		session_close(service->sessions);
	loop_remove(service->watch);
	cleanup_close(&service->listener);
	free(service);
}

bool guest_service_reaped(struct guest_service *service, pid_t pid, int status)
{
	for (struct guest_session *s = service->sessions; s != NULL; s = s->next) {
		if (s->pid != pid)
			continue;
		s->pid = 0;
		s->status = status;
		if (s->phase == SESSION_RUNS)
			s->phase = SESSION_ENDED;
		input_close(s);
		session_continue(s);
		return true;
	}
	return false;
}
