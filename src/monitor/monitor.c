/* monitor - puts the nouns together: output streams go to the log and to the clients, the clients'
 * input to the workload, the init's end into the exit record.
 *
 * Phases:
 *
 *     WATCHING  --init ended-->  RECORDED  --no client will clean up-->  RELEASED  --no client-->
 * end
 *
 * In WATCHING all output goes through one buffer, the batch: it is read only when every client has
 * taken what was in it before, so a slow client stops the workload and memory is bounded.  The
 * init's end must not wait for a slow client, though: what the FIFOs then still hold is logged at
 * once and kept for the clients beside the batch.  From RECORDED on the lock is free and the socket
 * closed; the process is only there for those who have not read everything yet.
 *
 * Descriptors of FIFOs are open for reading and writing, so they never report an end: the end of
 * output is the end of the init.  (What a process outside the init's pid namespace writes later is
 * nobody's output.)  One that was opened for reading only is left alone after its end.
 *
 * Memory: everything large is in struct space, pages of which exist only once used and are given
 * back when output rests. */
#include "monitor/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/spawn.h"
#include "monitor/attach.h"
#include "monitor/cri_log.h"
#include "monitor/exit_record.h"
#include "monitor/input.h"
#include "monitor/terminal.h"

#define BATCH_BYTES 65536    /* the default capacity of a FIFO */
#define REST_BYTES 1048576   /* fs.pipe-max-size: what a FIFO can hold at most */
#define TICK_MS 100          /* how often unfinished lines and unused pages are looked at */
#define REAP_WAIT_MS 2000    /* how long an adopted init may stay a zombie of its new parent */
#define TRIM_BYTES 8192      /* reads below this leave nothing worth giving back */
#define OOM_ADJUST_MAX 8     /* bytes of "-1000\n" */
#define OOM_PROTECTED "-900" /* killed last: the workload would lose its output */

/* Virtual memory; see above. */
struct space {
	_Alignas(4096) uint8_t batch[BATCH_BYTES];
	_Alignas(4096) struct monitor_msg message;
	_Alignas(4096) uint8_t input[MONITOR_MSG_DATA_MAX];
	struct cri_log_space log;
	_Alignas(4096) uint8_t rest[CRI_STREAM_COUNT][REST_BYTES];
};

enum monitor_phase { WATCHING, RECORDED, RELEASED };

struct stream {
	struct monitor *monitor; /* borrowed */
	enum cri_stream name;
	enum monitor_stream bit;
	int fd;                   /* borrowed from args, the terminal, or adopted; -1: none */
	struct loop_watch *watch; /* NULL after an end */
};

struct monitor {
	const struct monitor_args *args; /* borrowed */
	enum monitor_phase phase;
	struct loop *loop; /* owned */
	struct cri_log log;
	struct stream streams[CRI_STREAM_COUNT];
	struct attach attach;
	struct input input;
	struct terminal terminal;
	struct loop_watch *init_watch, *listener_watch, *child_watch, *tick, *reap_deadline;
	int lock, listener;              /* owned */
	bool held;                       /* the streams wait for a client */
	bool busy;                       /* something was read since the last tick */
	char oom_adjust[OOM_ADJUST_MAX]; /* the process's own value, for the exit command */
	size_t oom_adjust_len;
	struct space space;
};

/* ---- the tick: only while there is something to look at ---- */

static void monitor_trim(struct monitor *m)
{
	if (attach_is_taken(&m->attach))
		(void)madvise(m->space.batch, sizeof(m->space.batch), MADV_DONTNEED);
	if (m->input.len == 0)
		(void)madvise(m->space.input, sizeof(m->space.input), MADV_DONTNEED);
	(void)madvise(&m->space.message, sizeof(m->space.message), MADV_DONTNEED);
	cri_log_trim(&m->log);
}

static void monitor_on_tick(void *context);

static void monitor_tick_later(struct monitor *m)
{
	/* Without a tick a prompt is logged with its line, and memory stays: neither is worth more
	 * than going on. */
	if (m->tick == NULL &&
		loop_watch_timer(m->loop, TICK_MS, monitor_on_tick, m, &m->tick, NULL) < 0)
		m->tick = NULL;
}

static void monitor_on_tick(void *context)
{
	struct monitor *m = context;
	bool holds = cri_log_tick(&m->log, clock_wall_ns());

	loop_remove(TAKE(m->tick));
	if (!holds && !m->busy) {
		monitor_trim(m);
		return;
	}
	m->busy = false;
	monitor_tick_later(m);
}

/* ---- output ---- */

/* Bytes, 0 for none now, -1 for an end. */
static ssize_t stream_read(const struct stream *s, uint8_t *bytes, size_t max)
{
	ssize_t n;

	do
		n = read(s->fd, bytes, max);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return 0;
	return n == 0 ? -1 : n;
}

static void stream_unwatch(struct stream *s)
{
	loop_remove(TAKE(s->watch));
}

static void monitor_hold_output(struct monitor *m, bool held)
{
	if (m->held == held)
		return;
	m->held = held;
	for (size_t i = 0; i < ARRAY_LEN(m->streams); i++) {
		struct stream *s = &m->streams[i];

		if (s->watch != NULL && loop_change(s->watch, held ? 0 : EPOLLIN, NULL) < 0)
			stream_unwatch(s);
	}
}

static void stream_on_event(void *context, int fd, uint32_t events)
{
	struct stream *s = context;
	struct monitor *m = s->monitor;

	(void)fd;
	if (m->held) {
		/* Of this round of events, from before it was held; or a hang-up, which comes
		 * unasked: then what the stream holds is read at the end. */
		if ((events & (EPOLLHUP | EPOLLERR)) != 0)
			stream_unwatch(s);
		return;
	}
	ssize_t n = stream_read(s, m->space.batch, sizeof(m->space.batch));
	if (n <= 0) {
		if (n < 0)
			stream_unwatch(s);
		return;
	}
	size_t len = (size_t)n;
	cri_log_add(&m->log, s->name, clock_wall_ns(), m->space.batch, len);
	m->busy = true;
	if (len > TRIM_BYTES || cri_log_holds(&m->log))
		monitor_tick_later(m);
	if (!attach_output(&m->attach, (struct attach_segment){ s->bit, m->space.batch, len }))
		monitor_hold_output(m, true);
}

/* All that is there, without waiting for clients. */
static void stream_drain(struct stream *s)
{
	struct monitor *m = s->monitor;
	uint8_t *bytes = m->space.rest[s->name];
	size_t len = 0;
	ssize_t n = 1;

	stream_unwatch(s);
	while (s->fd >= 0 && n > 0 && len < REST_BYTES) {
		n = stream_read(s, bytes + len, REST_BYTES - len);
		len += n > 0 ? (size_t)n : 0;
	}
	if (len == 0)
		return;
	cri_log_add(&m->log, s->name, clock_wall_ns(), bytes, len);
	(void)attach_output(&m->attach, (struct attach_segment){ s->bit, bytes, len });
}

static int stream_start(struct stream *s, int fd, struct err *err)
{
	int r = fd_set_nonblocking(fd, true);

	if (r < 0)
		return err_sys(err, -r, "read the workload's output");
	s->fd = fd;
	return loop_watch_fd(s->monitor->loop, fd, s->monitor->held ? 0 : EPOLLIN, stream_on_event,
		s, &s->watch, err);
}

/* ---- clients ---- */

static void monitor_settle(struct monitor *m);

static void monitor_on_input(void *context, const uint8_t *bytes, size_t len)
{
	struct monitor *m = context;

	m->busy = true;
	if (len > TRIM_BYTES)
		monitor_tick_later(m);
	if (len > 0)
		input_write(&m->input, bytes, len);
	else if (!m->args->terminal)
		input_end(&m->input);
}

static void monitor_on_input_gone(void *context)
{
	struct monitor *m = context;

	if (m->args->stdin_once && !m->args->terminal)
		input_end(&m->input);
}

static void monitor_on_input_hold(void *context, bool held)
{
	struct monitor *m = context;

	attach_hold_input(&m->attach, held);
}

static void monitor_on_resize(void *context, unsigned rows, unsigned columns)
{
	struct monitor *m = context;

	terminal_resize(&m->terminal, rows, columns);
}

static void monitor_on_changed(void *context)
{
	struct monitor *m = context;

	if (m->phase != WATCHING)
		monitor_settle(m);
	else if (attach_is_taken(&m->attach))
		monitor_hold_output(m, false);
}

static const struct attach_ops attach_ops = {
	.input = monitor_on_input,
	.input_gone = monitor_on_input_gone,
	.resize = monitor_on_resize,
	.changed = monitor_on_changed,
};

static bool peer_is_trusted(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       (peer.uid == 0 || peer.uid == geteuid());
}

static void monitor_accept(struct monitor *m)
{
	for (int i = 0; m->listener >= 0 && i < LIMIT_ATTACH_CLIENTS; i++) {
		AUTO_CLOSE int fd = accept4(m->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0)
			return;
		if (peer_is_trusted(fd))
			attach_add(&m->attach, TAKE_FD(fd));
	}
}

static void monitor_on_listener(void *context, int fd, uint32_t events)
{
	(void)fd;
	(void)events;
	monitor_accept(context);
}

static void monitor_on_master(void *context, int master)
{
	struct monitor *m = context;

	/* Without memory or descriptors for it the terminal is mute; the workload goes on. */
	if (stream_start(&m->streams[CRI_STDOUT], master, NULL) < 0)
		return;
	/* A descriptor of its own, so that both directions can be watched. */
	input_set(&m->input, fcntl(master, F_DUPFD_CLOEXEC, 3));
}

/* ---- the end ---- */

static void monitor_exit_command(struct monitor *m)
{
	pid_t pid;
	const struct spawn spawn = { .argv = m->args->exit_command,
		.envp = (const char *const *)(uintptr_t)environ,
		.stdio = { -1, -1, -1 },
		.new_session = true };

	if (m->args->exit_command == NULL || m->attach.cleaned)
		return;
	/* What it starts must not inherit the monitor's protection. */
	if (m->oom_adjust_len > 0 &&
		pwrite(m->args->oom_adjust, m->oom_adjust, m->oom_adjust_len, 0) < 0)
		return;
	/* Without it the next command of moat's finds the record and does the same. */
	int r = spawn_start(&spawn, &pid, NULL, NULL);
	(void)r;
}

static void monitor_settle(struct monitor *m)
{
	if (m->phase == RECORDED && !attach_has_cleaner(&m->attach)) {
		m->phase = RELEASED;
		monitor_exit_command(m);
	}
	if (m->phase == RELEASED && attach_is_empty(&m->attach))
		loop_stop(m->loop, 0);
}

static void monitor_release(struct monitor *m)
{
	loop_remove(TAKE(m->listener_watch));
	if (m->listener >= 0)
		(void)close(TAKE_FD(m->listener));
	if (m->lock >= 0)
		(void)close(TAKE_FD(m->lock));
}

static void monitor_ended(struct monitor *m, bool known, int status)
{
	struct exit_record record = { .known = known,
		.status = status,
		.oom = exit_record_oom(m->args->oom_events),
		.wall_ns = clock_wall_ns() };

	loop_remove(TAKE(m->init_watch));
	loop_remove(TAKE(m->reap_deadline));
	terminal_receive(&m->terminal);
	monitor_accept(m);
	for (size_t i = 0; i < ARRAY_LEN(m->streams); i++)
		stream_drain(&m->streams[i]);
	cri_log_flush(&m->log, clock_wall_ns());
	/* Both directories refused: the next command finds no record and reports it as unknown. */
	int r = exit_record_write(&record, m->args->data_dir, m->args->run_dir, NULL);
	(void)r;
	monitor_release(m);
	m->phase = RECORDED;
	attach_finish(&m->attach, known ? (uint32_t)status : MONITOR_STATUS_UNKNOWN);
	monitor_settle(m);
}

static void monitor_on_reap_deadline(void *context)
{
	monitor_ended(context, false, 0);
}

/* An adopted init has ended but its new parent has not reaped it: the hang-up of the pidfd, which
 * is always reported, says when it has. */
static void monitor_await_reap(struct monitor *m)
{
	if (m->reap_deadline != NULL)
		return;
	if (loop_change(m->init_watch, 0, NULL) < 0 ||
		loop_watch_timer(m->loop, REAP_WAIT_MS, monitor_on_reap_deadline, m,
			&m->reap_deadline, NULL) < 0)
		monitor_ended(m, false, 0);
}

static void monitor_on_init(void *context, int pidfd, uint32_t events)
{
	struct monitor *m = context;
	int status = 0;
	int r = m->args->adopt ? exit_record_stranger(pidfd, (events & EPOLLHUP) != 0, &status)
			       : exit_record_child(m->args->init_pid, &status);

	if (r == -EAGAIN && m->args->adopt)
		monitor_await_reap(m);
	else if (r != -EAGAIN)
		monitor_ended(m, r == 0, status);
}

/* Children other than the init: what made it, and the exit command. */
static void monitor_on_child(void *context, int signal_number)
{
	struct monitor *m = context;
	siginfo_t info;

	(void)signal_number;
	for (;;) {
		info.si_pid = 0;
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
			return;
		/* Its status is taken where its end is handled. */
		if (info.si_pid == m->args->init_pid && m->phase == WATCHING)
			return;
		(void)waitpid(info.si_pid, NULL, WNOHANG);
	}
}

/* ---- the beginning ---- */

static void monitor_protect(struct monitor *m)
{
	ssize_t n = m->args->oom_adjust < 0
			    ? -1
			    : pread(m->args->oom_adjust, m->oom_adjust, sizeof(m->oom_adjust), 0);

	if (n <= 0)
		return;
	/* Only root may: a wish. */
	if (pwrite(m->args->oom_adjust, OOM_PROTECTED, strlen(OOM_PROTECTED), 0) > 0)
		m->oom_adjust_len = (size_t)n;
}

/* The descriptor given, or with adopt and no terminal the FIFO of that name, or -1. */
static int monitor_fifo(const struct monitor *m, int given, const char *name, int flags)
{
	if (given >= 0 || !m->args->adopt || m->args->terminal)
		return given;
	return openat(m->args->run_dir, name, flags | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
}

static int monitor_open_streams(struct monitor *m, struct err *err)
{
	const struct monitor_args *args = m->args;
	int fds[CRI_STREAM_COUNT] = {
		monitor_fifo(m, args->stdout_fifo, MONITOR_FIFO_STDOUT, O_RDWR),
		monitor_fifo(m, args->stderr_fifo, MONITOR_FIFO_STDERR, O_RDWR),
	};
	int in = monitor_fifo(m, args->stdin_fifo, MONITOR_FIFO_STDIN, O_WRONLY);

	if (in >= 0) {
		int r = fd_set_nonblocking(in, true);
		if (r < 0)
			return err_sys(err, -r, "write the workload's input");
		input_set(&m->input, in);
	}
	for (int i = 0; i < CRI_STREAM_COUNT; i++) {
		int r = fds[i] < 0 ? 0 : stream_start(&m->streams[i], fds[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int monitor_open_clients(struct monitor *m, struct err *err)
{
	int first = m->args->first_client;
	int r = 0;

	if (m->listener >= 0) {
		r = fd_set_nonblocking(m->listener, true);
		if (r < 0)
			return err_sys(err, -r, "listen for clients");
		r = loop_watch_fd(m->loop, m->listener, EPOLLIN, monitor_on_listener, m,
			&m->listener_watch, err);
	}
	if (r == 0 && first >= 0) {
		r = fd_set_nonblocking(first, true);
		if (r < 0)
			return err_sys(err, -r, "talk to the first client");
		attach_add(&m->attach, first);
	}
	return r;
}

static int monitor_open(struct monitor *m, struct err *err)
{
	const struct monitor_args *args = m->args;
	int r;

	if ((r = cri_log_open(&m->log, &m->space.log, args->data_dir,
		     (uint64_t)args->log_limit_kib * 1024, err)) < 0)
		return r;
	if ((r = terminal_init(&m->terminal, m->loop, args->console, monitor_on_master, m, err)) <
		0)
		return r;
	if ((r = monitor_open_streams(m, err)) < 0)
		return r;
	/* After the streams are open, before any is read: early messages find both. */
	if ((r = monitor_open_clients(m, err)) < 0)
		return r;
	if ((r = loop_watch_signal(m->loop, SIGCHLD, monitor_on_child, m, &m->child_watch, err)) <
		0)
		return r;
	if (args->init_pidfd >= 0)
		return loop_watch_fd(m->loop, args->init_pidfd, EPOLLIN, monitor_on_init, m,
			&m->init_watch, err);
	/* Adopted too late: there is only the rest of its output. */
	monitor_ended(m, false, 0);
	return 0;
}

/* The struct lies in the same mapping as what it uses: one page of small things. */
static void monitor_init(struct monitor *m, const struct monitor_args *args, struct loop *loop)
{
	m->args = args;
	m->loop = loop;
	m->lock = args->lock;
	m->listener = args->listener;
	m->log.fd = -1;
	m->terminal.console = m->terminal.master = m->terminal.peer = -1;
	for (int i = 0; i < CRI_STREAM_COUNT; i++)
		m->streams[i] = (struct stream){ .monitor = m,
			.name = (enum cri_stream)i,
			.bit = i == CRI_STDOUT ? MONITOR_STDOUT : MONITOR_STDERR,
			.fd = -1 };
	attach_init(&m->attach, loop, &attach_ops, m, &m->space.message);
	m->attach.terminal = args->terminal;
	input_init(&m->input, loop, m->space.input, monitor_on_input_hold, m);
}

int monitor_new(const struct monitor_args *args, struct monitor **ret_monitor, struct err *err)
{
	AUTO(loop) loop = NULL;
	int r = loop_new(&loop, err);

	if (r < 0)
		return r;
	void *memory = mmap(NULL, sizeof(struct monitor), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return err_sys(err, errno, "get memory for the monitor");
	/* One byte used must not make two megabytes. */
	(void)madvise(memory, sizeof(struct monitor), MADV_NOHUGEPAGE);

	AUTO(monitor) m = memory;
	monitor_init(m, args, TAKE(loop));
	monitor_protect(m);
	r = monitor_open(m, err);
	if (r < 0)
		return r;
	*ret_monitor = TAKE(m);
	return 0;
}

int monitor_keep(struct monitor *monitor, struct err *err)
{
	return loop_run(monitor->loop, err);
}

void monitor_free(struct monitor *monitor)
{
	if (monitor == NULL)
		return;
	attach_done(&monitor->attach);
	input_done(&monitor->input);
	terminal_done(&monitor->terminal);
	cri_log_done(&monitor->log);
	loop_free(monitor->loop);
	(void)munmap(monitor, sizeof(*monitor));
}
