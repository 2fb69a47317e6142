/* virtq - the device's side of one split virtqueue (virtio 1.2, 2.7), with indirect descriptors
 * (2.7.5.3) and used_event/avail_event (2.7.7).
 *
 * Everything in the rings is hostile and may change at any moment: each index, descriptor and
 * length is copied once, checked, then used.  A rule broken by the driver makes the queue broken:
 * it yields nothing more, and the caller marks the device failed (DEVICE_NEEDS_RESET). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/cleanup.h"
#include "vm/guest_mem.h"

#define VIRTQ_SIZE_MAX 256
#define VIRTQ_CHAIN_MAX 128 /* buffers of one request: bounded whatever the driver says */

struct virtq {
	const struct guest_mem *mem;    /* borrowed */
	uint64_t desc, avail, used;     /* guest addresses, checked at activation */
	uint16_t size;                  /* a power of two, at most VIRTQ_SIZE_MAX */
	uint16_t next_avail, next_used; /* free-running indices */
	uint16_t signalled_used;        /* next_used at the last interrupt decision */
	bool has_event_idx, is_ready, is_broken;
};

/* One request: buffers the driver wrote, then those it wants written, in order. */
struct virtq_chain {
	uint16_t head;
	unsigned in_len, out_len; /* used entries: in = device reads, out = device writes */
	uint64_t in_bytes, out_bytes;
	struct iovec in[VIRTQ_CHAIN_MAX], out[VIRTQ_CHAIN_MAX];
};

/* Checks addresses, alignment and size; -EINVAL: the driver's fault. */
MUST_CHECK int virtq_activate(struct virtq *queue, const struct guest_mem *mem, bool has_event_idx);
/* The next request: 1, 0 when there is none, -EPROTO when the driver broke a rule (is_broken). */
MUST_CHECK int virtq_next(struct virtq *queue, struct virtq_chain *chain);
/* Puts the last request back, to be seen again (no room in a socket, say).  Only the newest. */
void virtq_put_back(struct virtq *queue);
/* Hands a request back with the bytes written into its out buffers. */
void virtq_done(struct virtq *queue, uint16_t head, uint32_t written);
/* Whether the driver wants an interrupt for what was handed back since the last call. */
MUST_CHECK bool virtq_wants_interrupt(struct virtq *queue);
/* Asks the driver to notify (true) or not to (false) about new requests.  After enabling, the
 * caller looks once more. */
void virtq_set_notify(struct virtq *queue, bool on);

/* Copies between a request's buffers and bytes; returns how many were copied, from offset on. */
size_t virtq_copy_in(const struct virtq_chain *chain, uint64_t offset, void *bytes, size_t len);
size_t virtq_copy_out(const struct virtq_chain *chain, uint64_t offset, const void *bytes,
	size_t len);
