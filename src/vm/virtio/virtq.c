/* virtq - see virtq.h.  The device's side of a split virtqueue.
 *
 * Reading.  Whatever lies in guest memory is loaded exactly once, by an access that the compiler
 * may not repeat: an index atomically, a descriptor by two volatile loads into a local copy.  What
 * is checked is that copy, what is used is that copy, and so a driver that flips its rings
 * meanwhile changes at most what it asks for.
 *
 * Bounds.  A chain has at most VIRTQ_CHAIN_MAX buffers, empty ones included, wherever their
 * descriptors stand; a loop runs into that bound.  The available index may be ahead by the queue's
 * size at most.
 *
 * Order (virtio 1.2, 2.7.13, 2.7.14).  Loads of words are in one total order, which costs nothing
 * on x86; a used entry is stored before the used index is released; a full fence stands between the
 * used index and the question whether the driver wants an interrupt, and between asking for
 * notifications and looking once more. */
#include "vm/virtio/virtq.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

/* Offsets in the available ring, which ends in used_event, and in the used ring, which ends in
 * avail_event. */
enum {
	RING_FLAGS = 0,
	RING_INDEX = 2,
	RING_ENTRIES = 4,
	AVAIL_ENTRY = 2,
	USED_ENTRY = 8,
	RING_EVENT = 2 /* bytes of the event index at the end */
};

struct descriptor {
	uint64_t address;
	uint32_t len;
	uint16_t flags, next;
};
static_assert(sizeof(struct descriptor) == 16, "virtio 1.2, 2.7.5");

/* An indirect table may stand at any address: a load of any alignment. */
struct packed_u64 {
	uint64_t value;
} __attribute__((packed, may_alias));

static uint64_t load_u64(const uint8_t *at)
{
	return ((const volatile struct packed_u64 *)(const void *)at)->value;
}

static struct descriptor load_descriptor(const uint8_t *table, unsigned index)
{
	const uint8_t *at = table + (size_t)index * sizeof(struct descriptor);
	uint64_t low = load_u64(at), high = load_u64(at + 8);
	return (struct descriptor){ .address = low,
		.len = (uint32_t)high,
		.flags = (uint16_t)(high >> 32),
		.next = (uint16_t)(high >> 48) };
}

static uint16_t load_u16(const uint8_t *ring, uint64_t offset)
{
	return __atomic_load_n((const uint16_t *)(const void *)(ring + offset), __ATOMIC_SEQ_CST);
}

static uint16_t *word_at(uint8_t *ring, uint64_t offset)
{
	return (uint16_t *)(void *)(ring + offset);
}

static uint64_t desc_bytes(uint16_t size)
{
	return (uint64_t)size * sizeof(struct descriptor);
}

static uint64_t avail_bytes(uint16_t size)
{
	return RING_ENTRIES + (uint64_t)size * AVAIL_ENTRY + RING_EVENT;
}

static uint64_t used_bytes(uint16_t size)
{
	return RING_ENTRIES + (uint64_t)size * USED_ENTRY + RING_EVENT;
}

/* RAM does not move: what was there at activation is there. */
static uint8_t *avail_at(const struct virtq *queue)
{
	return guest_mem_at(queue->mem, queue->avail, avail_bytes(queue->size));
}

static uint8_t *used_at(const struct virtq *queue)
{
	return guest_mem_at(queue->mem, queue->used, used_bytes(queue->size));
}

static bool is_usable(const struct virtq *queue)
{
	return queue->is_ready && !queue->is_broken;
}

int virtq_activate(struct virtq *queue, const struct guest_mem *mem, bool has_event_idx)
{
	uint16_t size = queue->size;
	queue->is_ready = false;
	if (size == 0 || size > VIRTQ_SIZE_MAX || (size & (size - 1)) != 0)
		return -EINVAL;
	if (queue->desc % VRING_DESC_ALIGN_SIZE != 0 ||
		queue->avail % VRING_AVAIL_ALIGN_SIZE != 0 ||
		queue->used % VRING_USED_ALIGN_SIZE != 0)
		return -EINVAL;
	if (guest_mem_at(mem, queue->desc, desc_bytes(size)) == NULL ||
		guest_mem_at(mem, queue->avail, avail_bytes(size)) == NULL ||
		guest_mem_at(mem, queue->used, used_bytes(size)) == NULL)
		return -EINVAL;
	queue->mem = mem;
	queue->next_avail = queue->next_used = queue->signalled_used = 0;
	queue->has_event_idx = has_event_idx;
	queue->is_broken = false;
	queue->is_ready = true;
	return 0;
}

static int broken(struct virtq *queue)
{
	queue->is_broken = true;
	return -EPROTO;
}

/* A buffer of the request: what the device reads comes first (virtio 1.2, 2.7.4.2).  False when the
 * driver broke a rule. */
static bool add_buffer(const struct virtq *queue, struct virtq_chain *chain,
	const struct descriptor *descriptor)
{
	bool is_out = (descriptor->flags & VRING_DESC_F_WRITE) != 0;
	if (!is_out && chain->out_len > 0)
		return false;
	if (descriptor->len == 0)
		return true;
	void *host = guest_mem_payload(queue->mem, descriptor->address, descriptor->len, is_out);
	if (host == NULL)
		return false;
	struct iovec iov = { .iov_base = host, .iov_len = descriptor->len };
	if (is_out) {
		chain->out[chain->out_len++] = iov;
		chain->out_bytes += descriptor->len;
	} else {
		chain->in[chain->in_len++] = iov;
		chain->in_bytes += descriptor->len;
	}
	return true;
}

/* Where a chain goes on: the queue's own descriptors, then perhaps one indirect table. */
struct walk {
	const uint8_t *table;
	uint32_t table_len; /* descriptors in it */
	uint32_t index;
	bool is_indirect;
};

static bool enter_indirect(const struct virtq *queue, struct walk *walk,
	const struct descriptor *descriptor)
{
	/* Its own WRITE flag is ignored (2.7.5.3.2). */
	if (walk->is_indirect || (descriptor->flags & VRING_DESC_F_NEXT) != 0)
		return false;
	if (descriptor->len == 0 || descriptor->len % sizeof(struct descriptor) != 0)
		return false;
	const uint8_t *table = guest_mem_at(queue->mem, descriptor->address, descriptor->len);
	if (table == NULL)
		return false;
	*walk = (struct walk){ .table = table,
		.table_len = descriptor->len / (uint32_t)sizeof(struct descriptor),
		.is_indirect = true };
	return true;
}

static bool collect(const struct virtq *queue, struct virtq_chain *chain)
{
	struct walk walk = { .table =
				     guest_mem_at(queue->mem, queue->desc, desc_bytes(queue->size)),
		.table_len = queue->size,
		.index = chain->head };
	for (unsigned buffers = 0; buffers < VIRTQ_CHAIN_MAX;) {
		if (walk.table == NULL || walk.index >= walk.table_len)
			return false;
		struct descriptor descriptor = load_descriptor(walk.table, walk.index);
		if ((descriptor.flags & VRING_DESC_F_INDIRECT) != 0) {
			if (!enter_indirect(queue, &walk, &descriptor))
				return false;
			continue; /* once at most */
		}
		buffers++;
		if (!add_buffer(queue, chain, &descriptor))
			return false;
		if ((descriptor.flags & VRING_DESC_F_NEXT) == 0)
			return true;
		walk.index = descriptor.next;
	}
	return false;
}

int virtq_next(struct virtq *queue, struct virtq_chain *chain)
{
	if (queue->is_broken)
		return -EPROTO;
	if (!queue->is_ready)
		return 0;
	const uint8_t *avail = avail_at(queue);
	if (avail == NULL)
		return broken(queue);
	uint16_t waiting = (uint16_t)(load_u16(avail, RING_INDEX) - queue->next_avail);
	if (waiting == 0)
		return 0;
	if (waiting > queue->size)
		return broken(queue);
	size_t entry = queue->next_avail & (queue->size - 1u);
	chain->head = load_u16(avail, RING_ENTRIES + entry * AVAIL_ENTRY);
	chain->in_len = chain->out_len = 0;
	chain->in_bytes = chain->out_bytes = 0;
	if (!collect(queue, chain))
		return broken(queue);
	queue->next_avail++;
	return 1;
}

void virtq_put_back(struct virtq *queue)
{
	queue->next_avail--;
}

void virtq_done(struct virtq *queue, uint16_t head, uint32_t written)
{
	uint8_t *used = is_usable(queue) ? used_at(queue) : NULL;
	if (used == NULL)
		return;
	const uint32_t entry[2] = { head, written };
	memcpy(used + RING_ENTRIES + (size_t)(queue->next_used & (queue->size - 1u)) * USED_ENTRY,
		entry, sizeof(entry));
	queue->next_used++;
	__atomic_store_n(word_at(used, RING_INDEX), queue->next_used, __ATOMIC_RELEASE);
}

bool virtq_wants_interrupt(struct virtq *queue)
{
	const uint8_t *avail = is_usable(queue) ? avail_at(queue) : NULL;
	uint8_t *used = avail != NULL ? used_at(queue) : NULL;
	uint16_t old = queue->signalled_used;
	if (used == NULL || queue->next_used == old)
		return false;
	queue->signalled_used = queue->next_used;
	/* The full fence, as an operation that the thread sanitizer knows. */
	(void)__atomic_fetch_or(word_at(used, RING_INDEX), 0, __ATOMIC_SEQ_CST);
	if (!queue->has_event_idx)
		return (load_u16(avail, RING_FLAGS) & VRING_AVAIL_F_NO_INTERRUPT) == 0;
	/* Whether the entry that the driver waits for is among those of this batch (2.7.7.2). */
	uint16_t event = load_u16(avail, avail_bytes(queue->size) - RING_EVENT);
	return (uint16_t)(queue->next_used - event - 1) < (uint16_t)(queue->next_used - old);
}

void virtq_set_notify(struct virtq *queue, bool on)
{
	uint8_t *used = is_usable(queue) ? used_at(queue) : NULL;
	if (used == NULL)
		return;
	/* An event index that is not moved on is passed only after 65536 more requests. */
	uint64_t event = used_bytes(queue->size) - RING_EVENT;
	if (!queue->has_event_idx)
		__atomic_store_n(word_at(used, RING_FLAGS), on ? 0 : VRING_USED_F_NO_NOTIFY,
			__ATOMIC_SEQ_CST);
	else if (on)
		__atomic_store_n(word_at(used, event), queue->next_avail, __ATOMIC_SEQ_CST);
}

/* The piece of the buffers at *offset, at most max bytes of it; *offset moves behind it.  Returns
 * its length, 0 at the end. */
static size_t piece(const struct iovec *iov, unsigned iov_len, uint64_t *offset, size_t max,
	uint8_t **ret_guest)
{
	uint64_t before = 0;
	for (unsigned i = 0; i < iov_len; i++) {
		uint64_t within = *offset - before;
		if (within < iov[i].iov_len) {
			size_t n = iov[i].iov_len - (size_t)within;
			*ret_guest = (uint8_t *)iov[i].iov_base + within;
			n = n < max ? n : max;
			*offset += n;
			return n;
		}
		before += iov[i].iov_len;
	}
	return 0;
}

size_t virtq_copy_in(const struct virtq_chain *chain, uint64_t offset, void *bytes, size_t len)
{
	size_t copied = 0, n;
	uint8_t *guest;
	while (copied < len &&
		(n = piece(chain->in, chain->in_len, &offset, len - copied, &guest)) > 0) {
		memcpy((uint8_t *)bytes + copied, guest, n);
		copied += n;
	}
	return copied;
}

size_t virtq_copy_out(const struct virtq_chain *chain, uint64_t offset, const void *bytes,
	size_t len)
{
	size_t copied = 0, n;
	uint8_t *guest;
	while (copied < len &&
		(n = piece(chain->out, chain->out_len, &offset, len - copied, &guest)) > 0) {
		memcpy(guest, (const uint8_t *)bytes + copied, n);
		copied += n;
	}
	return copied;
}
