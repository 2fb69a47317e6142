/* guest_pump - see guest_pump.h.  It reads only when all it read before is written, so who reads
 * slowly slows down who writes, and nothing else.  When the reading side has gone, the rest is read
 * and thrown away: a workload must not die of what happened to its log.  A stream socket's end is a
 * shutdown of its sending side, so that bytes on their way still arrive. */
#include "guest/guest_pump.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/fd.h"

static void pump_end(struct guest_pump *p)
{
	bool was_running = p->from >= 0;
	guest_pump_done(p);
	if (was_running && p->end != NULL)
		p->end(p->context);
}

static void close_to(struct guest_pump *p)
{
	loop_remove(TAKE(p->writable));
	if (p->to < 0)
		return;
	(void)shutdown(p->to, SHUT_WR); /* refused where it is no socket */
	(void)close(TAKE_FD(p->to));
}

static void on_writable(void *context, int fd, uint32_t events);
static void on_readable(void *context, int fd, uint32_t events);

/* Writes what waits; true when nothing is left. */
static bool pump_write(struct guest_pump *p)
{
	while (p->offset < p->len && p->to >= 0) {
		ssize_t n = write(p->to, p->bytes + p->offset, p->len - p->offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return false;
		if (n < 0)
			close_to(p);
		else
			p->offset += (size_t)n;
	}
	p->moved += p->len;
	p->offset = p->len = 0;
	return true;
}

/* Waits for the side that the pump depends on now; without a watch there is no way on. */
static void pump_watch(struct guest_pump *p)
{
	bool wants_write = p->len > 0;
	loop_remove(TAKE(*(wants_write ? &p->readable : &p->writable)));
	int r = 0;
	if (wants_write && p->writable == NULL)
		r = loop_watch_fd(p->loop, p->to, EPOLLOUT, on_writable, p, &p->writable, NULL);
	else if (!wants_write && p->readable == NULL)
		r = loop_watch_fd(p->loop, p->from, EPOLLIN, on_readable, p, &p->readable, NULL);
	if (r < 0)
		pump_end(p);
}

static void on_writable(void *context, int fd, uint32_t events)
{
	(void)fd;
	(void)events;
	struct guest_pump *p = context;
	if (pump_write(p))
		pump_watch(p);
}

static void on_readable(void *context, int fd, uint32_t events)
{
	(void)fd;
	(void)events;
	struct guest_pump *p = context;
	ssize_t n = read(p->from, p->bytes, sizeof(p->bytes));
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) { /* EIO: a terminal that nobody has open */
		pump_end(p);
		return;
	}
	p->len = (size_t)n;
	if (!pump_write(p))
		pump_watch(p);
}

int guest_pump_start(struct guest_pump *pump, struct loop *loop, int take_from, int take_to,
	void (*end)(void *context), void *context, struct err *err)
{
	/* Not the bytes: they are many. */
	pump->loop = loop;
	pump->from = take_from;
	pump->to = take_to;
	pump->readable = pump->writable = NULL;
	pump->end = end;
	pump->context = context;
	pump->is_started = true;
	pump->moved = 0;
	pump->offset = pump->len = 0;
	int r = fd_set_nonblocking(take_from, true);
	if (r == 0 && take_to >= 0)
		r = fd_set_nonblocking(take_to, true);
	if (r < 0)
		r = err_sys(err, -r, "connect a stream");
	else
		r = loop_watch_fd(loop, take_from, EPOLLIN, on_readable, pump, &pump->readable,
			err);
	if (r < 0)
		guest_pump_done(pump);
	return r;
}

bool guest_pump_is_running(const struct guest_pump *pump)
{
	return pump->is_started && pump->from >= 0;
}

void guest_pump_done(struct guest_pump *pump)
{
	if (!pump->is_started)
		return;
	loop_remove(TAKE(pump->readable));
	close_to(pump);
	if (pump->from >= 0)
		(void)close(TAKE_FD(pump->from));
}
