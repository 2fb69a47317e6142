/* guest_link - see guest_link.h.
 *
 *            HELLO          READY            byte at go_fd      STARTED        EXITED
 *   HELLO ----------> READY ---------> GO ------------> STARTED -------> RUNNING ------> ENDED
 *          START sent        reported       GO sent             reported
 *
 * (each state is named after what is awaited).  FAILED before RUNNING is reported and ends the
 * machine with the exit status of its kind; whatever else the guest says out of turn, and the end
 * of the stream, is a failure of the guest.  The guest is hostile: it can end its own machine at
 * most.
 *
 * Nothing here waits.  What is to be sent stands in one text until the stream takes it; a new size
 * of the terminal is only remembered while something does. */
#include "vm/guest_link.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/report.h"
#include "vm/device.h"
#include "wire/guest_msg.h"

enum { LINE_MAX_BYTES = 4096 }; /* of a message from the guest */

enum link_state {
	LINK_HELLO,
	LINK_READY,
	LINK_GO,
	LINK_STARTED,
	LINK_RUNNING,
	LINK_ENDED,
	LINK_STATES
};

/* Signals to this process are the workload's.  SIGHUP is also what a lost terminal says. */
static const int forwarded[] = { SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGTERM,
	SIGCONT };
enum { FORWARDED = ARRAY_LEN(forwarded), OUT_MAX = 65536 };

struct guest_link {
	struct loop *loop; /* borrowed */
	guest_link_ended_fn *ended;
	void *context; /* borrowed */
	enum link_state state;
	int stream, report_fd, go_fd, tty_fd; /* owned; -1: none, or done with */
	struct loop_watch *stream_watch, *go_watch, *winch_watch; /* owned */
	struct loop_watch *signal_watches[FORWARDED];             /* owned */
	bool is_waiting_to_send; /* the stream's watch asks for EPOLLOUT */
	bool is_resize_due;
	struct guest_decoder decoder;
	struct text start; /* until it is sent */
	struct text out;   /* bytes from out_sent on are still to be sent */
	size_t out_sent;
};

static void link_move(struct guest_link *link, enum link_state state)
{
	CHECK(state == link->state + 1 || state == LINK_ENDED);
	log_debug("guest link: state %d to %d", link->state, state);
	link->state = state;
}

static void close_report(struct guest_link *link)
{
	loop_remove(TAKE(link->go_watch));
	cleanup_close(&link->go_fd);
	cleanup_close(&link->report_fd);
	link->go_fd = link->report_fd = -1;
}

static void link_end(struct guest_link *link, int status)
{
	link_move(link, LINK_ENDED);
	close_report(link);
	loop_remove(TAKE(link->stream_watch));
	link->ended(link->context, status);
}

/* The workload does not start, or the guest does not do what it should. */
static void link_fail(struct guest_link *link, const struct err *why)
{
	if (link->report_fd >= 0)
		report_failure(link->report_fd, why);
	else
		log_debug("guest link: %s", why->message);
	link_end(link, err_exit_status(why->kind));
}

static void link_break(struct guest_link *link, const char *what)
{
	struct err err = { 0 };
	(void)err_set(&err, ERR_SYSTEM, "the guest %s", what);
	link_fail(link, &err);
}

/* ---- to the guest ---- */

static void add_size(struct guest_link *link)
{
	struct winsize size;
	link->is_resize_due = false;
	if (ioctl(link->tty_fd, TIOCGWINSZ, &size) == 0)
		guest_msg_format(&link->out, GUEST_RESIZE,
			(uint32_t)size.ws_row << 16 | size.ws_col, NULL, 0);
}

/* Sends what the stream takes, and asks to be called when it takes more. */
static void link_flush(struct guest_link *link)
{
	ssize_t n = 0;
	if (link->is_resize_due && link->out_sent == link->out.len)
		add_size(link);
	while (n >= 0 && link->out_sent < link->out.len) {
		n = write(link->stream, link->out.data + link->out_sent,
			link->out.len - link->out_sent);
		if (n >= 0)
			link->out_sent += (size_t)n;
	}
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		link_break(link, "does not listen to its control stream");
		return;
	}
	bool is_waiting = link->out_sent < link->out.len;
	if (!is_waiting) {
		text_done(&link->out);
		link->out_sent = 0;
	}
	if (is_waiting == link->is_waiting_to_send)
		return;
	if (loop_change(link->stream_watch, is_waiting ? EPOLLIN | EPOLLOUT : EPOLLIN, NULL) < 0)
		link_break(link, "cannot be waited for");
	else
		link->is_waiting_to_send = is_waiting;
}

static void on_winch(void *context, int signal_number)
{
	struct guest_link *link = context;
	(void)signal_number;
	if (link->state != LINK_STARTED && link->state != LINK_RUNNING)
		return; /* the size at GO counts */
	link->is_resize_due = true;
	link_flush(link);
}

static void on_signal(void *context, int signal_number)
{
	struct guest_link *link = context;
	/* Before it has started there is nobody to get it, and a guest that does not listen gets no
	 * more. */
	if ((link->state != LINK_STARTED && link->state != LINK_RUNNING) || link->out.len > OUT_MAX)
		return;
	guest_msg_format(&link->out, GUEST_SIGNAL, (uint32_t)signal_number, NULL, 0);
	link_flush(link);
}

static void on_go(void *context, int fd, uint32_t events)
{
	struct guest_link *link = context;
	char byte;
	(void)events;
	ssize_t n = read(fd, &byte, 1);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n != 1) {
		/* Who started this has given it up, and knows. */
		link_end(link, err_exit_status(ERR_SYSTEM));
		return;
	}
	loop_remove(TAKE(link->go_watch));
	link_move(link, LINK_STARTED);
	guest_msg_format(&link->out, GUEST_GO, 0, NULL, 0);
	if (link->tty_fd >= 0)
		add_size(link);
	link_flush(link);
}

/* ---- from the guest ---- */

static void take_hello(struct guest_link *link)
{
	link_move(link, LINK_READY);
	guest_msg_format(&link->out, GUEST_START, 0, link->start.data, link->start.len);
	text_done(&link->start);
	link_flush(link);
}

static void take_ready(struct guest_link *link)
{
	struct err err = { 0 };
	link_move(link, LINK_GO);
	if (loop_watch_fd(link->loop, link->go_fd, EPOLLIN, on_go, link, &link->go_watch, &err) < 0)
		link_fail(link, &err);
	else
		report_ready(link->report_fd);
}

/* The guest's own words about why: one line, no byte that means something to a terminal. */
static void take_failed(struct guest_link *link, const struct guest_msg *msg)
{
	enum err_kind kind = ERR_SYSTEM;
	if (msg->value > ERR_NONE && msg->value < ERR_KIND_COUNT)
		kind = (enum err_kind)msg->value;
	char line[sizeof(((struct err *)NULL)->message)];
	size_t len = msg->data.len < sizeof(line) - 1 ? msg->data.len : sizeof(line) - 1;
	for (size_t i = 0; i < len; i++) {
		uint8_t byte = (uint8_t)msg->data.data[i];
		line[i] = byte < 0x20 || byte == 0x7f ? '?' : (char)byte;
	}
	line[len] = '\0';
	struct err err = { 0 };
	(void)err_set(&err, kind, "%s", len > 0 ? line : "the guest does not say why it failed");
	link_fail(link, &err);
}

static void take_exited(struct guest_link *link, int wait_status)
{
	/* As a shell puts it: the value is the guest's and may be anything. */
	link_end(link,
		WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status));
}

static void link_take(struct guest_link *link, const struct guest_msg *msg)
{
	if (msg->type == GUEST_HELLO && link->state == LINK_HELLO) {
		take_hello(link);
	} else if (msg->type == GUEST_READY && link->state == LINK_READY) {
		take_ready(link);
	} else if (msg->type == GUEST_STARTED && link->state == LINK_STARTED) {
		link_move(link, LINK_RUNNING);
		close_report(link); /* its end says so */
	} else if (msg->type == GUEST_FAILED && link->state < LINK_RUNNING) {
		take_failed(link, msg);
	} else if (msg->type == GUEST_EXITED && link->state == LINK_RUNNING) {
		take_exited(link, (int)msg->value);
	} else {
		link_break(link, "says something out of turn");
	}
}

/* Every whole message that has come: 0, or negative when what follows is none. */
static int take_all(struct guest_link *link)
{
	struct guest_msg msg;
	int r = 0;
	while (link->state != LINK_ENDED && (r = guest_decoder_next(&link->decoder, &msg)) == 1)
		link_take(link, &msg);
	return link->state == LINK_ENDED ? 0 : r;
}

static void on_stream(void *context, int fd, uint32_t events)
{
	struct guest_link *link = context;
	if (events & EPOLLOUT)
		link_flush(link);
	if (link->state == LINK_ENDED || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	/* The decoder has room: all that was whole has been taken. */
	ssize_t n = guest_decoder_read(&link->decoder, fd);
	if (n == -EAGAIN)
		return;
	if (n <= 0)
		link_break(link, "has closed its control stream");
	else if (take_all(link) < 0)
		link_break(link, "sends what is no message");
}

/* ---- creation ---- */

static int read_start(struct guest_link *link, json *config, struct err *err)
{
	const char *text = json_get_string(config, "start");
	if (text == NULL) {
		AUTO_CLOSE int fd = -1;
		int r = device_take_fd(config, "start_fd", &fd, err);
		return r < 0 ? r
			     : fd_read_text(fd, GUEST_START_MAX, "the guest's start document",
				       &link->start, err);
	}
	text_puts(&link->start, text);
	if (link->start.len > GUEST_START_MAX)
		return err_set(err, ERR_LIMIT, "the guest's start document is too long");
	return 0;
}

static int take_descriptors(struct guest_link *link, json *config, struct err *err)
{
	int r = device_take_fd(config, "report_fd", &link->report_fd, err);
	if (r == 0)
		r = device_take_fd(config, "go_fd", &link->go_fd, err);
	if (r == 0 && json_get_int(config, "tty_fd", -1) >= 0)
		r = device_take_fd(config, "tty_fd", &link->tty_fd, err);
	return r;
}

/* The guest's terminal does what this one did: bytes pass here as they are.  Losing it ends a
 * stream, not the machine. */
static int open_tty(struct guest_link *link, struct err *err)
{
	if (link->tty_fd < 0)
		return 0;
	struct termios modes;
	if (tcgetattr(link->tty_fd, &modes) < 0)
		return err_sys(err, errno, "look at the terminal");
	cfmakeraw(&modes);
	if (tcsetattr(link->tty_fd, TCSANOW, &modes) < 0)
		return err_sys(err, errno, "make the terminal raw");
	return loop_watch_signal(link->loop, SIGWINCH, on_winch, link, &link->winch_watch, err);
}

static int watch_signals(struct guest_link *link, struct err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < FORWARDED; i++)
		r = loop_watch_signal(link->loop, forwarded[i], on_signal, link,
			&link->signal_watches[i], err);
	return r;
}

int guest_link_new(json *config, int take_stream, struct loop *loop, guest_link_ended_fn *ended,
	void *context, struct guest_link **ret_link, struct err *err)
{
	AUTO(guest_link) link = NEW(guest_link);
	link->loop = loop;
	link->ended = ended;
	link->context = context;
	link->stream = take_stream;
	link->report_fd = link->go_fd = link->tty_fd = -1;
	guest_decoder_init(&link->decoder, LINE_MAX_BYTES);
	int r = take_all(link); /* none yet: the decoder makes room for the first */
	if (r < 0)
		return err_sys(err, -r, "listen to the guest");
	r = read_start(link, config, err);
	if (r == 0)
		r = take_descriptors(link, config, err);
	if (r < 0)
		return r;
	if ((r = fd_set_nonblocking(take_stream, true)) < 0)
		return err_sys(err, -r, "the control stream");
	r = open_tty(link, err);
	if (r == 0)
		r = watch_signals(link, err);
	if (r < 0)
		return r;
	r = loop_watch_fd(loop, take_stream, EPOLLIN, on_stream, link, &link->stream_watch, err);
	if (r == 0)
		*ret_link = TAKE(link);
	return r;
}

void guest_link_failed(struct guest_link *link, const struct err *why)
{
	if (link->report_fd >= 0)
		report_failure(link->report_fd, why);
	close_report(link);
}

void guest_link_free(struct guest_link *link)
{
	if (link == NULL)
		return;
	loop_remove(link->stream_watch);
	loop_remove(link->winch_watch);
	for (size_t i = 0; i < FORWARDED; i++)
		loop_remove(link->signal_watches[i]);
	close_report(link);
	cleanup_close(&link->stream);
	cleanup_close(&link->tty_fd);
	guest_decoder_done(&link->decoder);
	text_done(&link->start);
	text_done(&link->out);
	free(link);
}
