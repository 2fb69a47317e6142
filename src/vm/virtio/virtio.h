/* virtio - what a virtio device is to its transport, and the transport to a device.
 *
 * The transport (virtio_pci.c) owns status, feature negotiation, queues and interrupts; a device is
 * a table of verbs and knows nothing of PCI.  All verbs but config_read and config_write run in the
 * device thread; those two run in vCPU threads, one at a time, under the machine's lock. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/json.h"
#include "base/loop.h"
#include "vm/virtio/virtq.h"

#define VIRTIO_QUEUES_MAX 4

/* Feature bits of the transport's own (virtio 1.2, 6), as masks; Linux's headers have the numbers.
 */
#define VIRTIO_FEATURE_INDIRECT_DESC (UINT64_C(1) << 28)
#define VIRTIO_FEATURE_EVENT_IDX (UINT64_C(1) << 29)
#define VIRTIO_FEATURE_VERSION_1 (UINT64_C(1) << 32)

struct virtio; /* the transport of one device */

struct virtio_ops {
	const char *name;
	uint16_t type;      /* virtio 1.2, 5 */
	uint32_t pci_class; /* class, subclass, interface, revision 0 in the lowest byte */
	unsigned queues;
	uint16_t queue_size;
	uint64_t (*features)(void *device); /* device-specific bits offered */
	void (*config_read)(void *device, uint32_t offset, void *bytes, uint32_t len);
	void (*config_write)(void *device, uint32_t offset, const void *bytes, uint32_t len);
	/* The driver is ready: features are what it accepted.  Queues are usable from here on. */
	void (*activate)(void *device, struct virtio *virtio, uint64_t features);
	/* The driver has put something into the queue (also called once for each at activation). */
	void (*notify)(void *device, unsigned queue);
	/* Forget everything of the driver: its queues are gone. */
	void (*reset)(void *device);
	void (*free)(void *device);
};

/* ---- for the machine ---- */

struct machine;

/* Puts a device on the machine's bus, in the device thread before the guest runs; the bus frees it.
 * take_device is the transport's from here on (ops->free), also on failure. */
MUST_CHECK int virtio_new(struct machine *machine, const struct virtio_ops *ops, void *take_device,
	struct err *err);

/* ---- for devices ---- */

struct virtq *virtio_queue(struct virtio *virtio, unsigned queue);
const struct guest_mem *virtio_mem(const struct virtio *virtio);
struct loop *virtio_loop(const struct virtio *virtio);
/* Interrupts the driver if it wants it: call once after a batch of virtq_done(). */
void virtio_interrupt(struct virtio *virtio, unsigned queue);
/* Handles requests of the queue one by one until it is empty or budget of them are done (then
 * again): what virtq.h asks of a device, for devices that answer at once.  handle fills in how many
 * bytes it has written into the request's buffers; a negative return is a rule broken by the
 * driver, and the device fails. */
typedef int virtio_handle_fn(void *device, unsigned queue, struct virtq_chain *chain,
	uint32_t *ret_written);
void virtio_serve(struct virtio *virtio, unsigned queue, unsigned budget, virtio_handle_fn *handle,
	void *device);
/* Calls notify once more after the other devices had their turn: for a device that has handled its
 * share of a queue that does not end. */
void virtio_again(struct virtio *virtio, unsigned queue);
/* The device's configuration has changed. */
void virtio_config_changed(struct virtio *virtio);
/* The driver broke a rule: DEVICE_NEEDS_RESET, and no queue is looked at until it is reset. */
void virtio_fail(struct virtio *virtio, const char *why);
