/* device_rig - a driver for a device under test: real rings in real guest memory, and doubles of
 * the transport and the machine that write down what the device asks of them. */
#pragma once

#include "base/json.h"
#include "base/loop.h"
#include "vm/device.h"
#include "vm/guest_mem.h"
#include "vm/machine.h"
#include "vm/virtio/virtio.h"

#define RIG_QUEUE_SIZE 64
#define RIG_BUFFER_BYTES 8192 /* of guest memory that each descriptor has */

struct rig_queue {
	uint64_t desc, avail, used, buffers; /* guest addresses */
	uint16_t next_desc, next_avail, seen_used, kicked;
};

struct machine {
	struct loop *loop;
	struct guest_mem *mem;
	bool is_stopped;
	enum machine_end end;
	int status;
};

struct virtio {
	struct machine *machine;
	struct virtq queues[VIRTIO_QUEUES_MAX];
	unsigned interrupts[VIRTIO_QUEUES_MAX];
	int again[VIRTIO_QUEUES_MAX]; /* owned eventfds: virtio_again() */
	const char *failed;           /* why; NULL: it is well */
};

struct rig {
	struct machine machine;
	struct virtio virtio;
	struct rig_queue queues[VIRTIO_QUEUES_MAX];
	const struct virtio_ops *ops;
	void *device;
};

/* A device made of a configuration (JSON text), and its driver with these features. */
void rig_open(struct rig *rig, const struct virtio_ops *ops,
	int (*create)(json *config, struct machine *machine, void **ret_device, struct err *err),
	const char *config, uint64_t features);
void rig_close(struct rig *rig);
/* Resets the device and starts it again. */
void rig_restart(struct rig *rig, uint64_t features);

/* Guest memory of a descriptor. */
void *rig_buffer(struct rig *rig, unsigned queue, uint16_t desc);
/* Puts a request into the queue: bytes for the device in pieces of the given size, then room for
 * out_len bytes of its answer, in descriptors of at most RIG_BUFFER_BYTES; returns its head. */
uint16_t rig_add(struct rig *rig, unsigned queue, const void *in, size_t in_len, size_t piece,
	size_t out_len);
/* Notifies the device of what was added, if it wants to be. */
void rig_kick(struct rig *rig, unsigned queue);
/* The next request that the device has handed back; false when there is none. */
bool rig_take(struct rig *rig, unsigned queue, uint16_t *ret_head, uint32_t *ret_written);
/* Copies what was written into a request's answer. */
void rig_answer(struct rig *rig, unsigned queue, uint16_t head, void *bytes, size_t len);
/* A descriptor as the driver leaves it: for drivers that break the rules. */
void rig_set_desc(struct rig *rig, unsigned queue, uint16_t at, uint64_t address, uint32_t len,
	uint16_t flags, uint16_t next);
void rig_offer(struct rig *rig, unsigned queue, uint16_t head);

/* Runs the loop until everything that is ready was looked at. */
void rig_settle(struct rig *rig);
/* Runs the loop for that long at most, or until the machine is stopped. */
void rig_run(struct rig *rig, uint64_t ms);
