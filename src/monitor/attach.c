/* attach - clients have no queues: what a client has not taken is the segment that was read from
 * the workload plus what the kernel keeps in its socket.  A client's state is a position in the
 * segments; when all positions are at the end, the segments are forgotten and the owner reads
 * again. So memory is bounded, nothing is copied or allocated per message, and a slow client slows
 * the workload down, as it would at the other end of a pipe. */
#include "monitor/attach.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/mem.h"
#include "wire/monitor_client.h"

/* What a client may have sent since it was last read: its socket's buffer, in least messages. */
#define UNREAD_MAX 1024

static bool client_is_behind(const struct attach_client *c)
{
	return c->fd >= 0 && c->segment < c->attach->segments_len;
}

static bool client_is_read(const struct attach_client *c)
{
	return !(c->attach->input_held && (c->wanted & MONITOR_STDIN_BIT) != 0);
}

static void client_drop(struct attach_client *c)
{
	uint8_t byte;
	int fd = TAKE_FD(c->fd);
	bool had_input = (c->wanted & MONITOR_STDIN_BIT) != 0;

	/* Closing with messages unread would put an error before what the client was sent. */
	for (int i = 0; i < UNREAD_MAX; i++)
		if (recv(fd, &byte, 1, MSG_DONTWAIT) <= 0)
			break;
	loop_remove(TAKE(c->watch));
	(void)close(fd);
	c->wanted = 0;
	if (had_input)
		c->attach->ops->input_gone(c->attach->context);
}

/* Asks for the events that matter now. */
static void client_watch(struct attach_client *c)
{
	uint32_t events = client_is_read(c) ? EPOLLIN : 0;

	if (c->watch == NULL)
		return;
	if (client_is_behind(c) || (c->attach->finished && !c->exit_sent))
		events |= EPOLLOUT;
	if (loop_change(c->watch, events, NULL) < 0)
		client_drop(c);
}

/* Sends what the socket takes.  False: the socket is full. */
static bool client_send_output(struct attach_client *c)
{
	const struct attach *a = c->attach;

	while (client_is_behind(c)) {
		const struct attach_segment *s = &a->segments[c->segment];
		size_t len = s->len - c->offset;

		if ((c->wanted & (uint32_t)s->stream) == 0 || len == 0) {
			c->segment++;
			c->offset = 0;
			continue;
		}
		if (len > MONITOR_MSG_DATA_MAX)
			len = MONITOR_MSG_DATA_MAX;
		int r = monitor_send(c->fd, MONITOR_OUTPUT, s->stream, s->bytes + c->offset, len);
		if (r == -EAGAIN)
			return false;
		if (r < 0)
			client_drop(c);
		c->offset += len;
	}
	return true;
}

static void client_pump(struct attach_client *c)
{
	const struct attach *a = c->attach;

	if (!client_send_output(c) || c->fd < 0 || !a->finished || c->exit_sent)
		return;
	int r = monitor_send(c->fd, MONITOR_EXIT, a->status, NULL, 0);
	if (r == -EAGAIN)
		return;
	c->exit_sent = true;
	if (r < 0 || (c->wanted & MONITOR_WILL_CLEAN) == 0)
		client_drop(c);
}

static void client_attached(struct attach_client *c, uint32_t wanted)
{
	int r = monitor_send(c->fd, MONITOR_ATTACHED, c->attach->terminal, NULL, 0);

	c->wanted = wanted;
	if (r < 0 && r != -EAGAIN)
		client_drop(c);
}

static void client_obey(struct attach_client *c, const struct monitor_msg *m, size_t len)
{
	struct attach *a = c->attach;

	switch ((enum monitor_msg_type)m->type) {
	case MONITOR_ATTACH: client_attached(c, m->value); break;
	case MONITOR_STDIN:
		if ((c->wanted & MONITOR_STDIN_BIT) != 0)
			a->ops->input(a->context, m->data, len);
		break;
	case MONITOR_RESIZE:
		a->ops->resize(a->context, m->value >> 16, m->value & UINT16_MAX);
		break;
	case MONITOR_CLEANED:
		a->cleaned = a->cleaned || (c->exit_sent && (c->wanted & MONITOR_WILL_CLEAN) != 0);
		break;
	case MONITOR_DETACH:
	case MONITOR_ATTACHED:
	case MONITOR_OUTPUT:
	case MONITOR_EXIT:
	case MONITOR_REFUSED:
	default: client_drop(c); break; /* what no client says is no client */
	}
}

/* One message.  False: there is none now, or the client went. */
static bool client_read(struct attach_client *c)
{
	struct monitor_msg *m = c->attach->message;
	ssize_t n = monitor_receive(c->fd, m);

	if (n == -EAGAIN)
		return false;
	if (n < 0)
		client_drop(c);
	else
		client_obey(c, m, (size_t)n);
	return c->fd >= 0;
}

/* Of one that has gone, and so has no watch to wake it: as much as may be read now. */
static void client_read_rest(struct attach_client *c)
{
	while (c->fd >= 0 && c->watch == NULL && client_is_read(c) && client_read(c))
		;
}

static void attach_settle(struct attach *a)
{
	if (attach_is_taken(a))
		a->segments_len = 0;
	a->ops->changed(a->context);
}

static void client_on_event(void *context, int fd, uint32_t events)
{
	struct attach_client *c = context;
	struct attach *a = c->attach;

	(void)fd;
	if ((events & EPOLLIN) != 0) {
		(void)client_read(c);
	} else if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
		/* Gone while it was not read.  What it sent before is the workload's input all the
		 * same: it stays, blind and unwatched (the event would come again and again), until
		 * it can be read to its end. */
		loop_remove(TAKE(c->watch));
		c->wanted = MONITOR_STDIN_BIT;
		(void)client_send_output(c);
		/* What held it may have gone since the event was taken from the kernel. */
		client_read_rest(c);
	}
	if (c->fd >= 0 && (events & EPOLLOUT) != 0)
		client_pump(c);
	if (c->fd >= 0)
		client_watch(c);
	attach_settle(a);
}

static struct attach_client *attach_free_place(struct attach *a)
{
	for (size_t i = 0; i < ARRAY_LEN(a->clients); i++)
		if (a->clients[i].fd < 0)
			return &a->clients[i];
	return NULL;
}

void attach_init(struct attach *attach, struct loop *loop, const struct attach_ops *ops,
	void *context, struct monitor_msg *message)
{
	*attach =
		(struct attach){ .loop = loop, .ops = ops, .context = context, .message = message };
	for (size_t i = 0; i < ARRAY_LEN(attach->clients); i++)
		attach->clients[i] = (struct attach_client){ .attach = attach, .fd = -1 };
}

void attach_done(struct attach *attach)
{
	for (size_t i = 0; i < ARRAY_LEN(attach->clients); i++)
		if (attach->clients[i].fd >= 0)
			client_drop(&attach->clients[i]);
}

void attach_add(struct attach *attach, int take_fd)
{
	static const char full[] = "too many clients are attached to this workload; detach one";
	AUTO_CLOSE int fd = take_fd;
	struct attach_client *c = attach_free_place(attach);

	if (c == NULL) {
		/* A new socket has room for it; if not, the end of the connection says enough. */
		int r = monitor_send(fd, MONITOR_REFUSED, 0, full, sizeof(full) - 1);
		(void)r;
		return;
	}
	/* It has no part in output that was read before it came. */
	*c = (struct attach_client){ .attach = attach, .fd = -1, .segment = attach->segments_len };
	if (loop_watch_fd(attach->loop, fd, EPOLLIN, client_on_event, c, &c->watch, NULL) < 0)
		return;
	c->fd = TAKE_FD(fd);
	while (client_is_read(c) && client_read(c))
		;
	if (c->fd >= 0)
		client_watch(c);
}

bool attach_output(struct attach *attach, struct attach_segment output)
{
	CHECK(attach->segments_len < ATTACH_SEGMENTS);
	if (attach->segments_len == 0)
		for (size_t i = 0; i < ARRAY_LEN(attach->clients); i++)
			attach->clients[i].segment = attach->clients[i].offset = 0;
	attach->segments[attach->segments_len++] = output;
	for (size_t i = 0; i < ARRAY_LEN(attach->clients); i++)
		if (client_is_behind(&attach->clients[i]) &&
			!client_send_output(&attach->clients[i]))
			client_watch(&attach->clients[i]);
	if (!attach_is_taken(attach))
		return false;
	attach->segments_len = 0;
	return true;
}

bool attach_is_taken(const struct attach *attach)
{
	for (size_t i = 0; i < ARRAY_LEN(attach->clients); i++)
		if (client_is_behind(&attach->clients[i]))
			return false;
	return true;
}

void attach_hold_input(struct attach *attach, bool held)
{
	attach->input_held = held;
	for (size_t i = 0; i < ARRAY_LEN(attach->clients); i++) {
		struct attach_client *c = &attach->clients[i];

		if (c->fd < 0)
			continue;
		client_read_rest(c);
		if (c->fd >= 0)
			client_watch(c);
	}
}

void attach_finish(struct attach *attach, uint32_t status)
{
	attach->finished = true;
	attach->status = status;
	/* Nobody reads input any more, so nothing holds it. */
	attach_hold_input(attach, false);
	for (size_t i = 0; i < ARRAY_LEN(attach->clients); i++) {
		struct attach_client *c = &attach->clients[i];

		if (c->fd >= 0)
			client_pump(c);
		if (c->fd >= 0)
			client_watch(c);
	}
}

bool attach_is_empty(const struct attach *attach)
{
	for (size_t i = 0; i < ARRAY_LEN(attach->clients); i++)
		if (attach->clients[i].fd >= 0)
			return false;
	return true;
}

bool attach_has_cleaner(const struct attach *attach)
{
	for (size_t i = 0; i < ARRAY_LEN(attach->clients); i++)
		if (attach->clients[i].fd >= 0 &&
			(attach->clients[i].wanted & MONITOR_WILL_CLEAN) != 0)
			return true;
	return false;
}
