/* virtio_net - frames go between the tap and the guest's buffers by readv() and writev(), uncopied;
 * the kernel's tap speaks the device's own header (IFF_VNET_HDR), so checksums and segmentation are
 * left to whoever is last.
 *
 * Receiving.  The tap cuts a frame that does not fit, so it is read only when the buffers at hand
 * hold the longest one that may come.  With mergeable buffers (5.1.6.4) these are many requests:
 * they are collected in a stock, a frame uses up as many as it fills, and the rest waits for the
 * next.  Without, each request is large enough alone (5.1.6.3.1) and the stock is one.
 *
 * Readiness of the tap is edge-triggered: a flag holds until a call says EAGAIN, so a guest without
 * buffers costs nothing; the tap's own queue then drops, as a full card does.
 *
 * Sending.  What is checked is copied first: the header, and the Ethernet header, whose source must
 * be the guest's own address.  A frame that breaks a rule is dropped and counts as sent, as on a
 * wire. */
#include "vm/virtio/virtio_net.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include "base/fd.h"
#include "base/mem.h"
#include "vm/machine.h"
#include "vm/virtio/config_space.h"
#include "vm/virtio/iov.h"

enum { QUEUE_RX, QUEUE_TX, QUEUES };
enum { TURN_FRAMES = 64 };
enum { MAC_BYTES = 6, ETHERNET_BYTES = 14, HEADER_BYTES = sizeof(struct virtio_net_hdr_v1) };
/* 5.1.6.3.1: with segmentation offload, and without. */
enum {
	LONGEST_BYTES = HEADER_BYTES + ETHERNET_BYTES + 65536,
	LONG_BYTES = HEADER_BYTES + ETHERNET_BYTES + 1500
};
/* readv() takes 1024 parts: enough for the longest frame in any buffers that a driver would use. */
enum { STOCK_PARTS = 1024 };

#define FEATURE(name) (UINT64_C(1) << VIRTIO_NET_F_##name)
#define GUEST_OFFLOADS (FEATURE(GUEST_CSUM) | FEATURE(GUEST_TSO4) | FEATURE(GUEST_TSO6))
#define HOST_OFFLOADS (FEATURE(CSUM) | FEATURE(HOST_TSO4) | FEATURE(HOST_TSO6))

_Static_assert(HEADER_BYTES == 12, "as the guest sees it");

/* Requests taken out of the receive queue and not used yet. */
struct stock {
	struct iovec parts[STOCK_PARTS];
	struct stock_request {
		uint16_t head, parts;
		uint32_t bytes;
	} requests[VIRTQ_SIZE_MAX];
	unsigned parts_first, parts_end, requests_first, requests_end;
	uint64_t bytes;
};

struct virtio_net {
	struct virtio *virtio;        /* borrowed; NULL: the driver is not there */
	int tap;                      /* owned */
	struct loop_watch *tap_watch; /* owned */
	bool is_readable, is_writable;
	uint64_t offered, features;
	struct virtio_net_config config;
	struct stock stock;
};

static void net_fail(struct virtio_net *n, const char *why)
{
	virtio_fail(n->virtio, why);
	n->virtio = NULL;
}

/* ---- receiving ---- */

static void stock_clear(struct stock *s)
{
	s->parts_first = s->parts_end = s->requests_first = s->requests_end = 0;
	s->bytes = 0;
}

/* Moves what is left to the front, when there is no room behind it. */
static void stock_compact(struct stock *s)
{
	unsigned parts = s->parts_end - s->parts_first;
	unsigned requests = s->requests_end - s->requests_first;
	memmove(s->parts, s->parts + s->parts_first, parts * sizeof(s->parts[0]));
	memmove(s->requests, s->requests + s->requests_first, requests * sizeof(s->requests[0]));
	s->parts_first = s->requests_first = 0;
	s->parts_end = parts;
	s->requests_end = requests;
}

static bool stock_add(struct stock *s, const struct virtq_chain *chain)
{
	if (s->parts_end + chain->out_len > STOCK_PARTS || s->requests_end == VIRTQ_SIZE_MAX)
		stock_compact(s);
	if (s->parts_end + chain->out_len > STOCK_PARTS || s->requests_end == VIRTQ_SIZE_MAX)
		return false;
	/* A request longer than any frame is not worth more than one. */
	uint64_t bytes = chain->out_bytes < LONGEST_BYTES ? chain->out_bytes : LONGEST_BYTES;
	s->requests[s->requests_end++] = (struct stock_request){ .head = chain->head,
		.parts = (uint16_t)chain->out_len,
		.bytes = (uint32_t)bytes };
	memcpy(s->parts + s->parts_end, chain->out, chain->out_len * sizeof(s->parts[0]));
	s->parts_end += chain->out_len;
	s->bytes += bytes;
	return true;
}

/* The bytes that the buffers must hold before the tap is read. */
static uint64_t stock_goal(const struct virtio_net *n)
{
	bool is_long = (n->features & (FEATURE(GUEST_TSO4) | FEATURE(GUEST_TSO6))) != 0;
	return is_long ? LONGEST_BYTES : LONG_BYTES;
}

/* Collects requests up to the goal; false when the guest has to give more first. */
static bool stock_fill(struct virtio_net *n)
{
	struct virtq *queue = virtio_queue(n->virtio, QUEUE_RX);
	struct virtq_chain chain;
	while (n->stock.bytes < stock_goal(n)) {
		int r = virtq_next(queue, &chain);
		if (r == 0) {
			virtq_set_notify(queue, true);
			r = virtq_next(queue, &chain);
			if (r == 1)
				virtq_set_notify(queue, false);
		}
		if (r == 0)
			return false;
		if (r < 0 || chain.out_bytes < HEADER_BYTES) {
			net_fail(n, "the receive queue is broken");
			return false;
		}
		if (!(n->features & FEATURE(MRG_RXBUF)) && chain.out_bytes < stock_goal(n)) {
			net_fail(n, "a receive buffer too small for a frame");
			return false;
		}
		if (!stock_add(&n->stock, &chain)) {
			/* More parts than one read takes: with so small ones frames are cut. */
			virtq_put_back(queue);
			return true;
		}
	}
	return true;
}

/* Hands the requests that hold the first len bytes back to the guest. */
static void stock_use(struct virtio_net *n, uint32_t len)
{
	struct stock *s = &n->stock;
	struct virtq *queue = virtio_queue(n->virtio, QUEUE_RX);
	while (len > 0 && s->requests_first < s->requests_end) {
		const struct stock_request *request = &s->requests[s->requests_first++];
		uint32_t used = len < request->bytes ? len : request->bytes;
		virtq_done(queue, request->head, used);
		s->parts_first += request->parts;
		s->bytes -= request->bytes;
		len -= used;
	}
}

/* How many of the requests hold len bytes. */
static uint16_t stock_count(const struct stock *s, uint32_t len)
{
	uint16_t count = 0;
	for (unsigned i = s->requests_first; len > 0 && i < s->requests_end; i++, count++)
		len -= len < s->requests[i].bytes ? len : s->requests[i].bytes;
	return count;
}

static void header_put(const struct stock *s, uint64_t offset, const void *bytes, size_t len)
{
	/* Enough parts for a header, if none of them is empty. */
	struct iovec parts[HEADER_BYTES];
	unsigned count = s->parts_end - s->parts_first;
	count = iov_slice(s->parts + s->parts_first, count < HEADER_BYTES ? count : HEADER_BYTES,
		offset, len, parts);
	const uint8_t *from = bytes;
	for (unsigned i = 0; i < count; from += parts[i++].iov_len)
		memcpy(parts[i].iov_base, from, parts[i].iov_len);
}

/* What the tap leaves open in the header that it wrote. */
static void finish_header(const struct virtio_net *n, uint16_t buffers)
{
	const uint8_t no_flags = 0;
	if (!(n->features & FEATURE(GUEST_CSUM)))
		header_put(&n->stock, offsetof(struct virtio_net_hdr_v1, flags), &no_flags, 1);
	header_put(&n->stock, offsetof(struct virtio_net_hdr_v1, num_buffers), &buffers,
		sizeof(buffers));
}

static void receive(struct virtio_net *n)
{
	struct stock *s = &n->stock;
	unsigned frames = 0;
	while (n->virtio != NULL && n->is_readable && frames < TURN_FRAMES && stock_fill(n)) {
		ssize_t len = readv(n->tap, s->parts + s->parts_first,
			(int)(s->parts_end - s->parts_first));
		if (len < 0 && errno == EINTR)
			continue;
		if (len < HEADER_BYTES) {
			/* EAGAIN; or the tap is down, and an event will tell when it is up. */
			n->is_readable = false;
			break;
		}
		/* Before the requests are the guest's again. */
		finish_header(n, stock_count(s, (uint32_t)len));
		stock_use(n, (uint32_t)len);
		frames++;
	}
	if (frames > 0 && n->virtio != NULL)
		virtio_interrupt(n->virtio, QUEUE_RX);
	if (frames == TURN_FRAMES && n->virtio != NULL)
		virtio_again(n->virtio, QUEUE_RX);
}

/* ---- sending ---- */

/* What goes before a frame: copied, then checked. */
struct head {
	struct virtio_net_hdr_v1 header;
	uint8_t destination[MAC_BYTES], source[MAC_BYTES], type[2];
};
_Static_assert(sizeof(struct head) == HEADER_BYTES + ETHERNET_BYTES, "as in the guest's buffer");

static bool header_is_allowed(const struct virtio_net *n, const struct virtio_net_hdr_v1 *header)
{
	if ((header->flags & ~VIRTIO_NET_HDR_F_NEEDS_CSUM) ||
		(header->flags && !(n->features & FEATURE(CSUM))))
		return false;
	switch (header->gso_type) {
	case VIRTIO_NET_HDR_GSO_NONE: return true;
	case VIRTIO_NET_HDR_GSO_TCPV4: return (n->features & FEATURE(HOST_TSO4)) != 0;
	case VIRTIO_NET_HDR_GSO_TCPV6: return (n->features & FEATURE(HOST_TSO6)) != 0;
	default: return false;
	}
}

/* Writes one request: false if the tap is full. */
static bool send_frame(struct virtio_net *n, const struct virtq_chain *chain)
{
	struct head head;
	struct iovec parts[VIRTQ_CHAIN_MAX + 1];
	if (chain->in_bytes > LONGEST_BYTES ||
		virtq_copy_in(chain, 0, &head, sizeof(head)) != sizeof(head) ||
		!header_is_allowed(n, &head.header) ||
		memcmp(head.source, n->config.mac, MAC_BYTES) != 0)
		return true;
	parts[0] = (struct iovec){ &head, sizeof(head) };
	unsigned count =
		1 + iov_slice(chain->in, chain->in_len, sizeof(head), chain->in_bytes, parts + 1);
	ssize_t len;
	do
		len = writev(n->tap, parts, (int)count);
	while (len < 0 && errno == EINTR);
	/* Any other error is the frame's, or of a tap that is down. */
	return len >= 0 || errno != EAGAIN;
}

static void transmit(struct virtio_net *n)
{
	if (n->virtio == NULL || !n->is_writable)
		return;
	struct virtq *queue = virtio_queue(n->virtio, QUEUE_TX);
	struct virtq_chain chain;
	unsigned frames = 0;
	int r = 1;
	virtq_set_notify(queue, false);
	while (frames < TURN_FRAMES) {
		r = virtq_next(queue, &chain);
		if (r == 0) {
			virtq_set_notify(queue, true);
			r = virtq_next(queue, &chain);
		}
		if (r <= 0)
			break;
		if (!send_frame(n, &chain)) {
			n->is_writable = false;
			virtq_put_back(queue);
			break;
		}
		virtq_done(queue, chain.head, 0);
		frames++;
	}
	if (frames > 0)
		virtio_interrupt(n->virtio, QUEUE_TX);
	if (r < 0)
		net_fail(n, "the transmit queue is broken");
	else if (frames == TURN_FRAMES)
		virtio_again(n->virtio, QUEUE_TX);
}

/* ---- events ---- */

static void on_tap(void *context, int fd, uint32_t events)
{
	struct virtio_net *n = context;
	(void)fd;
	if (events & ~(uint32_t)EPOLLOUT)
		n->is_readable = true;
	if (events & ~(uint32_t)EPOLLIN)
		n->is_writable = true;
	receive(n);
	transmit(n);
}

static void net_notify(void *device, unsigned queue)
{
	struct virtio_net *n = device;
	if (n->virtio == NULL)
		return;
	if (queue == QUEUE_TX) {
		transmit(n);
		return;
	}
	virtq_set_notify(virtio_queue(n->virtio, QUEUE_RX), false);
	receive(n);
	/* Where nothing was there to read, the next fill asks for notification in time. */
}

/* ---- the device ---- */

static uint64_t net_features(void *device)
{
	const struct virtio_net *n = device;
	return n->offered;
}

static void net_config_read(void *device, uint32_t offset, void *bytes, uint32_t len)
{
	const struct virtio_net *n = device;
	config_space_read(&n->config, sizeof(n->config), offset, bytes, len);
}

static void net_config_write(void *device, uint32_t offset, const void *bytes, uint32_t len)
{
	(void)device;
	(void)offset;
	(void)bytes;
	(void)len; /* nothing in it is the driver's (5.1.4.1) */
}

/* A feature without the one it needs (5.1.3.1) is not there. */
static uint64_t without_orphans(uint64_t features)
{
	if (!(features & FEATURE(CSUM)))
		features &= ~HOST_OFFLOADS;
	if (!(features & FEATURE(GUEST_CSUM)))
		features &= ~GUEST_OFFLOADS;
	return features;
}

static unsigned tap_offloads(uint64_t features)
{
	return (features & FEATURE(GUEST_CSUM) ? TUN_F_CSUM : 0) |
	       (features & FEATURE(GUEST_TSO4) ? TUN_F_TSO4 : 0) |
	       (features & FEATURE(GUEST_TSO6) ? TUN_F_TSO6 : 0);
}

static void net_activate(void *device, struct virtio *virtio, uint64_t features)
{
	struct virtio_net *n = device;
	n->virtio = virtio;
	n->features = without_orphans(features);
	stock_clear(&n->stock);
	/* What the guest cannot take whole, the kernel finishes. */
	if (ioctl(n->tap, TUNSETOFFLOAD, tap_offloads(n->features)) < 0)
		net_fail(n, "the tap does not take the driver's offloads");
}

static void net_reset(void *device)
{
	struct virtio_net *n = device;
	n->virtio = NULL;
	stock_clear(&n->stock);
}

static void net_free(void *device)
{
	struct virtio_net *n = device;
	if (n == NULL)
		return;
	loop_remove(n->tap_watch);
	cleanup_close(&n->tap);
	free(n);
}

const struct virtio_ops virtio_net_ops = {
	.name = "net",
	.type = 1,
	.pci_class = 0x02000000, /* network controller, Ethernet */
	.queues = QUEUES,
	.queue_size = 256,
	.features = net_features,
	.config_read = net_config_read,
	.config_write = net_config_write,
	.activate = net_activate,
	.notify = net_notify,
	.reset = net_reset,
	.free = net_free,
};

/* ---- creation ---- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int parse_mac(const char *text, uint8_t mac[MAC_BYTES], struct err *err)
{
	if (text == NULL || strlen(text) != 3 * MAC_BYTES - 1)
		return err_set(err, ERR_INVALID, "a network device needs a hardware address");
	for (size_t i = 0; i < MAC_BYTES; i++) {
		int high = hex_digit(text[3 * i]), low = hex_digit(text[3 * i + 1]);
		if (high < 0 || low < 0 || (i < MAC_BYTES - 1 && text[3 * i + 2] != ':'))
			return err_set(err, ERR_INVALID, "no hardware address: %s", text);
		mac[i] = (uint8_t)(high << 4 | low);
	}
	if (mac[0] & 1)
		return err_set(err, ERR_INVALID, "not the address of one host: %s", text);
	return 0;
}

static int open_tap(struct virtio_net *n, struct err *err)
{
	int size = HEADER_BYTES;
	if (ioctl(n->tap, TUNSETVNETHDRSZ, &size) < 0)
		return err_sys(err, errno, "set up the tap's header");
	int r = fd_set_nonblocking(n->tap, true);
	if (r < 0)
		return err_sys(err, -r, "the tap");
	n->offered = FEATURE(MAC) | FEATURE(STATUS) | FEATURE(MRG_RXBUF) | HOST_OFFLOADS;
	/* A kernel that cannot keep checksums open does without; so does the guest then. */
	if (ioctl(n->tap, TUNSETOFFLOAD, tap_offloads(GUEST_OFFLOADS)) == 0)
		n->offered |= GUEST_OFFLOADS;
	return 0;
}

int virtio_net_create(json *config, struct machine *machine, void **ret_device, struct err *err)
{
	struct virtio_net *n = NEW(virtio_net);
	n->tap = -1;
	n->config.status = VIRTIO_NET_S_LINK_UP;
	int r = parse_mac(json_get_string(config, "mac"), n->config.mac, err);
	if (r == 0)
		r = device_take_fd(config, "fd", &n->tap, err);
	if (r == 0)
		r = open_tap(n, err);
	if (r == 0)
		r = loop_watch_fd(machine_loop(machine), n->tap, EPOLLIN | EPOLLOUT | EPOLLET,
			on_tap, n, &n->tap_watch, err);
	if (r < 0) {
		net_free(n);
		return r;
	}
	*ret_device = n;
	return 0;
}
