/* session - poll(2) and not the event loop of base/: standard input may be a regular file, which
 * epoll refuses. */
#include "engine/session.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/proc.h"
#include "engine/raw_terminal.h"
#include "wire/monitor_client.h"

#define DETACH_DEFAULT "ctrl-p,ctrl-q"
#define INPUT_MAX 8192

/* Signals that are passed on to the workload, as docker's client does with --sig-proxy. */
static const int proxied[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGCONT,
	SIGALRM };

struct attached {
	struct session *session;
	int signal_fd;
	struct detach_keys keys;
	bool input_open;
	struct monitor_msg message;            /* the last one received */
	uint8_t pending[MONITOR_MSG_DATA_MAX]; /* input the monitor had no room for yet */
	size_t pending_len;
	bool has_pending; /* an empty one is the end of input */
	bool is_over;
};

static int watch_signals(bool proxy, sigset_t *ret_before, int *ret_fd, struct err *err)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	for (size_t i = 0; proxy && i < ARRAY_LEN(proxied); i++)
		sigaddset(&set, proxied[i]);
	if (sigprocmask(SIG_BLOCK, &set, ret_before) < 0)
		return err_sys(err, errno, "block signals");
	*ret_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return *ret_fd < 0 ? err_sys(err, errno, "make a signal descriptor") : 0;
}

static void send_size(const struct session *session)
{
	unsigned size = raw_terminal_size(session->stdio->out);
	if (session->tty && size != 0)
		(void)!monitor_send(session->client_fd, MONITOR_RESIZE, size, NULL, 0);
}

/* The monitor reads slowly when the workload does: what does not fit waits in pending. */
static void flush_pending(struct attached *attached)
{
	int r = monitor_send(attached->session->client_fd, MONITOR_STDIN, 0, attached->pending,
		attached->pending_len);
	if (r == -EAGAIN)
		return;
	/* Otherwise the monitor has gone; its last message may still be waiting for us. */
	if (r < 0)
		attached->input_open = false;
	attached->has_pending = false;
}

static int take_input(struct attached *attached, struct err *err)
{
	struct session *session = attached->session;
	unsigned char bytes[INPUT_MAX];
	ssize_t n = read(session->stdio->in, bytes, sizeof(bytes));
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n < 0 && errno != EIO)
		return err_sys(err, errno, "read standard input");
	attached->pending_len = 0;
	if (n > 0) {
		session->is_detached = detach_keys_filter(&attached->keys, bytes, (size_t)n,
			attached->pending, &attached->pending_len);
		attached->is_over = session->is_detached;
		if (attached->pending_len == 0)
			return 0;
	} else {
		attached->input_open = false;
	}
	attached->has_pending = true;
	flush_pending(attached);
	return 0;
}

static void take_signal(struct attached *attached)
{
	struct signalfd_siginfo info;
	if (read(attached->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGWINCH)
		send_size(attached->session);
	else
		(void)!proc_signal(attached->session->init_pidfd, (int)info.ssi_signo);
}

static int take_message(struct attached *attached, struct err *err)
{
	struct session *session = attached->session;
	const struct monitor_msg *msg = &attached->message;
	ssize_t n = monitor_receive(session->client_fd, &attached->message);
	if (n == -EAGAIN)
		return 0;
	if (n < 0) {
		attached->is_over = true;
		return 0;
	}
	switch ((enum monitor_msg_type)msg->type) {
	case MONITOR_ATTACHED: return 0;
	case MONITOR_OUTPUT: {
		int fd = msg->value == MONITOR_STDERR ? session->stdio->err : session->stdio->out;
		int r = fd < 0 ? 0 : fd_write_all(fd, msg->data, (size_t)n);
		/* Nobody reads our output any more: the workload runs on, we wait for its end. */
		return r < 0 && r != -EPIPE && r != -EIO ? err_sys(err, -r, "write output") : 0;
	}
	case MONITOR_EXIT:
		session->wait_status = msg->value == MONITOR_STATUS_UNKNOWN ? -1 : (int)msg->value;
		attached->is_over = true;
		return 0;
	case MONITOR_REFUSED:
		return err_set(err, ERR_CONFLICT, "the monitor refused: %.*s", (int)n,
			(const char *)msg->data);
	case MONITOR_ATTACH:
	case MONITOR_STDIN:
	case MONITOR_RESIZE:
	case MONITOR_DETACH:
	case MONITOR_CLEANED:
	default: return err_set(err, ERR_DAMAGED, "the monitor sent message %u", msg->type);
	}
}

static int attached_loop(struct attached *attached, struct err *err)
{
	struct session *session = attached->session;
	while (!attached->is_over) {
		bool wants_input = attached->input_open && !attached->has_pending;
		struct pollfd fds[] = {
			{ .fd = session->client_fd,
				.events = (short)(POLLIN | (attached->has_pending ? POLLOUT : 0)) },
			{ .fd = attached->signal_fd, .events = POLLIN },
			{ .fd = wants_input ? session->stdio->in : -1, .events = POLLIN },
		};
		if (poll(fds, ARRAY_LEN(fds), -1) < 0) {
			if (errno == EINTR)
				continue;
			return err_sys(err, errno, "wait for the workload");
		}
		int r = 0;
		if (fds[1].revents != 0)
			take_signal(attached);
		if ((fds[0].revents & POLLOUT) != 0)
			flush_pending(attached);
		if (r == 0 && (fds[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0)
			r = take_message(attached, err);
		if (r == 0 && fds[2].revents != 0)
			r = take_input(attached, err);
		if (r != 0)
			return r;
	}
	return 0;
}

int session_run(struct session *session, struct err *err)
{
	struct attached *attached = NEW(attached);
	AUTO_FREE struct attached *owned = attached;
	attached->session = session;
	attached->signal_fd = -1;
	session->wait_status = -1;
	const char *keys = session->stdio->detach_keys;
	int r = fd_set_nonblocking(session->client_fd, true);
	if (r == 0)
		r = detach_keys_parse(keys == NULL ? DETACH_DEFAULT : keys, &attached->keys, err);
	if (!session->tty)
		attached->keys.len = 0;
	sigset_t before;
	if (r == 0)
		r = watch_signals(session->stdio->sig_proxy && session->init_pidfd >= 0 &&
					  !session->tty,
			&before, &attached->signal_fd, err);
	if (r != 0)
		return r;
	AUTO_CLOSE int signal_fd = attached->signal_fd;
	AUTO_DONE(raw_terminal) terminal = { .fd = -1 };
	attached->input_open = session->interactive && session->stdio->in >= 0;
	if (session->tty && attached->input_open)
		r = raw_terminal_enter(session->stdio->in, &terminal, err);
	if (r == 0) {
		send_size(session);
		r = attached_loop(attached, err);
	}
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	return r;
}

int session_run_pty(int master_fd, int pidfd, const struct engine_stdio *stdio, bool interactive,
	struct err *err)
{
	AUTO_DONE(raw_terminal) terminal = { .fd = -1 };
	sigset_t before;
	AUTO_CLOSE int signal_fd = -1;
	int r = watch_signals(false, &before, &signal_fd, err);
	if (r == 0 && interactive)
		r = raw_terminal_enter(stdio->in, &terminal, err);
	raw_terminal_set_size(master_fd, raw_terminal_size(stdio->out));
	bool input_open = interactive, output_open = true;
	while (r == 0 && output_open) {
		/* The end of the process is looked at only when its output has run dry. */
		struct pollfd fds[] = { { .fd = master_fd, .events = POLLIN },
			{ .fd = input_open ? stdio->in : -1, .events = POLLIN },
			{ .fd = signal_fd, .events = POLLIN }, { .fd = pidfd, .events = POLLIN } };
		if (poll(fds, ARRAY_LEN(fds), -1) < 0 && errno != EINTR)
			r = err_sys(err, errno, "wait for the process");
		char bytes[8192];
		struct signalfd_siginfo info;
		if ((fds[0].revents & (POLLIN | POLLHUP)) != 0) {
			ssize_t n = read(master_fd, bytes, sizeof(bytes));
			output_open = n > 0;
			if (n > 0 && stdio->out >= 0)
				(void)!fd_write_all(stdio->out, bytes, (size_t)n);
		} else if (fds[3].revents != 0) {
			output_open = false;
		}
		if (fds[1].revents != 0) {
			ssize_t n = read(stdio->in, bytes, sizeof(bytes));
			input_open = n > 0 && fd_write_all(master_fd, bytes, (size_t)n) == 0;
		}
		if (fds[2].revents != 0 && read(signal_fd, &info, sizeof(info)) == sizeof(info))
			raw_terminal_set_size(master_fd, raw_terminal_size(stdio->out));
	}
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	return r;
}
