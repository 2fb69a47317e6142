/* vsock_connection - one stream between a port of the guest and a descriptor of the host: its
 * state, its buffer, its credit.  It knows descriptors but no queue: the device carries its
 * packets. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/loop.h"
#include "vm/virtio/virtq.h"

/* Virtio 1.2, 5.10.6: the header of every packet, little-endian. */
struct vsock_header {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
} __attribute__((packed));
#define VSOCK_HEADER_BYTES 44
_Static_assert(sizeof(struct vsock_header) == VSOCK_HEADER_BYTES, "as the guest sees it");

enum vsock_op {
	VSOCK_REQUEST = 1,
	VSOCK_RESPONSE,
	VSOCK_RST,
	VSOCK_SHUTDOWN,
	VSOCK_RW,
	VSOCK_CREDIT_UPDATE,
	VSOCK_CREDIT_REQUEST,
	VSOCK_OPS
};
enum { VSOCK_TYPE_STREAM = 1 };
enum { VSOCK_NO_RECEIVE = 1, VSOCK_NO_SEND = 2, VSOCK_NEITHER = 3 }; /* flags of SHUTDOWN */

enum vsock_state {
	VSOCK_FREE,
	VSOCK_GREETING,  /* a client of the listener has not said its line yet */
	VSOCK_REQUESTED, /* REQUEST is on its way to the guest */
	VSOCK_OPEN,
	VSOCK_CLOSING,  /* both sides have said all: the guest's RST is awaited */
	VSOCK_DRAINING, /* the guest is gone, bytes of it are still to be written */
	VSOCK_STATES
};

struct vsock_connection {
	enum vsock_state state;
	uint32_t guest_port, host_port;
	int fd;                   /* owned; -1 when it is closed early */
	struct loop_watch *watch; /* owned; NULL where a descriptor has no readiness (a file) */
	uint64_t deadline_ns;     /* monotonic; 0: none */
	bool is_port;             /* of the guest's making, not the listener's */

	/* Readiness is edge-triggered: a flag holds until the call says EAGAIN. */
	bool can_read, can_write; /* what the descriptor is for */
	bool is_readable, is_writable;
	bool read_ended, write_ended; /* nothing more comes from it, or can go to it */
	bool write_failed;            /* the reader is gone: the guest is told */
	bool guest_ended;             /* the guest sends no more */

	uint8_t *ring; /* borrowed, LIMIT_VSOCK_BUFFER_BYTES: bytes of the guest */
	uint32_t ring_start, ring_len;
	uint32_t forwarded, forwarded_told;            /* bytes taken out of the ring */
	uint32_t sent, guest_buf_alloc, guest_fwd_cnt; /* the guest's side of the same */

	uint32_t pending;       /* bits 1 << VSOCK_op: packets to send as soon as there is room */
	uint32_t shutdown_told; /* flags of SHUTDOWN so far */
	void *device;           /* borrowed */
};

/* Finds out what a descriptor is for, by its kind and how it was opened: a FIFO carries one
 * direction, to the guest if is_input.  Makes it non-blocking. */
struct vsock_end {
	int fd; /* owned */
	bool can_read, can_write;
};
MUST_CHECK int vsock_end_open(int take_fd, bool is_input, struct vsock_end *ret_end,
	struct err *err);

MUST_CHECK int vsock_connection_open(struct vsock_connection *connection, enum vsock_state state,
	struct vsock_end take_end, struct loop *loop, loop_fd_fn *fn);
/* Ends at once whatever its state is, and closes its descriptor. */
void vsock_connection_drop(struct vsock_connection *connection);

/* The client has said its line: the guest is asked. */
void vsock_connection_request(struct vsock_connection *connection);

/* What epoll said. */
void vsock_connection_event(struct vsock_connection *connection, uint32_t events);

/* ---- from the guest ---- */

/* Takes over the credit that any packet carries. */
void vsock_connection_credit(struct vsock_connection *connection,
	const struct vsock_header *header);
/* len bytes of a request from offset on: written at once where possible, else buffered.  -EPROTO:
 * more than the guest had credit for. */
MUST_CHECK int vsock_connection_take(struct vsock_connection *connection,
	const struct virtq_chain *chain, uint32_t offset, uint32_t len);
/* REQUEST was accepted by the guest. */
void vsock_connection_accepted(struct vsock_connection *connection);
/* SHUTDOWN with these flags. */
void vsock_connection_shutdown(struct vsock_connection *connection, uint32_t flags);
/* The guest knows nothing of it any more (or shall not: with_rst). */
void vsock_connection_forget_guest(struct vsock_connection *connection, bool with_rst);
/* Its deadline has passed. */
void vsock_connection_late(struct vsock_connection *connection);

/* ---- to the guest ---- */

/* The packet to send next and its flags, or 0; VSOCK_RW: data waits and the guest has room. */
enum vsock_op vsock_connection_next(const struct vsock_connection *connection, uint32_t *ret_flags);
/* Fills the buffers with what the descriptor has, within the guest's credit: bytes, or 0 when there
 * is nothing (now, or any more). */
MUST_CHECK uint32_t vsock_connection_fill(struct vsock_connection *connection,
	const struct iovec *iov, unsigned iov_len, uint64_t room);
/* Fills in a header and counts the packet as sent. */
void vsock_connection_send(struct vsock_connection *connection, enum vsock_op op, uint32_t flags,
	uint32_t len, struct vsock_header *ret_header);
