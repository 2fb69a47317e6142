/* virtio_vsock - queues and packets of the socket device; a stream's own life is in
 * vsock_connection.c, its buffers and credit too.
 *
 * Bounds: a fixed pool of connections, made with the device, and a short list of refusals.  A
 * packet from the guest is always taken (its stream has room by its credit, or it is refused);
 * where even the refusals have no room, because the guest gives no buffers to receive them, its
 * packets stay in its own queue.  So a guest can fill its rings and nothing else.
 *
 * Packets to the guest are made when there is a buffer: what is due is a bit in the connection, and
 * data is read from its descriptor straight into the buffer.  Each turn starts with the connection
 * after the one that was served last, and ends after TURN_PACKETS. */
#include "vm/virtio/virtio_vsock.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "vm/guest_link.h"
#include "vm/machine.h"
#include "vm/virtio/config_space.h"
#include "vm/virtio/vsock_connection.h"
#include "vm/virtio/vsock_listener.h"
#include "wire/guest_msg.h"

enum { QUEUE_RX, QUEUE_TX, QUEUE_EVENT, QUEUES };
enum { TURN_PACKETS = 256, CONNECTION_PACKETS = 16, TURN_CLIENTS = 16, TICK_MS = 500 };
enum { HOST_CID = 2 };
#define F_STREAM (UINT64_C(1) << 0)
/* Host ports of the streams that the listener's clients get: above any that a guest asks for. */
#define FIRST_HOST_PORT UINT32_C(0x40000000)
#define RINGS_BYTES ((size_t)LIMIT_VSOCK_CONNECTIONS * LIMIT_VSOCK_BUFFER_BYTES)

struct port {
	uint32_t number;
	struct vsock_end end; /* until the guest connects; fd -1: taken */
};

/* A packet that belongs to no connection: RST. */
struct reply {
	uint64_t cid;
	uint32_t guest_port, host_port;
	uint16_t type;
};

struct virtio_vsock {
	struct machine *machine;              /* borrowed */
	struct loop *loop;                    /* borrowed */
	struct virtio *virtio;                /* borrowed; NULL: the driver is not there */
	struct vsock_connection *connections; /* owned, LIMIT_VSOCK_CONNECTIONS of them */
	uint8_t *rings;                       /* owned: their buffers; touched as they fill */
	struct port ports[LIMIT_VSOCK_PORTS];
	size_t ports_len;
	struct reply replies[LIMIT_VSOCK_REPLIES];
	size_t replies_len;
	bool is_tx_held; /* packets wait in the guest's queue for room in replies */
	size_t next;     /* the connection that is served first */
	uint32_t next_host_port;

	int listener; /* owned; -1: none */
	uint32_t listener_uid;
	struct loop_watch *listener_watch; /* owned */
	struct loop_watch *tick;           /* owned; NULL while nothing has a deadline */
	struct guest_link *link;           /* owned; NULL: none */

	bool is_ending; /* the machine stops when the ports' streams are written out */
	int end_status;
};

/* ---- the pool ---- */

static struct vsock_connection *connection_find(struct virtio_vsock *v, uint32_t guest_port,
	uint32_t host_port)
{
	/* The pool is small, and most of it is free: no index pays. */
	for (size_t i = 0; i < LIMIT_VSOCK_CONNECTIONS; i++) {
		struct vsock_connection *c = &v->connections[i];
		if (c->state >= VSOCK_REQUESTED && c->state != VSOCK_DRAINING &&
			c->guest_port == guest_port && c->host_port == host_port)
			return c;
	}
	return NULL;
}

static struct vsock_connection *connection_free(struct virtio_vsock *v)
{
	for (size_t i = 0; i < LIMIT_VSOCK_CONNECTIONS; i++)
		if (v->connections[i].state == VSOCK_FREE)
			return &v->connections[i];
	return NULL;
}

static struct port *port_find(struct virtio_vsock *v, uint32_t number)
{
	for (size_t i = 0; i < v->ports_len; i++)
		if (v->ports[i].number == number && v->ports[i].end.fd >= 0)
			return &v->ports[i];
	return NULL;
}

/* Ends the machine once nothing of the workload's output is left here.  The readers are the host's
 * own and end the wait by going away: no deadline makes output disappear. */
static void end_if_drained(struct virtio_vsock *v)
{
	if (!v->is_ending)
		return;
	for (size_t i = 0; i < LIMIT_VSOCK_CONNECTIONS; i++) {
		const struct vsock_connection *c = &v->connections[i];
		if (c->state != VSOCK_FREE && c->is_port && c->ring_len > 0)
			return;
	}
	machine_stop(v->machine, MACHINE_POWER_OFF, v->end_status);
}

/* ---- deadlines ---- */

static void run_again(struct virtio_vsock *v)
{
	if (v->virtio != NULL)
		virtio_again(v->virtio, QUEUE_TX);
}

static void start_tick(struct virtio_vsock *v);

static void on_tick(void *context)
{
	struct virtio_vsock *v = context;
	uint64_t now = clock_monotonic_ns();
	loop_remove(TAKE(v->tick));
	for (size_t i = 0; i < LIMIT_VSOCK_CONNECTIONS; i++) {
		struct vsock_connection *c = &v->connections[i];
		if (c->state == VSOCK_FREE || c->deadline_ns == 0)
			continue;
		if (c->deadline_ns <= now)
			vsock_connection_late(c);
	}
	start_tick(v);
	end_if_drained(v);
	run_again(v);
}

/* Without a timer a deadline passes unseen: a stream lives longer, within the pool. */
static void start_tick(struct virtio_vsock *v)
{
	for (size_t i = 0; v->tick == NULL && i < LIMIT_VSOCK_CONNECTIONS; i++) {
		const struct vsock_connection *c = &v->connections[i];
		if (c->state != VSOCK_FREE && c->deadline_ns != 0 &&
			loop_watch_timer(v->loop, TICK_MS, on_tick, v, &v->tick, NULL) < 0)
			return;
	}
}

/* ---- to the guest ---- */

/* One buffer of the guest: 1, or 0: none (it will notify), or broken. */
static int rx_next(struct virtio_vsock *v, struct virtq_chain *chain)
{
	struct virtq *queue = virtio_queue(v->virtio, QUEUE_RX);
	int r = virtq_next(queue, chain);
	if (r == 0) {
		virtq_set_notify(queue, true);
		r = virtq_next(queue, chain);
		if (r == 1)
			virtq_set_notify(queue, false);
	}
	if (r < 0 || (r == 1 && chain->out_bytes < VSOCK_HEADER_BYTES)) {
		virtio_fail(v->virtio, r < 0 ? "the receive queue is broken"
					     : "a receive buffer without room for a header");
		v->virtio = NULL;
		return 0;
	}
	return r;
}

static void rx_done(struct virtio_vsock *v, const struct virtq_chain *chain,
	struct vsock_header *header)
{
	header->dst_cid = GUEST_CID;
	if (header->src_cid == 0)
		header->src_cid = HOST_CID;
	(void)virtq_copy_out(chain, 0, header, VSOCK_HEADER_BYTES);
	virtq_done(virtio_queue(v->virtio, QUEUE_RX), chain->head,
		VSOCK_HEADER_BYTES + header->len);
}

/* Sends one packet of a connection: 1 if it did, 0 if there is nothing to send, -ENOBUFS if there
 * is no buffer for it. */
static int send_one(struct virtio_vsock *v, struct vsock_connection *c, struct virtq_chain *chain)
{
	uint32_t flags;
	enum vsock_op op = vsock_connection_next(c, &flags);
	if (op == 0)
		return 0;
	if (rx_next(v, chain) == 0)
		return -ENOBUFS;
	uint32_t len = 0;
	if (op == VSOCK_RW && chain->out_bytes == VSOCK_HEADER_BYTES) {
		virtio_fail(v->virtio, "a receive buffer without room for data");
		v->virtio = NULL;
		return -ENOBUFS;
	}
	if (op == VSOCK_RW) {
		len = vsock_connection_fill(c, chain->out, chain->out_len,
			chain->out_bytes - VSOCK_HEADER_BYTES);
		if (len == 0) {
			virtq_put_back(virtio_queue(v->virtio, QUEUE_RX));
			/* The end of the stream may have made something else due. */
			return vsock_connection_next(c, &flags) != 0 ? send_one(v, c, chain) : 0;
		}
	}
	struct vsock_header header;
	vsock_connection_send(c, op, flags, len, &header);
	rx_done(v, chain, &header);
	return 1;
}

static unsigned send_replies(struct virtio_vsock *v, struct virtq_chain *chain)
{
	unsigned sent = 0;
	while (sent < v->replies_len && rx_next(v, chain) == 1) {
		const struct reply *reply = &v->replies[sent++];
		struct vsock_header header = { .src_cid = reply->cid,
			.src_port = reply->host_port,
			.dst_port = reply->guest_port,
			.type = reply->type,
			.op = VSOCK_RST };
		rx_done(v, chain, &header);
	}
	v->replies_len -= sent;
	memmove(v->replies, v->replies + sent, v->replies_len * sizeof(v->replies[0]));
	return sent;
}

/* Whatever is due and there are buffers for. */
static void send_all(struct virtio_vsock *v)
{
	struct virtq_chain chain;
	if (v->virtio == NULL) {
		end_if_drained(v);
		return;
	}
	unsigned sent = send_replies(v, &chain);
	bool is_more = v->replies_len == 0 && v->virtio != NULL;
	size_t first = v->next;
	for (size_t i = 0; is_more && i < LIMIT_VSOCK_CONNECTIONS; i++) {
		size_t at = (first + i) % LIMIT_VSOCK_CONNECTIONS;
		struct vsock_connection *c = &v->connections[at];
		int r = 1;
		for (unsigned n = 0; r == 1 && n < CONNECTION_PACKETS; n++) {
			r = send_one(v, c, &chain);
			sent += r == 1;
		}
		if (r == 1)
			run_again(v); /* its turn is over, not its data */
		if (r == 1 || r == -ENOBUFS)
			v->next = (at + (r == 1)) % LIMIT_VSOCK_CONNECTIONS;
		is_more = r != -ENOBUFS && sent < TURN_PACKETS;
	}
	if (sent >= TURN_PACKETS || (v->is_tx_held && v->replies_len < LIMIT_VSOCK_REPLIES))
		run_again(v);
	start_tick(v);
	if (sent > 0 && v->virtio != NULL)
		virtio_interrupt(v->virtio, QUEUE_RX);
	end_if_drained(v);
}

static void on_fd(void *context, int fd, uint32_t events);

/* ---- from the guest ---- */

static void refuse(struct virtio_vsock *v, const struct vsock_header *header)
{
	/* There is room: see tx_run(). */
	CHECK(v->replies_len < LIMIT_VSOCK_REPLIES);
	v->replies[v->replies_len++] =
		(struct reply){ header->dst_cid, header->src_port, header->dst_port, header->type };
}

static void take_request(struct virtio_vsock *v, const struct vsock_header *header)
{
	struct port *port = port_find(v, header->dst_port);
	struct vsock_connection *c = port != NULL ? connection_free(v) : NULL;
	if (c == NULL) {
		refuse(v, header);
		return;
	}
	struct vsock_end end = port->end;
	port->end.fd = -1;
	if (vsock_connection_open(c, VSOCK_OPEN, end, v->loop, on_fd) < 0) {
		refuse(v, header);
		return;
	}
	c->is_port = true;
	c->guest_port = header->src_port;
	c->host_port = header->dst_port;
	c->pending = 1u << VSOCK_RESPONSE;
	vsock_connection_credit(c, header);
}

/* A packet of a connection that is known here. */
static void take_packet(struct vsock_connection *c, const struct vsock_header *header,
	const struct virtq_chain *chain)
{
	bool is_up = c->state == VSOCK_OPEN || c->state == VSOCK_CLOSING;
	bool is_good = is_up;
	vsock_connection_credit(c, header);
	switch (header->op) {
	case VSOCK_RESPONSE:
		is_good = c->state == VSOCK_REQUESTED;
		if (is_good)
			vsock_connection_accepted(c);
		break;
	case VSOCK_RST:
		is_good = true;
		vsock_connection_forget_guest(c, false);
		break;
	case VSOCK_SHUTDOWN:
		if (is_good)
			vsock_connection_shutdown(c, header->flags);
		break;
	case VSOCK_RW:
		is_good = is_up && !c->guest_ended &&
			  vsock_connection_take(c, chain, VSOCK_HEADER_BYTES, header->len) == 0;
		break;
	case VSOCK_CREDIT_UPDATE: break;
	case VSOCK_CREDIT_REQUEST: c->pending |= 1u << VSOCK_CREDIT_UPDATE; break;
	default: is_good = false; break;
	}
	if (!is_good)
		vsock_connection_forget_guest(c, true);
}

/* One packet; false if the driver broke a rule of the device. */
static bool tx_take(struct virtio_vsock *v, const struct virtq_chain *chain)
{
	struct vsock_header header;
	if (virtq_copy_in(chain, 0, &header, sizeof(header)) != sizeof(header) ||
		header.len > chain->in_bytes - sizeof(header))
		return false;
	if (header.src_cid != GUEST_CID)
		return true; /* nobody to answer to (5.10.6.4.2 has it dropped) */
	struct vsock_connection *c = NULL;
	bool is_ours = header.type == VSOCK_TYPE_STREAM && header.dst_cid == HOST_CID;
	if (is_ours)
		c = connection_find(v, header.src_port, header.dst_port);
	if (c != NULL)
		take_packet(c, &header, chain);
	else if (is_ours && header.op == VSOCK_REQUEST)
		take_request(v, &header);
	else if (header.op != VSOCK_RST)
		refuse(v, &header);
	return true;
}

static void tx_run(struct virtio_vsock *v)
{
	if (v->virtio == NULL)
		return;
	struct virtq *queue = virtio_queue(v->virtio, QUEUE_TX);
	struct virtq_chain chain;
	unsigned taken = 0;
	int r = 1;
	virtq_set_notify(queue, false);
	while (taken < TURN_PACKETS && v->replies_len < LIMIT_VSOCK_REPLIES) {
		r = virtq_next(queue, &chain);
		if (r == 0) {
			virtq_set_notify(queue, true);
			r = virtq_next(queue, &chain);
		}
		if (r <= 0)
			break;
		if (!tx_take(v, &chain)) {
			r = -EPROTO;
			break;
		}
		virtq_done(queue, chain.head, 0);
		taken++;
	}
	if (r < 0) {
		virtio_fail(v->virtio, "the transmit queue is broken");
		v->virtio = NULL;
		return;
	}
	v->is_tx_held = r == 1 && taken < TURN_PACKETS;
	if (taken > 0)
		virtio_interrupt(v->virtio, QUEUE_TX);
	if (taken == TURN_PACKETS)
		run_again(v);
}

static void run(struct virtio_vsock *v)
{
	tx_run(v);
	send_all(v);
}

/* ---- clients of the listener ---- */

static void request(struct virtio_vsock *v, struct vsock_connection *c, uint32_t guest_port)
{
	do {
		c->host_port = v->next_host_port;
		v->next_host_port = v->next_host_port == UINT32_MAX - 1 ? FIRST_HOST_PORT
									: v->next_host_port + 1;
	} while (connection_find(v, guest_port, c->host_port) != NULL);
	c->guest_port = guest_port;
	vsock_connection_request(c);
}

static void on_fd(void *context, int fd, uint32_t events)
{
	struct vsock_connection *c = context;
	struct virtio_vsock *v = c->device;
	vsock_connection_event(c, events);
	if (c->state == VSOCK_GREETING) {
		uint32_t port;
		int r = vsock_greeting_read(fd, &port);
		if (r == 1 && v->virtio != NULL)
			request(v, c, port);
		else if (r != 0)
			vsock_connection_drop(c);
	}
	send_all(v);
}

static void on_listener(void *context, int fd, uint32_t events)
{
	struct virtio_vsock *v = context;
	(void)events;
	for (unsigned i = 0; i < TURN_CLIENTS; i++) {
		int client = vsock_listener_accept(fd, v->listener_uid);
		if (client == -EPERM)
			continue;
		if (client < 0)
			return;
		struct vsock_connection *c = connection_free(v);
		const struct vsock_end end = { client, true, true };
		if (c == NULL)
			(void)close(client); /* full: it learns at once */
		else
			(void)!vsock_connection_open(c, VSOCK_GREETING, end, v->loop, on_fd);
	}
	start_tick(v);
}

/* ---- the device ---- */

static uint64_t vsock_features(void *device)
{
	(void)device;
	return F_STREAM;
}

static void vsock_config_read(void *device, uint32_t offset, void *bytes, uint32_t len)
{
	(void)device;
	const uint64_t cid = GUEST_CID;
	config_space_read(&cid, sizeof(cid), offset, bytes, len);
}

static void vsock_config_write(void *device, uint32_t offset, const void *bytes, uint32_t len)
{
	(void)device;
	(void)offset;
	(void)bytes;
	(void)len; /* nothing in it is the driver's (5.10.4) */
}

static void vsock_activate(void *device, struct virtio *virtio, uint64_t features)
{
	struct virtio_vsock *v = device;
	(void)features;
	v->virtio = virtio;
}

static void vsock_notify(void *device, unsigned queue)
{
	struct virtio_vsock *v = device;
	if (v->virtio != NULL && queue == QUEUE_RX)
		virtq_set_notify(virtio_queue(v->virtio, QUEUE_RX), false);
	if (queue != QUEUE_EVENT)
		run(v); /* events tell of a move to another host: there are none */
}

static void vsock_reset(void *device)
{
	struct virtio_vsock *v = device;
	v->virtio = NULL;
	v->replies_len = 0;
	for (size_t i = 0; i < LIMIT_VSOCK_CONNECTIONS; i++)
		vsock_connection_forget_guest(&v->connections[i], false);
	end_if_drained(v);
}

static void vsock_free(void *device)
{
	struct virtio_vsock *v = device;
	if (v == NULL)
		return;
	for (size_t i = 0; i < LIMIT_VSOCK_CONNECTIONS; i++)
		vsock_connection_drop(&v->connections[i]);
	for (size_t i = 0; i < v->ports_len; i++)
		cleanup_close(&v->ports[i].end.fd);
	if (v->link != NULL)
		machine_on_failure(v->machine, NULL, NULL);
	guest_link_free(v->link);
	loop_remove(v->tick);
	loop_remove(v->listener_watch);
	cleanup_close(&v->listener);
	if (v->rings != NULL)
		(void)munmap(v->rings, RINGS_BYTES);
	free(v->connections);
	free(v);
}

const struct virtio_ops virtio_vsock_ops = {
	.name = "vsock",
	.type = 19,
	.pci_class = 0x02800000, /* network controller, other */
	.queues = QUEUES,
	.queue_size = 256,
	.features = vsock_features,
	.config_read = vsock_config_read,
	.config_write = vsock_config_write,
	.activate = vsock_activate,
	.notify = vsock_notify,
	.reset = vsock_reset,
	.free = vsock_free,
};

/* ---- creation ---- */

static void on_ended(void *context, int status)
{
	struct virtio_vsock *v = context;
	v->is_ending = true;
	v->end_status = status;
	end_if_drained(v);
}

static int add_port(struct virtio_vsock *v, uint32_t number, int take_fd, struct err *err)
{
	AUTO_CLOSE int fd = take_fd;
	if (v->ports_len == LIMIT_VSOCK_PORTS)
		return err_set(err, ERR_LIMIT, "more than %d ports", LIMIT_VSOCK_PORTS);
	struct port *port = &v->ports[v->ports_len];
	int r = vsock_end_open(TAKE_FD(fd), number == GUEST_PORT_STDIN, &port->end, err);
	if (r < 0)
		return err_wrap(err, r, "port %u", number);
	port->number = number;
	v->ports_len++;
	return 0;
}

static int add_ports(struct virtio_vsock *v, json *ports, struct err *err)
{
	for (size_t i = 0; i < json_array_len(ports); i++) {
		json *port = json_object_array_get_idx(ports, i);
		uint64_t number = json_get_uint(port, "port", UINT64_MAX);
		int fd = -1;
		if (number >= FIRST_HOST_PORT)
			return err_set(err, ERR_INVALID, "port %zu of the list is none", i);
		int r = device_take_fd(port, "fd", &fd, err);
		if (r == 0)
			r = add_port(v, (uint32_t)number, fd, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static void on_failure(void *context, const struct err *why)
{
	const struct virtio_vsock *v = context;
	guest_link_failed(v->link, why);
}

static int add_control(struct virtio_vsock *v, json *control, struct err *err)
{
	int pair[2];
	if (control == NULL)
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return err_sys(err, errno, "make a pair of sockets");
	int r = add_port(v, GUEST_PORT_CONTROL, pair[0], err);
	if (r < 0) {
		(void)close(pair[1]);
		return r;
	}
	r = guest_link_new(control, pair[1], v->loop, on_ended, v, &v->link, err);
	if (r == 0)
		machine_on_failure(v->machine, on_failure, v);
	return r;
}

static int add_listener(struct virtio_vsock *v, json *config, struct err *err)
{
	if (json_get_int(config, "listener_fd", -1) < 0)
		return 0;
	int r = device_take_fd(config, "listener_fd", &v->listener, err);
	if (r == 0)
		r = vsock_listener_check(v->listener, &v->listener_uid, err);
	if (r == 0)
		r = loop_watch_fd(v->loop, v->listener, EPOLLIN, on_listener, v, &v->listener_watch,
			err);
	return r;
}

static int add_pool(struct virtio_vsock *v, struct err *err)
{
	v->connections = NEW_ARRAY(vsock_connection, LIMIT_VSOCK_CONNECTIONS);
	void *rings = mmap(NULL, RINGS_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (rings == MAP_FAILED)
		return err_sys(err, errno, "reserve buffers");
	v->rings = rings;
	for (size_t i = 0; i < LIMIT_VSOCK_CONNECTIONS; i++) {
		v->connections[i].fd = -1;
		v->connections[i].device = v;
		v->connections[i].ring = v->rings + i * LIMIT_VSOCK_BUFFER_BYTES;
	}
	return 0;
}

int virtio_vsock_create(json *config, struct machine *machine, void **ret_device, struct err *err)
{
	struct virtio_vsock *v = NEW(virtio_vsock);
	v->machine = machine;
	v->loop = machine_loop(machine);
	v->next_host_port = FIRST_HOST_PORT;
	v->listener = -1;
	int r = add_pool(v, err);
	if (r == 0)
		r = add_ports(v, json_get_array(config, "ports"), err);
	if (r == 0)
		r = add_control(v, json_get_object(config, "control"), err);
	if (r == 0)
		r = add_listener(v, config, err);
	if (r < 0) {
		vsock_free(v);
		return r;
	}
	*ret_device = v;
	return 0;
}
