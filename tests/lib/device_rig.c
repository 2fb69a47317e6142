/* device_rig - see device_rig.h.  The memory of a queue: rings, then RIG_BUFFER_BYTES for each
 * descriptor.  Descriptors are used in turn and never reclaimed: a test that has more requests in
 * flight than RIG_QUEUE_SIZE descriptors is wrong. */
#include "device_rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"

enum { RING_BYTES = 8192, DESC_NEXT = 1, DESC_WRITE = 2 };
#define QUEUE_BYTES (RING_BYTES + (uint64_t)RIG_QUEUE_SIZE * RIG_BUFFER_BYTES)

struct desc {
	uint64_t address;
	uint32_t len;
	uint16_t flags, next;
};

/* ---- doubles ---- */

struct loop *machine_loop(const struct machine *machine)
{
	return machine->loop;
}

struct guest_mem *machine_mem(const struct machine *machine)
{
	return machine->mem;
}

void machine_on_failure(struct machine *machine, machine_failed_fn *failed, void *context)
{
	(void)machine;
	(void)failed;
	(void)context;
}

void machine_stop(struct machine *machine, enum machine_end end, int status)
{
	if (machine->is_stopped)
		return;
	machine->is_stopped = true;
	machine->end = end;
	machine->status = status;
	loop_stop(machine->loop, 0);
}

struct virtq *virtio_queue(struct virtio *virtio, unsigned queue)
{
	return &virtio->queues[queue];
}

const struct guest_mem *virtio_mem(const struct virtio *virtio)
{
	return virtio->machine->mem;
}

struct loop *virtio_loop(const struct virtio *virtio)
{
	return virtio->machine->loop;
}

void virtio_interrupt(struct virtio *virtio, unsigned queue)
{
	virtio->interrupts[queue] += virtq_wants_interrupt(&virtio->queues[queue]);
}

void virtio_again(struct virtio *virtio, unsigned queue)
{
	CHECK(eventfd_write(virtio->again[queue], 1) == 0);
}

void virtio_config_changed(struct virtio *virtio)
{
	(void)virtio;
}

void virtio_fail(struct virtio *virtio, const char *why)
{
	virtio->failed = why;
}

/* ---- the driver ---- */

static void start(struct rig *rig, uint64_t features)
{
	rig->virtio.failed = NULL;
	for (unsigned i = 0; i < rig->ops->queues; i++) {
		struct rig_queue *q = &rig->queues[i];
		uint64_t base = 0x10000 + i * QUEUE_BYTES;
		*q = (struct rig_queue){ .desc = base,
			.avail = base + 2048,
			.used = base + 4096,
			.buffers = base + RING_BYTES };
		memset(guest_mem_at(rig->machine.mem, base, RING_BYTES), 0, RING_BYTES);
		rig->virtio.queues[i] = (struct virtq){ .desc = q->desc,
			.avail = q->avail,
			.used = q->used,
			.size = RIG_QUEUE_SIZE };
		CHECK(virtq_activate(&rig->virtio.queues[i], rig->machine.mem,
			      (features & VIRTIO_FEATURE_EVENT_IDX) != 0) == 0);
	}
	rig->ops->activate(rig->device, &rig->virtio, features & rig->ops->features(rig->device));
	for (unsigned i = 0; i < rig->ops->queues; i++)
		rig->ops->notify(rig->device, i);
}

static void on_again(void *context, int fd, uint32_t events)
{
	struct rig *rig = context;
	eventfd_t count;
	(void)events;
	CHECK(eventfd_read(fd, &count) == 0);
	for (unsigned i = 0; i < rig->ops->queues; i++)
		if (rig->virtio.again[i] == fd && rig->virtio.failed == NULL)
			rig->ops->notify(rig->device, i);
}

void rig_open(struct rig *rig, const struct virtio_ops *ops,
	int (*create)(json *config, struct machine *machine, void **ret_device, struct err *err),
	const char *config, uint64_t features)
{
	struct err err = { 0 };
	*rig = (struct rig){ .ops = ops };
	rig->virtio.machine = &rig->machine;
	CHECK(loop_new(&rig->machine.loop, &err) == 0);
	CHECK(guest_mem_new(4 << 20, false, &rig->machine.mem, &err) == 0);
	for (unsigned i = 0; i < ops->queues; i++) {
		struct loop_watch *watch = NULL; /* the loop's */
		rig->virtio.again[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		CHECK(loop_watch_fd(rig->machine.loop, rig->virtio.again[i], EPOLLIN, on_again, rig,
			      &watch, &err) == 0);
	}
	/* As the role does: a reader that is gone is an error of the write. */
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	CHECK(sigaction(SIGPIPE, &ignore, NULL) == 0);
	AUTO_JSON object = NULL;
	CHECK(json_parse(view_of(config), "device", &object, &err) == 0);
	if (create(object, &rig->machine, &rig->device, &err) < 0) {
		(void)fprintf(stderr, "%s\n", err.message);
		abort();
	}
	start(rig, features);
}

void rig_restart(struct rig *rig, uint64_t features)
{
	rig->ops->reset(rig->device);
	start(rig, features);
}

void rig_close(struct rig *rig)
{
	rig->ops->reset(rig->device);
	rig->ops->free(rig->device);
	loop_free(rig->machine.loop);
	for (unsigned i = 0; i < rig->ops->queues; i++)
		(void)close(rig->virtio.again[i]);
	guest_mem_free(rig->machine.mem);
}

void *rig_buffer(struct rig *rig, unsigned queue, uint16_t desc)
{
	uint64_t at = rig->queues[queue].buffers + (uint64_t)desc * RIG_BUFFER_BYTES;
	void *buffer = guest_mem_at(rig->machine.mem, at, RIG_BUFFER_BYTES);
	CHECK(buffer != NULL);
	return buffer;
}

void rig_set_desc(struct rig *rig, unsigned queue, uint16_t at, uint64_t address, uint32_t len,
	uint16_t flags, uint16_t next)
{
	const struct desc desc = { address, len, flags, next };
	uint64_t gpa = rig->queues[queue].desc + at * sizeof(desc);
	CHECK(guest_mem_write(rig->machine.mem, gpa, &desc, sizeof(desc)) == 0);
}

void rig_offer(struct rig *rig, unsigned queue, uint16_t head)
{
	struct rig_queue *q = &rig->queues[queue];
	uint64_t at = q->avail + 4 + q->next_avail % RIG_QUEUE_SIZE * sizeof(head);
	CHECK(guest_mem_write(rig->machine.mem, at, &head, sizeof(head)) == 0);
	q->next_avail++;
	uint16_t *index = guest_mem_at(rig->machine.mem, q->avail + 2, sizeof(*index));
	CHECK(index != NULL);
	__atomic_store_n(index, q->next_avail, __ATOMIC_RELEASE);
}

uint16_t rig_add(struct rig *rig, unsigned queue, const void *in, size_t in_len, size_t piece,
	size_t out_len)
{
	struct rig_queue *q = &rig->queues[queue];
	uint16_t head = q->next_desc % RIG_QUEUE_SIZE;
	const uint8_t *bytes = in;
	CHECK(piece <= RIG_BUFFER_BYTES && in_len + out_len > 0);
	while (in_len + out_len > 0) {
		uint16_t at = q->next_desc++ % RIG_QUEUE_SIZE, flags = 0;
		size_t len;
		if (in_len > 0) {
			len = in_len < piece ? in_len : piece;
			memcpy(rig_buffer(rig, queue, at), bytes, len);
			bytes += len;
			in_len -= len;
		} else {
			len = out_len < RIG_BUFFER_BYTES ? out_len : RIG_BUFFER_BYTES;
			memset(rig_buffer(rig, queue, at), 0xee, len);
			out_len -= len;
			flags = DESC_WRITE;
		}
		if (in_len + out_len > 0)
			flags |= DESC_NEXT;
		rig_set_desc(rig, queue, at, q->buffers + (uint64_t)at * RIG_BUFFER_BYTES,
			(uint32_t)len, flags, q->next_desc % RIG_QUEUE_SIZE);
	}
	rig_offer(rig, queue, head);
	return head;
}

/* As a driver does it: only when the device wants to know (2.7.7.2, 2.7.10). */
void rig_kick(struct rig *rig, unsigned queue)
{
	struct rig_queue *q = &rig->queues[queue];
	uint16_t flags, event, old = q->kicked;
	uint64_t event_at = q->used + 4 + RIG_QUEUE_SIZE * UINT64_C(8);
	CHECK(guest_mem_read(rig->machine.mem, q->used, &flags, sizeof(flags)) == 0);
	CHECK(guest_mem_read(rig->machine.mem, event_at, &event, sizeof(event)) == 0);
	q->kicked = q->next_avail;
	bool is_wanted = (flags & 1) == 0;
	if (rig->virtio.queues[queue].has_event_idx)
		is_wanted = (uint16_t)(q->next_avail - event - 1) < (uint16_t)(q->next_avail - old);
	if (is_wanted && rig->virtio.failed == NULL)
		rig->ops->notify(rig->device, queue);
}

bool rig_take(struct rig *rig, unsigned queue, uint16_t *ret_head, uint32_t *ret_written)
{
	struct rig_queue *q = &rig->queues[queue];
	const uint16_t *index = guest_mem_at(rig->machine.mem, q->used + 2, sizeof(*index));
	CHECK(index != NULL);
	if (__atomic_load_n(index, __ATOMIC_ACQUIRE) == q->seen_used)
		return false;
	uint32_t used[2];
	uint64_t at = q->used + 4 + q->seen_used++ % RIG_QUEUE_SIZE * sizeof(used);
	CHECK(guest_mem_read(rig->machine.mem, at, used, sizeof(used)) == 0);
	*ret_head = (uint16_t)used[0];
	*ret_written = used[1];
	return true;
}

void rig_answer(struct rig *rig, unsigned queue, uint16_t head, void *bytes, size_t len)
{
	uint8_t *to = bytes;
	struct desc desc = { .flags = DESC_NEXT, .next = head };
	while (len > 0 && (desc.flags & DESC_NEXT)) {
		uint64_t at = rig->queues[queue].desc + desc.next * sizeof(desc);
		CHECK(guest_mem_read(rig->machine.mem, at, &desc, sizeof(desc)) == 0);
		if (!(desc.flags & DESC_WRITE))
			continue;
		size_t part = len < desc.len ? len : desc.len;
		CHECK(guest_mem_read(rig->machine.mem, desc.address, to, part) == 0);
		to += part;
		len -= part;
	}
}

/* ---- the loop ---- */

static void on_time(void *context)
{
	struct rig *rig = context;
	loop_stop(rig->machine.loop, 0);
}

void rig_run(struct rig *rig, uint64_t ms)
{
	struct loop_watch *timer = NULL;
	CHECK(loop_watch_timer(rig->machine.loop, ms, on_time, rig, &timer, NULL) == 0);
	CHECK(loop_run(rig->machine.loop, NULL) == 0);
	loop_remove(timer);
}

void rig_settle(struct rig *rig)
{
	/* Twice: what the first round made ready is looked at in the second. */
	rig_run(rig, 0);
	rig_run(rig, 0);
}
