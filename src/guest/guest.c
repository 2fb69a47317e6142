/* guest - the life of the machine's init.
 *
 *	SETUP --READY--> WAITS --GO--> STARTS --STARTED--> RUNS --init's end--> DRAINS --EXITED-->
 *DONE
 *	   \________________\_____________\---FAILED--------------------------------------------->
 *DONE
 *
 * Until READY it works through start_steps[], one after the other; from then on everything is an
 * event.  It is the parent of all processes that have lost theirs and reaps them.  DRAINS lasts
 * until the workload's output has been taken, as long as it is being taken; DONE until the machine
 * hangs up, or a deadline; then the power goes off.  A machine that hangs up earlier ends the
 * workload the same way.
 *
 * The control connection blocks: what is written to it are a few bytes now and then, with a
 * deadline, and it is read only when there is something. */
#include "guest/guest.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/step.h"
#include "container/container.h"
#include "guest/guest_order.h"
#include "guest/guest_pump.h"
#include "guest/guest_root.h"
#include "guest/guest_service.h"
#include "guest/guest_workload.h"
#include "wire/guest_msg.h"

#define STARTED_TIMEOUT_MS 10000
#define SEND_TIMEOUT_S 10
#define DRAIN_TICK_MS 10000 /* output of which nothing is taken for so long is lost */
#define DONE_TIMEOUT_MS 60000
#define NS_PER_S 1000000000
#define STREAMS 3

enum guest_phase { GUEST_SETUP, GUEST_WAITS, GUEST_STARTS, GUEST_RUNS, GUEST_DRAINS, GUEST_DONE };

struct guest {
	const struct guest_platform *platform; /* borrowed */
	enum guest_phase phase;
	struct loop *loop; /* owned, as all here */
	int control;
	struct guest_decoder decoder;
	struct guest_order order;
	struct guest_root root;
	struct guest_workload workload;
	struct guest_service *service;
	struct guest_pump pumps[STREAMS];
	struct loop_watch *control_watch, *report_watch, *child_watch, *timer;
	uint64_t moved; /* by the pumps, at the last tick */
	int status;     /* of the workload, once reaped */
	bool is_failed; /* FAILED was said */
};

/* ---- the control connection ---- */

static int say(struct guest *g, enum guest_msg_type type, uint32_t value, const void *data,
	size_t len, struct err *err)
{
	int r = guest_msg_send(g->control, type, value, data, len);
	return r < 0 ? err_sys(err, -r, "tell the machine") : 0;
}

static int connect_control(struct guest *g, struct err *err)
{
	g->control = g->platform->connect(GUEST_PORT_CONTROL, err);
	if (g->control < 0)
		return g->control;
	const struct timeval timeout = { .tv_sec = SEND_TIMEOUT_S };
	(void)setsockopt(g->control, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	return say(g, GUEST_HELLO, 0, MOAT_VERSION, strlen(MOAT_VERSION), err);
}

static int hear_start(struct guest *g, struct err *err)
{
	struct guest_msg msg;
	int r = guest_msg_receive(g->control, &g->decoder, &msg);
	if (r < 0)
		return err_sys(err, -r, "hear from the machine");
	if (msg.type != GUEST_START)
		return err_set(err, ERR_INVALID, "the machine said %u before START", msg.type);
	return guest_order_parse(msg.data, &g->order, err);
}

/* ---- the steps of START ---- */

static int set_clock(void *context, struct err *err)
{
	const struct guest *g = context;
	const struct timespec now = { .tv_sec = g->order.clock_ns / NS_PER_S,
		.tv_nsec = g->order.clock_ns % NS_PER_S };
	if (g->order.clock_ns > 0 && clock_settime(CLOCK_REALTIME, &now) < 0)
		return err_sys(err, errno, "set the clock");
	return 0;
}

static int mount_root(void *context, struct err *err)
{
	struct guest *g = context;
	return guest_root_mount(g->platform, &g->order, &g->root, err);
}

static int create_workload(void *context, struct err *err)
{
	struct guest *g = context;
	return guest_workload_create(g->platform, &g->order, &g->root, &g->workload, err);
}

static void on_pump_end(void *context);

/* One stream to its port; index is that of the pump. */
static int connect_stream(struct guest *g, int stream, struct err *err)
{
	static const unsigned ports[STREAMS] = { GUEST_PORT_STDIN, GUEST_PORT_STDOUT,
		GUEST_PORT_STDERR };
	if (g->workload.streams[stream] < 0)
		return 0;
	int ours = TAKE_FD(g->workload.streams[stream]);
	int port = g->platform->connect(ports[stream], err);
	if (port < 0) {
		(void)close(ours);
		return port;
	}
	bool is_input = stream == STDIN_FILENO;
	return guest_pump_start(&g->pumps[stream], g->loop, is_input ? port : ours,
		is_input ? ours : port, is_input ? NULL : on_pump_end, g, err);
}

/* Both directions through one connection. */
static int connect_terminal(struct guest *g, struct err *err)
{
	AUTO_CLOSE int port = g->platform->connect(GUEST_PORT_STDOUT, err);
	if (port < 0)
		return port;
	for (int stream = STDIN_FILENO; stream <= STDOUT_FILENO; stream++) {
		int master = fcntl(g->workload.master, F_DUPFD_CLOEXEC, 3);
		int copy = fcntl(port, F_DUPFD_CLOEXEC, 3);
		if (master < 0 || copy < 0) {
			int code = errno;
			cleanup_close(&master);
			cleanup_close(&copy);
			return err_sys(err, code, "connect the terminal");
		}
		bool is_input = stream == STDIN_FILENO;
		int r = guest_pump_start(&g->pumps[stream], g->loop, is_input ? copy : master,
			is_input ? master : copy, is_input ? NULL : on_pump_end, g, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int connect_streams(void *context, struct err *err)
{
	struct guest *g = context;
	if (g->order.has_terminal)
		return connect_terminal(g, err);
	int r = 0;
	for (int stream = 0; r == 0 && stream < STREAMS; stream++)
		r = connect_stream(g, stream, err);
	return r;
}

static int open_service(void *context, struct err *err)
{
	struct guest *g = context;
	return guest_service_open(g->platform, g->loop, &g->order, &g->workload, &g->service, err);
}

static const struct step start_steps[] = {
	{ "clock", set_clock, NULL },
	{ "root", mount_root, NULL },
	{ "workload", create_workload, NULL },
	{ "streams", connect_streams, NULL },
	{ "service", open_service, NULL },
};

/* ---- the end ---- */

static void on_deadline(void *context)
{
	struct guest *g = context;
	loop_stop(g->loop, 0);
}

static void set_timer(struct guest *g, uint64_t delay_ms, loop_timer_fn *fn)
{
	loop_remove(TAKE(g->timer));
	/* Without a timer there would be no end. */
	if (loop_watch_timer(g->loop, delay_ms, fn, g, &g->timer, NULL) < 0)
		loop_stop(g->loop, 0);
}

static void wait_hang_up(struct guest *g)
{
	g->phase = GUEST_DONE;
	set_timer(g, DONE_TIMEOUT_MS, on_deadline);
}

static void fail(struct guest *g, const struct err *why)
{
	struct err err = { 0 };
	g->is_failed = true;
	if (say(g, GUEST_FAILED, (uint32_t)why->kind, why->message, strlen(why->message), &err) < 0)
		log_error("%s (%s)", why->message, err.message);
	wait_hang_up(g);
}

static void release_root(struct guest *g)
{
	struct err err = { 0 };
	if (guest_root_unmount(&g->root, &err) < 0)
		log_warning("%s", err.message);
}

static void finish(struct guest *g)
{
	struct err err = { 0 };
	for (int i = 0; i < STREAMS; i++)
		guest_pump_done(&g->pumps[i]);
	release_root(g);
	if (say(g, GUEST_EXITED, (uint32_t)g->status, NULL, 0, &err) < 0)
		log_warning("%s", err.message);
	wait_hang_up(g);
}

static bool output_is_taken(const struct guest *g)
{
	return !guest_pump_is_running(&g->pumps[STDOUT_FILENO]) &&
	       !guest_pump_is_running(&g->pumps[STDERR_FILENO]);
}

static void on_pump_end(void *context)
{
	struct guest *g = context;
	if (g->phase == GUEST_DRAINS && output_is_taken(g))
		finish(g);
}

static void on_drain_tick(void *context)
{
	struct guest *g = context;
	uint64_t moved = g->pumps[STDOUT_FILENO].moved + g->pumps[STDERR_FILENO].moved;
	if (moved == g->moved) {
		log_warning("nobody takes the workload's output");
		finish(g);
		return;
	}
	g->moved = moved;
	set_timer(g, DRAIN_TICK_MS, on_drain_tick);
}

static void drain(struct guest *g)
{
	g->phase = GUEST_DRAINS;
	guest_pump_done(&g->pumps[STDIN_FILENO]);
	/* Nobody has the terminal open any more: its pump comes to an end. */
	if (g->workload.peer >= 0)
		(void)close(TAKE_FD(g->workload.peer));
	if (output_is_taken(g)) {
		finish(g);
		return;
	}
	g->moved = g->pumps[STDOUT_FILENO].moved + g->pumps[STDERR_FILENO].moved;
	set_timer(g, DRAIN_TICK_MS, on_drain_tick);
}

/* ---- events ---- */

/* The init's word after its go. */
static void hear_report(struct guest *g)
{
	struct err err = { 0 };
	loop_remove(TAKE(g->report_watch));
	int r = container_report_wait(g->workload.report_fd, CONTAINER_STARTED, STARTED_TIMEOUT_MS,
		&err);
	if (r == 0)
		r = say(g, GUEST_STARTED, 0, NULL, 0, &err);
	if (r < 0)
		fail(g, &err);
	else
		g->phase = GUEST_RUNS;
}

static void on_report(void *context, int fd, uint32_t events)
{
	(void)fd;
	(void)events;
	hear_report(context);
}

static void workload_ended(struct guest *g, int status)
{
	g->workload.pid = 0;
	g->status = status;
	if (g->phase == GUEST_STARTS)
		hear_report(g); /* it may have run already */
	if (g->phase == GUEST_RUNS) {
		drain(g);
	} else if (g->phase == GUEST_WAITS) {
		struct err err = { 0 };
		(void)!err_set(&err, ERR_SYSTEM, "the workload's init ended before its start");
		fail(g, &err);
	}
}

static void on_child(void *context, int signal_number)
{
	(void)signal_number;
	struct guest *g = context;
	int status;
	for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
		if (pid == g->workload.pid)
			workload_ended(g, status);
		else
			(void)guest_service_reaped(g->service, pid, status);
	}
}

static void go(struct guest *g)
{
	struct err err = { 0 };
	int r = guest_workload_go(&g->workload, &err);
	if (r == 0)
		r = loop_watch_fd(g->loop, g->workload.report_fd, EPOLLIN, on_report, g,
			&g->report_watch, &err);
	if (r < 0)
		fail(g, &err);
	else
		g->phase = GUEST_STARTS;
}

static void take_message(struct guest *g, const struct guest_msg *msg)
{
	bool is_alive = g->workload.pid != 0;
	if (msg->type == GUEST_GO && g->phase == GUEST_WAITS)
		go(g);
	else if (msg->type == GUEST_RESIZE)
		guest_terminal_resize(g->workload.master, msg->value);
	else if (msg->type == GUEST_SIGNAL && is_alive)
		(void)!container_signal(g->workload.pidfd, (int)msg->value, NULL);
	/* Anything else is of a later version. */
}

/* The machine has hung up: as if its power button were held. */
static void control_lost(struct guest *g)
{
	loop_remove(TAKE(g->control_watch));
	if (g->workload.pid != 0)
		(void)!container_signal(g->workload.pidfd, SIGKILL, NULL);
	if (g->phase < GUEST_DRAINS)
		release_root(g);
	loop_stop(g->loop, 0);
}

/* All that has been read, which makes room for more; negative where it is no message. */
static int take_messages(struct guest *g)
{
	struct guest_msg msg;
	int r;
	while ((r = guest_decoder_next(&g->decoder, &msg)) > 0)
		take_message(g, &msg);
	return r;
}

static void on_control(void *context, int fd, uint32_t events)
{
	(void)events;
	struct guest *g = context;
	int r = take_messages(g);
	if (r == 0)
		r = guest_decoder_read(&g->decoder, fd) > 0 ? take_messages(g) : -EPIPE;
	if (r < 0)
		control_lost(g);
}

static int watch_events(struct guest *g, struct err *err)
{
	int r = loop_watch_signal(g->loop, SIGCHLD, on_child, g, &g->child_watch, err);
	return r < 0 ? r
		     : loop_watch_fd(g->loop, g->control, EPOLLIN, on_control, g, &g->control_watch,
			       err);
}

static void guest_free(struct guest *g)
{
	guest_service_free(g->service);
	for (int i = 0; i < STREAMS; i++)
		guest_pump_done(&g->pumps[i]);
	loop_free(g->loop);
	guest_decoder_done(&g->decoder);
	guest_workload_done(&g->workload);
	guest_root_done(&g->root);
	guest_order_done(&g->order);
	cleanup_close(&g->control);
	free(g);
}
DEFINE_AUTO(guest)

static struct guest *guest_new(const struct guest_platform *platform)
{
	struct guest *g = NEW(guest);
	g->platform = platform;
	g->control = -1;
	g->root.mount_fd = -1;
	g->workload = (struct guest_workload){ .pidfd = -1,
		.go_fd = -1,
		.report_fd = -1,
		.streams = { -1, -1, -1 },
		.master = -1,
		.peer = -1 };
	guest_decoder_init(&g->decoder, GUEST_START_MAX);
	return g;
}

static int serve(struct guest *g, struct err *err)
{
	struct err why = { 0 };
	int r = hear_start(g, &why);
	if (r == 0)
		r = step_run("guest", start_steps, ARRAY_LEN(start_steps), g, &why);
	if (r == 0)
		r = watch_events(g, &why);
	if (r == 0) {
		g->phase = GUEST_WAITS;
		r = say(g, GUEST_READY, 0, NULL, 0, &why);
		/* What has come with START. */
		if (r == 0 && take_messages(g) < 0)
			r = err_set(&why, ERR_INVALID, "the machine said what is no message");
	}
	if (r < 0) {
		log_error("%s", why.message);
		fail(g, &why);
		if (g->control_watch == NULL)
			r = loop_watch_fd(g->loop, g->control, EPOLLIN, on_control, g,
				&g->control_watch, err);
	}
	return g->control_watch == NULL ? r : loop_run(g->loop, err);
}

int guest_run(const struct guest_platform *platform, struct err *err)
{
	AUTO(guest) g = guest_new(platform);
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	(void)sigaction(SIGPIPE, &ignore, NULL);
	int r = loop_new(&g->loop, err);
	if (r == 0)
		r = connect_control(g, err);
	if (r == 0)
		r = serve(g, err);
	platform->power_off();
	return r;
}
