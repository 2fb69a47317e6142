/* vsock_connection - see vsock_connection.h.
 *
 *             a client of the listener      REQUEST of the guest
 *       FREE ------------------> GREETING           |
 *        ^                          | its line      |
 *        |  RST, deadline           v               v
 *        |<-------------------- REQUESTED -------> OPEN
 *        |                              RESPONSE   |  |
 *        |  RST, deadline                          |  | both sides have sent all
 *        |<-------------------- CLOSING <----------|--'
 *        |                         |               | the guest has closed, or broke a rule
 *        |   written, or no reader v               |
 *        '--------------------- DRAINING <---------'
 *
 * Bytes of the guest go straight from its memory to the descriptor; only what that does not take is
 * copied into the ring, whose size is the credit the guest gets (5.10.6.3): the guest cannot make
 * the host hold more.  Bytes of the host are read straight into the guest's buffers, never more
 * than the guest has credit for, and otherwise stay where they are: in the kernel.
 *
 * The end of the host's stream becomes SHUTDOWN with NO_SEND, a reader that is gone NO_RECEIVE; a
 * guest that sends no more ends the descriptor's input (by shutdown(2), or by closing what is only
 * written).  Output outlives the guest: what has come is written even when RST follows it. */
#include "vm/virtio/vsock_connection.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "vm/virtio/iov.h"

#define NS_PER_MS UINT64_C(1000000)
#define BIT(n) (1u << (n))

static const uint32_t allowed_moves[VSOCK_STATES] = {
	[VSOCK_FREE] = BIT(VSOCK_GREETING) | BIT(VSOCK_OPEN),
	[VSOCK_GREETING] = BIT(VSOCK_FREE) | BIT(VSOCK_REQUESTED),
	[VSOCK_REQUESTED] = BIT(VSOCK_FREE) | BIT(VSOCK_OPEN) | BIT(VSOCK_DRAINING),
	[VSOCK_OPEN] = BIT(VSOCK_FREE) | BIT(VSOCK_CLOSING) | BIT(VSOCK_DRAINING),
	[VSOCK_CLOSING] = BIT(VSOCK_FREE) | BIT(VSOCK_DRAINING),
	[VSOCK_DRAINING] = BIT(VSOCK_FREE),
};
/* How long a state may last; 0: as long as it takes.  Bytes of the guest wait for a reader that the
 * host trusts, until they are written or it goes away. */
static const uint64_t state_ms[VSOCK_STATES] = {
	[VSOCK_GREETING] = 5000,
	[VSOCK_REQUESTED] = 5000,
	[VSOCK_CLOSING] = 2000,
	[VSOCK_DRAINING] = 2000, /* for RST alone */
};

static void connection_move(struct vsock_connection *c, enum vsock_state state)
{
	CHECK(allowed_moves[c->state] & BIT(state));
	c->state = state;
	c->deadline_ns =
		state_ms[state] == 0 ? 0 : clock_monotonic_ns() + state_ms[state] * NS_PER_MS;
}

static void connection_close(struct vsock_connection *c)
{
	loop_remove(TAKE(c->watch));
	if (c->fd >= 0)
		(void)close(TAKE_FD(c->fd));
}

void vsock_connection_drop(struct vsock_connection *connection)
{
	struct vsock_connection *c = connection;
	if (c->state == VSOCK_FREE)
		return;
	connection_move(c, VSOCK_FREE);
	connection_close(c);
	c->pending = 0;
	c->ring_len = 0;
}

int vsock_end_open(int take_fd, bool is_input, struct vsock_end *ret_end, struct err *err)
{
	AUTO_CLOSE int fd = take_fd;
	struct stat st;
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fstat(fd, &st) < 0)
		return err_sys(err, errno, "look at descriptor %d", fd);
	int r = fd_set_nonblocking(fd, true);
	if (r < 0)
		return err_sys(err, -r, "descriptor %d", fd);
	int mode = flags & O_ACCMODE;
	/* Opened for both only so that it always has a reader: see STDOUT in monitor_msg.h. */
	bool is_one_way = S_ISFIFO(st.st_mode) || S_ISREG(st.st_mode);
	struct vsock_end end = { .fd = TAKE_FD(fd) };
	end.can_read = mode != O_WRONLY && (!is_one_way || is_input || mode == O_RDONLY);
	end.can_write = mode != O_RDONLY && (!is_one_way || !end.can_read);
	*ret_end = end;
	return 0;
}

int vsock_connection_open(struct vsock_connection *connection, enum vsock_state state,
	struct vsock_end take_end, struct loop *loop, loop_fd_fn *fn)
{
	struct vsock_connection *c = connection;
	CHECK(c->state == VSOCK_FREE);
	*c = (struct vsock_connection){ .fd = take_end.fd,
		.can_read = take_end.can_read,
		.can_write = take_end.can_write,
		.ring = c->ring,
		.device = c->device };
	uint32_t events = EPOLLET | EPOLLRDHUP;
	events |= (c->can_read ? EPOLLIN : 0u) | (c->can_write ? EPOLLOUT : 0u);
	int r = loop_watch_fd(loop, c->fd, events, fn, c, &c->watch, NULL);
	if (r < 0 && r != -EPERM) {
		(void)close(TAKE_FD(c->fd));
		return r;
	}
	/* A file, or /dev/null, has no readiness: it is always ready. */
	if (c->watch == NULL)
		c->is_readable = c->is_writable = true;
	connection_move(c, state);
	return 0;
}

/* ---- to the descriptor ---- */

/* Nothing more goes there; its reader sees the end once nothing is left to write. */
static void connection_end_write(struct vsock_connection *c)
{
	if (c->write_ended)
		return;
	c->write_ended = true;
	c->forwarded += c->ring_len;
	c->ring_len = 0;
	if (!c->can_write || c->fd < 0)
		return;
	if (c->can_read) {
		(void)shutdown(c->fd, SHUT_WR); /* what is no socket ends with its closing */
		return;
	}
	connection_close(c);
}

/* Writes parts: the number of bytes taken (all of them where nobody listens). */
static uint32_t connection_write(struct vsock_connection *c, const struct iovec *iov,
	unsigned iov_len, uint32_t len)
{
	if (c->write_ended || !c->can_write)
		return len;
	if (!c->is_writable || len == 0)
		return 0;
	ssize_t n;
	do
		n = writev(c->fd, iov, (int)iov_len);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		return (uint32_t)n;
	if (n == 0 || errno == EAGAIN) {
		c->is_writable = false;
		return 0;
	}
	c->write_failed = true;
	connection_end_write(c);
	return len;
}

/* Writes what the ring holds: at most two parts, as it may wrap. */
static void connection_flush(struct vsock_connection *c)
{
	while (c->ring_len > 0 && c->is_writable) {
		uint32_t part = LIMIT_VSOCK_BUFFER_BYTES - c->ring_start;
		if (part > c->ring_len)
			part = c->ring_len;
		const struct iovec iov[2] = { { c->ring + c->ring_start, part },
			{ c->ring, c->ring_len - part } };
		uint32_t n = connection_write(c, iov, 2, c->ring_len);
		if (c->ring_len == 0)
			return; /* ended, and counted there */
		c->forwarded += n;
		c->ring_len -= n;
		/* An empty ring starts anew, so that little of it is ever touched. */
		c->ring_start =
			c->ring_len == 0 ? 0 : (c->ring_start + n) % LIMIT_VSOCK_BUFFER_BYTES;
	}
}

static void ring_add(struct vsock_connection *c, const struct virtq_chain *chain, uint32_t offset,
	uint32_t len)
{
	while (len > 0) {
		uint32_t at = (c->ring_start + c->ring_len) % LIMIT_VSOCK_BUFFER_BYTES;
		uint32_t part = LIMIT_VSOCK_BUFFER_BYTES - at;
		if (part > len)
			part = len;
		(void)virtq_copy_in(chain, offset, c->ring + at, part);
		c->ring_len += part;
		offset += part;
		len -= part;
	}
}

/* ---- what follows from what has happened ---- */

static void connection_tell(struct vsock_connection *c, enum vsock_op op)
{
	c->pending |= BIT(op);
}

static void settle_open(struct vsock_connection *c)
{
	uint32_t flags = c->can_read && c->read_ended ? VSOCK_NO_SEND : 0;
	if (c->write_failed)
		flags |= VSOCK_NO_RECEIVE;
	if ((c->read_ended || !c->can_read) && (c->write_ended || !c->can_write))
		flags = VSOCK_NEITHER;
	if ((flags | c->shutdown_told) != c->shutdown_told) {
		c->shutdown_told |= flags;
		connection_tell(c, VSOCK_SHUTDOWN);
	}
	if (flags == VSOCK_NEITHER)
		connection_move(c, VSOCK_CLOSING);
}

/* After anything that may have ended something. */
static void connection_settle(struct vsock_connection *c)
{
	if (c->guest_ended && c->ring_len == 0)
		connection_end_write(c);
	/* Half of its credit used up: the guest learns what is free again. */
	if (c->forwarded - c->forwarded_told >= LIMIT_VSOCK_BUFFER_BYTES / 2)
		connection_tell(c, VSOCK_CREDIT_UPDATE);
	if (c->state == VSOCK_OPEN)
		settle_open(c);
	if (c->state == VSOCK_DRAINING && c->ring_len == 0) {
		connection_close(c);
		if (!(c->pending & BIT(VSOCK_RST)))
			vsock_connection_drop(c);
	}
}

void vsock_connection_request(struct vsock_connection *connection)
{
	connection_move(connection, VSOCK_REQUESTED);
	connection_tell(connection, VSOCK_REQUEST);
}

void vsock_connection_event(struct vsock_connection *connection, uint32_t events)
{
	struct vsock_connection *c = connection;
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		c->is_readable = true;
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		c->is_writable = true;
	if (c->state == VSOCK_GREETING)
		return;
	connection_flush(c);
	/* Both directions of a socket or a terminal are gone: no write is needed to learn it. */
	if ((events & (EPOLLHUP | EPOLLERR)) && c->can_write && !c->write_ended) {
		c->write_failed = true;
		connection_end_write(c);
	}
	if (c->state == VSOCK_REQUESTED && (events & EPOLLHUP))
		vsock_connection_forget_guest(c, true);
	else
		connection_settle(c);
}

/* ---- from the guest ---- */

void vsock_connection_credit(struct vsock_connection *connection, const struct vsock_header *header)
{
	connection->guest_buf_alloc = header->buf_alloc;
	connection->guest_fwd_cnt = header->fwd_cnt;
}

int vsock_connection_take(struct vsock_connection *connection, const struct virtq_chain *chain,
	uint32_t offset, uint32_t len)
{
	struct vsock_connection *c = connection;
	if (len > LIMIT_VSOCK_BUFFER_BYTES - c->ring_len)
		return -EPROTO;
	uint32_t written = 0;
	if (c->ring_len == 0) {
		struct iovec iov[VIRTQ_CHAIN_MAX];
		unsigned iov_len = iov_slice(chain->in, chain->in_len, offset, len, iov);
		written = connection_write(c, iov, iov_len, len);
		c->forwarded += written;
	}
	ring_add(c, chain, offset + written, len - written);
	/* Where the descriptor has taken a part, it may take more at once. */
	connection_flush(c);
	connection_settle(c);
	return 0;
}

void vsock_connection_accepted(struct vsock_connection *connection)
{
	struct vsock_connection *c = connection;
	connection_move(c, VSOCK_OPEN);
	/* Three bytes always fit into a socket that nothing was written to, if anyone is there. */
	if (write(c->fd, "OK\n", 3) != 3) {
		c->write_failed = true;
		connection_end_write(c);
	}
	connection_settle(c);
}

void vsock_connection_shutdown(struct vsock_connection *connection, uint32_t flags)
{
	struct vsock_connection *c = connection;
	if (flags & VSOCK_NO_SEND)
		c->guest_ended = true;
	if ((flags & VSOCK_NO_RECEIVE) && !c->read_ended) {
		c->read_ended = true;
		if (c->can_read && c->fd >= 0)
			(void)shutdown(c->fd, SHUT_RD);
	}
	/* The guest waits for RST after both (5.10.6.5). */
	if (c->guest_ended && c->read_ended && (flags & VSOCK_NO_RECEIVE))
		vsock_connection_forget_guest(c, true);
	else
		connection_settle(c);
}

void vsock_connection_forget_guest(struct vsock_connection *connection, bool with_rst)
{
	struct vsock_connection *c = connection;
	if (c->state == VSOCK_FREE)
		return;
	c->guest_ended = c->read_ended = true;
	c->pending = with_rst ? BIT(VSOCK_RST) : 0;
	if (c->state == VSOCK_GREETING) {
		vsock_connection_drop(c);
		return;
	}
	if (c->state != VSOCK_DRAINING)
		connection_move(c, VSOCK_DRAINING);
	connection_settle(c);
}

void vsock_connection_late(struct vsock_connection *connection)
{
	connection->deadline_ns = 0;
	vsock_connection_forget_guest(connection, connection->state != VSOCK_DRAINING);
}

/* ---- to the guest ---- */

/* How much the guest takes (5.10.6.3); its numbers may be anything. */
static uint32_t connection_room(const struct vsock_connection *c)
{
	uint32_t on_the_way = c->sent - c->guest_fwd_cnt;
	return on_the_way < c->guest_buf_alloc ? c->guest_buf_alloc - on_the_way : 0;
}

enum vsock_op vsock_connection_next(const struct vsock_connection *connection, uint32_t *ret_flags)
{
	static const enum vsock_op order[] = { VSOCK_RST, VSOCK_REQUEST, VSOCK_RESPONSE,
		VSOCK_CREDIT_UPDATE, VSOCK_SHUTDOWN };
	const struct vsock_connection *c = connection;
	*ret_flags = 0;
	for (size_t i = 0; i < ARRAY_LEN(order); i++)
		if (c->pending & BIT(order[i])) {
			*ret_flags = order[i] == VSOCK_SHUTDOWN ? c->shutdown_told : 0;
			return order[i];
		}
	bool has_data = c->state == VSOCK_OPEN && c->can_read && c->is_readable && !c->read_ended;
	return has_data && connection_room(c) > 0 ? VSOCK_RW : 0;
}

uint32_t vsock_connection_fill(struct vsock_connection *connection, const struct iovec *iov,
	unsigned iov_len, uint64_t room)
{
	struct vsock_connection *c = connection;
	uint64_t len = connection_room(c) < room ? connection_room(c) : room;
	struct iovec parts[VIRTQ_CHAIN_MAX];
	unsigned parts_len = iov_slice(iov, iov_len, VSOCK_HEADER_BYTES, len, parts);
	if (parts_len == 0)
		return 0;
	ssize_t n;
	do
		n = readv(c->fd, parts, (int)parts_len);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		return (uint32_t)n;
	c->is_readable = false;
	if (n == 0 || errno != EAGAIN) {
		c->read_ended = true;
		connection_settle(c);
	}
	return 0;
}

void vsock_connection_send(struct vsock_connection *connection, enum vsock_op op, uint32_t flags,
	uint32_t len, struct vsock_header *ret_header)
{
	struct vsock_connection *c = connection;
	*ret_header = (struct vsock_header){
		.src_port = c->host_port,
		.dst_port = c->guest_port,
		.len = len,
		.type = VSOCK_TYPE_STREAM,
		.op = (uint16_t)op,
		.flags = flags,
		.buf_alloc = LIMIT_VSOCK_BUFFER_BYTES,
		.fwd_cnt = c->forwarded,
	};
	c->forwarded_told = c->forwarded;
	c->pending &= ~(BIT(op) | BIT(VSOCK_CREDIT_UPDATE));
	c->sent += len;
	connection_settle(c);
}
