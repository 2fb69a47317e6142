/* virtio_console - bytes between a descriptor and the guest's buffers; none is ever kept here.
 *
 * A guest's kernel prints with its console locked and waits, spinning, until the device has taken
 * the bytes.  So a reader that is slow may hold the guest up for PATIENCE_MS; one that still takes
 * nothing then loses what is printed until it takes something again. */
#include "vm/virtio/virtio_console.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/fd.h"
#include "base/mem.h"
#include "vm/machine.h"
#include "vm/virtio/config_space.h"
#include "vm/virtio/iov.h"

enum { QUEUE_RX, QUEUE_TX, QUEUES };
enum { TURN_REQUESTS = 64, PATIENCE_MS = 200 };

/* 5.3.4: without SIZE, MULTIPORT and EMERG_WRITE the driver looks at none of it. */
struct console_config {
	uint16_t cols, rows;
	uint32_t max_nr_ports, emerg_wr;
};

struct virtio_console {
	struct loop *loop;     /* borrowed */
	struct virtio *virtio; /* borrowed; NULL: the driver is not there */
	int in, out;           /* owned; -1: none.  May be the same */
	struct loop_watch *in_watch, *out_watch, *patience; /* owned */
	bool is_readable, is_writable, is_losing;
	uint32_t tx_written; /* of the request that is at the head of the queue */
};

static void console_fail(struct virtio_console *c, const char *why)
{
	virtio_fail(c->virtio, why);
	c->virtio = NULL;
}

/* The next request; when there is none, the driver is asked to notify of one. */
static int next_request(struct virtq *queue, struct virtq_chain *chain)
{
	int r = virtq_next(queue, chain);
	if (r != 0)
		return r;
	virtq_set_notify(queue, true);
	return virtq_next(queue, chain);
}

/* ---- from the guest ---- */

/* Writes the rest of a request: false if it has to wait. */
static bool write_request(struct virtio_console *c, const struct virtq_chain *chain)
{
	if (c->out < 0 || c->is_losing || c->tx_written >= chain->in_bytes)
		return true;
	struct iovec parts[VIRTQ_CHAIN_MAX];
	unsigned count = iov_slice(chain->in, chain->in_len, c->tx_written, UINT32_MAX, parts);
	ssize_t n;
	do
		n = writev(c->out, parts, (int)count);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		c->tx_written += (uint32_t)n;
	if (n < 0 && errno != EAGAIN)
		return true; /* nobody reads: lost */
	if (c->tx_written >= chain->in_bytes)
		return true;
	c->is_writable = n > 0;
	return false;
}

static void transmit(struct virtio_console *c)
{
	struct virtq *queue = virtio_queue(c->virtio, QUEUE_TX);
	struct virtq_chain chain;
	unsigned taken = 0;
	int r = 1;
	while (taken < TURN_REQUESTS && (r = next_request(queue, &chain)) == 1) {
		if (!write_request(c, &chain)) {
			virtq_put_back(queue);
			break;
		}
		c->tx_written = 0;
		virtq_done(queue, chain.head, 0);
		taken++;
	}
	if (taken > 0)
		virtio_interrupt(c->virtio, QUEUE_TX);
	if (r < 0)
		console_fail(c, "the transmit queue is broken");
	else if (taken == TURN_REQUESTS)
		virtio_again(c->virtio, QUEUE_TX);
}

static void on_patience(void *context)
{
	struct virtio_console *c = context;
	loop_remove(TAKE(c->patience));
	c->is_losing = !c->is_writable;
	if (c->virtio != NULL)
		transmit(c);
}

/* The head of the queue waits for the reader: not for ever. */
static void be_patient(struct virtio_console *c)
{
	if (c->is_writable || c->is_losing || c->out < 0 || c->patience != NULL)
		return;
	if (loop_watch_timer(c->loop, PATIENCE_MS, on_patience, c, &c->patience, NULL) < 0)
		c->is_losing = true;
}

/* ---- to the guest ---- */

/* Reads into the guest's buffers what there is: one buffer after the other. */
static void receive(struct virtio_console *c)
{
	struct virtq *queue = virtio_queue(c->virtio, QUEUE_RX);
	struct virtq_chain chain;
	unsigned taken = 0;
	int r = 1;
	while (c->is_readable && taken < TURN_REQUESTS && (r = next_request(queue, &chain)) == 1) {
		ssize_t n;
		if (chain.out_bytes == 0) {
			r = -EPROTO;
			break;
		}
		do
			n = readv(c->in, chain.out, (int)chain.out_len);
		while (n < 0 && errno == EINTR);
		if (n <= 0) {
			/* Nothing now, or nobody there: an event tells of more. */
			c->is_readable = false;
			virtq_put_back(queue);
			break;
		}
		virtq_done(queue, chain.head, (uint32_t)n);
		taken++;
	}
	if (taken > 0)
		virtio_interrupt(c->virtio, QUEUE_RX);
	if (r < 0)
		console_fail(c, "the receive queue is broken");
	else if (taken == TURN_REQUESTS)
		virtio_again(c->virtio, QUEUE_RX);
}

/* ---- events ---- */

static void run(struct virtio_console *c)
{
	if (c->virtio != NULL)
		receive(c);
	if (c->virtio != NULL && (c->is_writable || c->is_losing || c->out < 0))
		transmit(c);
	if (c->virtio != NULL)
		be_patient(c);
}

static void on_fd(void *context, int fd, uint32_t events)
{
	struct virtio_console *c = context;
	if (fd == c->in && (events & ~(uint32_t)EPOLLOUT))
		c->is_readable = true;
	if (fd == c->out && (events & ~(uint32_t)EPOLLIN)) {
		c->is_writable = true;
		c->is_losing = false;
	}
	run(c);
}

static void console_notify(void *device, unsigned queue)
{
	(void)queue;
	run(device);
}

/* ---- the device ---- */

static uint64_t console_features(void *device)
{
	(void)device;
	return 0;
}

static void console_config_read(void *device, uint32_t offset, void *bytes, uint32_t len)
{
	(void)device;
	const struct console_config config = { 0 };
	config_space_read(&config, sizeof(config), offset, bytes, len);
}

static void console_config_write(void *device, uint32_t offset, const void *bytes, uint32_t len)
{
	(void)device;
	(void)offset;
	(void)bytes;
	(void)len; /* EMERG_WRITE is not offered */
}

static void console_activate(void *device, struct virtio *virtio, uint64_t features)
{
	struct virtio_console *c = device;
	(void)features;
	c->virtio = virtio;
}

static void console_reset(void *device)
{
	struct virtio_console *c = device;
	c->virtio = NULL;
	c->tx_written = 0;
	loop_remove(TAKE(c->patience));
}

static void console_free(void *device)
{
	struct virtio_console *c = device;
	if (c == NULL)
		return;
	loop_remove(c->patience);
	loop_remove(c->in_watch);
	loop_remove(c->out_watch);
	if (c->in != c->out)
		cleanup_close(&c->in);
	cleanup_close(&c->out);
	free(c);
}

const struct virtio_ops virtio_console_ops = {
	.name = "console",
	.type = 3,
	.pci_class = 0x07800000, /* communication controller, other */
	.queues = QUEUES,
	.queue_size = 64,
	.features = console_features,
	.config_read = console_config_read,
	.config_write = console_config_write,
	.activate = console_activate,
	.notify = console_notify,
	.reset = console_reset,
	.free = console_free,
};

/* ---- creation ---- */

static int open_end(struct virtio_console *c, int fd, uint32_t events, bool *ret_always,
	struct loop_watch **ret_watch, struct err *err)
{
	struct err why = { 0 };
	if (fd < 0)
		return 0;
	int r = fd_set_nonblocking(fd, true);
	if (r < 0)
		return err_sys(err, -r, "descriptor %d", fd);
	r = loop_watch_fd(c->loop, fd, events | EPOLLET, on_fd, c, ret_watch, &why);
	*ret_always = r == -EPERM; /* a file has no readiness */
	return r == 0 || r == -EPERM ? 0 : err_copy(err, &why);
}

int virtio_console_create(json *config, struct machine *machine, void **ret_device, struct err *err)
{
	struct virtio_console *c = NEW(virtio_console);
	c->loop = machine_loop(machine);
	c->in = c->out = -1;
	int r = 0;
	if (json_get_int(config, "in_fd", -1) >= 0)
		r = device_take_fd(config, "in_fd", &c->in, err);
	if (r == 0 && json_get_int(config, "out_fd", -1) >= 0)
		r = device_take_fd(config, "out_fd", &c->out, err);
	bool is_one = c->in == c->out;
	if (r == 0)
		r = open_end(c, c->in, EPOLLIN | (is_one ? EPOLLOUT : 0u), &c->is_readable,
			&c->in_watch, err);
	if (r == 0 && is_one)
		c->is_writable = c->is_readable;
	else if (r == 0)
		r = open_end(c, c->out, EPOLLOUT, &c->is_writable, &c->out_watch, err);
	if (r < 0) {
		console_free(c);
		return r;
	}
	*ret_device = c;
	return 0;
}
