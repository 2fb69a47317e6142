/* virtio_pci - virtio's transport over PCI, of version 1 only (virtio 1.2, 4.1).
 *
 * One function for each device.  BAR 0 has four pages: common configuration, interrupt status,
 * device configuration, notifications (one address for each queue); BAR 1 has the messages.  There
 * is no interrupt line: a driver without MSI-X must poll the interrupt status.
 *
 * Two threads.  What the driver writes is kept by vCPU threads, under the machine's lock; the rings
 * belong to the device thread.  They hand each other the device by one atomic, the phase:
 *
 *               DRIVER_OK               activated
 *        IDLE ------------> STARTING ----------------> RUNNING
 *          ^                    |                         |
 *          |  quiesced          |  status 0               |  status 0
 *          +--------------- STOPPING <--------------------+
 *
 * vCPU threads move IDLE to STARTING and anything else to STOPPING, and write one eventfd; the
 * device thread makes the other two moves.  Queue configuration changes only in IDLE, so that the
 * device thread reads it without a lock in STARTING.  The status register keeps its old value until
 * the phase is IDLE again: a driver that has read 0 knows that no ring and no buffer is in use.
 *
 * Notifications are ioeventfds at the queues' addresses, registered again when the BAR moves; a
 * write that comes by an exit is put into the same eventfd. */
#include <assert.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "base/log.h"
#include "base/mem.h"
#include "cpu/cpu.h"
#include "vm/machine.h"
#include "vm/pci/pci.h"
#include "vm/virtio/virtio.h"

enum {
	VENDOR = 0x1af4,
	DEVICE_BASE = 0x1040, /* and the type (4.1.2) */
	REVISION = 1,
	BAR_REGISTERS = 0,
	BAR_MESSAGES = 1,
	PAGE = 0x1000,
	PART_COMMON = 0, /* pages of BAR 0 */
	PART_ISR = 1,
	PART_DEVICE = 2,
	PART_NOTIFY = 3,
	REGISTERS_BYTES = 4 * PAGE,
	NOTIFY_BYTES = 4, /* from one queue's notification address to the next */
	ISR_QUEUE = 1
};

enum phase { PHASE_IDLE, PHASE_STARTING, PHASE_RUNNING, PHASE_STOPPING };

struct queue {
	struct virtio *virtio; /* borrowed */
	unsigned index;
	int notify_fd;            /* owned eventfd */
	struct loop_watch *watch; /* owned */
	uint64_t registered;      /* address of its ioeventfd; 0: none */
	/* What the driver has set: changed by vCPU threads in IDLE, read by the device thread in
	 * STARTING. */
	uint64_t desc, avail, used;
	uint16_t size;
	bool is_enabled;
	atomic_uint_least16_t vector; /* may change at any time */
	struct virtq ring;            /* the device thread's */
};

struct virtio {
	struct machine *machine; /* borrowed, as are these parts of it */
	struct pci_function *function;
	const struct virtio_ops *ops;
	void *device;               /* owned */
	int control_fd;             /* owned eventfd: look at the phase */
	struct loop_watch *control; /* owned */
	uint64_t offered;           /* features */
	/* Under the machine's lock; features are read by the device thread in STARTING. */
	uint64_t features;
	uint32_t device_feature_select, driver_feature_select;
	uint16_t queue_select;
	uint8_t status;
	/* Atomics between the vCPU threads and the device thread. */
	_Atomic enum phase phase;
	atomic_bool needs_reset;
	atomic_uint_least8_t isr, generation;
	atomic_uint_least16_t config_vector;
	/* The device thread's. */
	bool is_active, is_failed;
	struct queue queues[VIRTIO_QUEUES_MAX];
};

/* ---- the device thread ---- */

struct virtq *virtio_queue(struct virtio *virtio, unsigned queue)
{
	CHECK(queue < virtio->ops->queues);
	return &virtio->queues[queue].ring;
}

const struct guest_mem *virtio_mem(const struct virtio *virtio)
{
	return machine_mem(virtio->machine);
}

struct loop *virtio_loop(const struct virtio *virtio)
{
	return machine_loop(virtio->machine);
}

static void kick(int eventfd)
{
	/* It fails only when 2^64 kicks wait. */
	(void)eventfd_write(eventfd, 1);
}

static void drain(int eventfd)
{
	eventfd_t count;
	(void)eventfd_read(eventfd, &count);
}

void virtio_interrupt(struct virtio *virtio, unsigned queue)
{
	struct queue *q = &virtio->queues[queue];
	if (!virtq_wants_interrupt(&q->ring))
		return;
	(void)atomic_fetch_or(&virtio->isr, ISR_QUEUE);
	/* No vector at all is one beyond those that are there. */
	pci_msix_send(virtio->function, atomic_load(&q->vector));
}

void virtio_again(struct virtio *virtio, unsigned queue)
{
	kick(virtio->queues[queue].notify_fd);
}

void virtio_config_changed(struct virtio *virtio)
{
	(void)atomic_fetch_add(&virtio->generation, 1);
	(void)atomic_fetch_or(&virtio->isr, VIRTIO_PCI_ISR_CONFIG);
	pci_msix_send(virtio->function, atomic_load(&virtio->config_vector));
}

void virtio_fail(struct virtio *virtio, const char *why)
{
	if (virtio->is_failed)
		return;
	log_debug("the guest's %s device needs a reset: %s", virtio->ops->name, why);
	virtio->is_failed = true;
	for (unsigned i = 0; i < virtio->ops->queues; i++)
		virtio->queues[i].ring.is_ready = false;
	atomic_store(&virtio->needs_reset, true);
	virtio_config_changed(virtio); /* 2.1.2 */
}

static void notify(struct virtio *virtio, unsigned queue)
{
	if (virtio->is_active && !virtio->is_failed && virtio->queues[queue].ring.is_ready)
		virtio->ops->notify(virtio->device, queue);
}

static void on_notify(void *context, int fd, uint32_t events)
{
	const struct queue *queue = context;
	(void)events;
	drain(fd);
	notify(queue->virtio, queue->index);
}

static void activate(struct virtio *virtio)
{
	bool has_event_idx = (virtio->features & VIRTIO_FEATURE_EVENT_IDX) != 0;
	bool is_sound = true;
	for (unsigned i = 0; i < virtio->ops->queues; i++) {
		struct queue *q = &virtio->queues[i];
		q->ring = (struct virtq){ .desc = q->desc,
			.avail = q->avail,
			.used = q->used,
			.size = q->size };
		if (q->is_enabled)
			is_sound =
				virtq_activate(&q->ring, virtio_mem(virtio), has_event_idx) == 0 &&
				is_sound;
	}
	virtio->is_active = true;
	virtio->is_failed = false;
	if (virtio->ops->activate != NULL)
		virtio->ops->activate(virtio->device, virtio, virtio->features);
	if (!is_sound)
		virtio_fail(virtio, "a queue is not in its memory");
	for (unsigned i = 0; i < virtio->ops->queues; i++)
		notify(virtio, i);
}

static void quiesce(struct virtio *virtio)
{
	for (unsigned i = 0; i < virtio->ops->queues; i++)
		virtio->queues[i].ring.is_ready = false;
	if (virtio->is_active && virtio->ops->reset != NULL)
		virtio->ops->reset(virtio->device);
	virtio->is_active = virtio->is_failed = false;
	atomic_store(&virtio->needs_reset, false);
}

static void on_control(void *context, int fd, uint32_t events)
{
	struct virtio *virtio = context;
	(void)events;
	drain(fd);
	if (atomic_load(&virtio->phase) == PHASE_STARTING) {
		activate(virtio);
		enum phase phase = PHASE_STARTING;
		(void)atomic_compare_exchange_strong(&virtio->phase, &phase, PHASE_RUNNING);
	}
	if (atomic_load(&virtio->phase) == PHASE_STOPPING) {
		quiesce(virtio);
		atomic_store(&virtio->phase, PHASE_IDLE);
	}
}

/* ---- vCPU threads: the common configuration (4.1.4.3) ---- */

static void clear_queue(struct virtio *virtio, struct queue *queue)
{
	queue->desc = queue->avail = queue->used = 0;
	queue->size = virtio->ops->queue_size;
	queue->is_enabled = false;
	atomic_store(&queue->vector, VIRTIO_MSI_NO_VECTOR);
}

static void clear(struct virtio *virtio)
{
	virtio->features = 0;
	virtio->device_feature_select = virtio->driver_feature_select = 0;
	virtio->queue_select = 0;
	virtio->status = 0;
	atomic_store(&virtio->isr, 0);
	atomic_store(&virtio->config_vector, VIRTIO_MSI_NO_VECTOR);
	for (unsigned i = 0; i < virtio->ops->queues; i++)
		clear_queue(virtio, &virtio->queues[i]);
}

static bool is_idle(const struct virtio *virtio)
{
	return atomic_load(&virtio->phase) == PHASE_IDLE;
}

/* A reset that was asked for and has been done shows now. */
static void finish_reset(struct virtio *virtio)
{
	if (is_idle(virtio) && (virtio->status & VIRTIO_CONFIG_S_DRIVER_OK) != 0)
		clear(virtio);
}

/* The queue that the driver has selected; NULL when there is none of that number. */
static struct queue *selected(struct virtio *virtio)
{
	return virtio->queue_select < virtio->ops->queues ? &virtio->queues[virtio->queue_select]
							  : NULL;
}

static uint32_t feature_word(uint64_t features, uint32_t select)
{
	return select < 2 ? (uint32_t)(features >> (32 * select)) : 0;
}

static void set_feature_word(struct virtio *virtio, uint32_t value)
{
	uint32_t select = virtio->driver_feature_select;
	if (select >= 2 || (virtio->status & VIRTIO_CONFIG_S_FEATURES_OK) != 0)
		return;
	uint64_t mask = UINT64_C(0xffffffff) << (32 * select);
	virtio->features = (virtio->features & ~mask) | (uint64_t)value << (32 * select);
}

/* What a status bit of the driver's needs before it is taken (3.1.1); any bit may be written again.
 */
static const struct {
	uint8_t bit, needs;
} status_moves[] = {
	{ VIRTIO_CONFIG_S_ACKNOWLEDGE, 0 },
	{ VIRTIO_CONFIG_S_DRIVER, VIRTIO_CONFIG_S_ACKNOWLEDGE },
	{ VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_DRIVER },
	{ VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_FEATURES_OK },
	{ VIRTIO_CONFIG_S_FAILED, 0 },
};

static bool are_features_fine(const struct virtio *virtio)
{
	return (virtio->features & ~virtio->offered) == 0 &&
	       (virtio->features & VIRTIO_FEATURE_VERSION_1) != 0;
}

static void reset(struct virtio *virtio)
{
	if (is_idle(virtio)) {
		clear(virtio);
		return;
	}
	atomic_store(&virtio->phase, PHASE_STOPPING);
	kick(virtio->control_fd);
}

static void set_status(struct virtio *virtio, uint8_t value)
{
	uint8_t before = virtio->status;
	if (value == 0) {
		reset(virtio);
		return;
	}
	/* Bits are only ever added (2.1.1). */
	for (size_t i = 0; i < ARRAY_LEN(status_moves); i++) {
		uint8_t bit = status_moves[i].bit, needs = status_moves[i].needs;
		if ((value & bit) == 0 || (virtio->status & needs) != needs)
			continue;
		if (bit == VIRTIO_CONFIG_S_FEATURES_OK && !are_features_fine(virtio))
			continue;
		virtio->status |= bit;
	}
	if ((~before & virtio->status & VIRTIO_CONFIG_S_DRIVER_OK) != 0) {
		atomic_store(&virtio->phase, PHASE_STARTING);
		kick(virtio->control_fd);
	}
}

static uint8_t status(const struct virtio *virtio)
{
	return virtio->status |
	       (atomic_load(&virtio->needs_reset) ? VIRTIO_CONFIG_S_NEEDS_RESET : 0);
}

static uint16_t checked_vector(const struct virtio *virtio, uint32_t value)
{
	return value <= virtio->ops->queues ? (uint16_t)value : VIRTIO_MSI_NO_VECTOR;
}

/* Half of one of the selected queue's addresses. */
static uint64_t *address_of(struct queue *queue, uint32_t offset, unsigned *ret_shift)
{
	*ret_shift = offset % 8 == 0 ? 0 : 32;
	switch (offset & ~UINT32_C(7)) {
	case VIRTIO_PCI_COMMON_Q_DESCLO: return &queue->desc;
	case VIRTIO_PCI_COMMON_Q_AVAILLO: return &queue->avail;
	case VIRTIO_PCI_COMMON_Q_USEDLO: return &queue->used;
	default: return NULL;
	}
}
static_assert(VIRTIO_PCI_COMMON_Q_DESCLO % 8 == 0 && VIRTIO_PCI_COMMON_Q_USEDHI % 8 == 4,
	"the addresses are aligned");

static uint32_t queue_read(struct virtio *virtio, uint32_t offset)
{
	struct queue *queue = selected(virtio);
	if (queue == NULL)
		return offset == VIRTIO_PCI_COMMON_Q_MSIX ? VIRTIO_MSI_NO_VECTOR : 0;
	switch (offset) {
	case VIRTIO_PCI_COMMON_Q_SIZE: return queue->size;
	case VIRTIO_PCI_COMMON_Q_MSIX: return atomic_load(&queue->vector);
	case VIRTIO_PCI_COMMON_Q_ENABLE: return queue->is_enabled;
	case VIRTIO_PCI_COMMON_Q_NOFF: return queue->index;
	default: break;
	}
	unsigned shift;
	const uint64_t *address = address_of(queue, offset, &shift);
	return address != NULL ? (uint32_t)(*address >> shift) : 0;
}

static void queue_write(struct virtio *virtio, uint32_t offset, uint32_t value)
{
	struct queue *queue = selected(virtio);
	if (queue == NULL)
		return;
	if (offset == VIRTIO_PCI_COMMON_Q_MSIX) {
		atomic_store(&queue->vector, checked_vector(virtio, value));
		return;
	}
	/* From here on it is frozen: the device thread may be reading it. */
	if (!is_idle(virtio) || queue->is_enabled)
		return;
	if (offset == VIRTIO_PCI_COMMON_Q_SIZE) {
		if (value != 0 && value <= virtio->ops->queue_size && (value & (value - 1)) == 0)
			queue->size = (uint16_t)value;
		return;
	}
	if (offset == VIRTIO_PCI_COMMON_Q_ENABLE) {
		queue->is_enabled = value == 1;
		return;
	}
	unsigned shift;
	uint64_t *address = address_of(queue, offset, &shift);
	if (address != NULL)
		*address = (*address & ~(UINT64_C(0xffffffff) << shift)) | (uint64_t)value << shift;
}

static uint32_t common_read(struct virtio *virtio, uint32_t offset)
{
	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT: return virtio->device_feature_select;
	case VIRTIO_PCI_COMMON_DF:
		return feature_word(virtio->offered, virtio->device_feature_select);
	case VIRTIO_PCI_COMMON_GFSELECT: return virtio->driver_feature_select;
	case VIRTIO_PCI_COMMON_GF:
		return feature_word(virtio->features, virtio->driver_feature_select);
	case VIRTIO_PCI_COMMON_MSIX: return atomic_load(&virtio->config_vector);
	case VIRTIO_PCI_COMMON_NUMQ: return virtio->ops->queues;
	case VIRTIO_PCI_COMMON_STATUS: return status(virtio);
	case VIRTIO_PCI_COMMON_CFGGENERATION: return atomic_load(&virtio->generation);
	case VIRTIO_PCI_COMMON_Q_SELECT: return virtio->queue_select;
	default: return queue_read(virtio, offset);
	}
}

static void common_write(struct virtio *virtio, uint32_t offset, uint32_t value)
{
	/* Nothing is taken while a reset goes on. */
	if (atomic_load(&virtio->phase) == PHASE_STOPPING)
		return;
	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT: virtio->device_feature_select = value; break;
	case VIRTIO_PCI_COMMON_GFSELECT: virtio->driver_feature_select = value; break;
	case VIRTIO_PCI_COMMON_GF: set_feature_word(virtio, value); break;
	case VIRTIO_PCI_COMMON_MSIX:
		atomic_store(&virtio->config_vector, checked_vector(virtio, value));
		break;
	case VIRTIO_PCI_COMMON_STATUS: set_status(virtio, (uint8_t)value); break;
	case VIRTIO_PCI_COMMON_Q_SELECT: virtio->queue_select = (uint16_t)value; break;
	default: queue_write(virtio, offset, value); break;
	}
}

/* The natural width of a field (4.1.3.1); 0 where none begins. */
static uint32_t width_at(uint32_t offset)
{
	if (offset == VIRTIO_PCI_COMMON_STATUS || offset == VIRTIO_PCI_COMMON_CFGGENERATION)
		return 1;
	bool is_short =
		offset == VIRTIO_PCI_COMMON_MSIX || offset == VIRTIO_PCI_COMMON_NUMQ ||
		(offset >= VIRTIO_PCI_COMMON_Q_SELECT && offset <= VIRTIO_PCI_COMMON_Q_NOFF);
	if (is_short)
		return offset % 2 == 0 ? 2 : 0;
	return offset % 4 == 0 && offset <= VIRTIO_PCI_COMMON_Q_USEDHI ? 4 : 0;
}

static void common_access(struct virtio *virtio, uint32_t offset, uint8_t *bytes, uint32_t len,
	bool is_write)
{
	/* An address may be written at once: it is two fields. */
	if (len == 8) {
		common_access(virtio, offset, bytes, 4, is_write);
		common_access(virtio, offset + 4, bytes + 4, 4, is_write);
		return;
	}
	if (len != width_at(offset))
		return;
	finish_reset(virtio);
	uint32_t value = 0;
	if (is_write) {
		memcpy(&value, bytes, len);
		common_write(virtio, offset, value);
	} else {
		value = common_read(virtio, offset);
		memcpy(bytes, &value, len);
	}
}

/* ---- vCPU threads: BAR 0 ---- */

static void registers_read(void *context, uint64_t offset, void *bytes, uint32_t len)
{
	struct virtio *virtio = context;
	uint32_t within = offset % PAGE;
	memset(bytes, 0, len);
	switch (offset / PAGE) {
	case PART_COMMON: common_access(virtio, within, bytes, len, false); break;
	case PART_ISR:
		if (within == 0)
			*(uint8_t *)bytes = atomic_exchange(&virtio->isr, 0);
		break;
	case PART_DEVICE:
		if (virtio->ops->config_read != NULL)
			virtio->ops->config_read(virtio->device, within, bytes, len);
		break;
	default: break;
	}
}

static void registers_write(void *context, uint64_t offset, const void *bytes, uint32_t len)
{
	struct virtio *virtio = context;
	uint32_t within = offset % PAGE;
	uint8_t copy[8];
	switch (offset / PAGE) {
	case PART_COMMON:
		if (len > sizeof(copy))
			break;
		memcpy(copy, bytes, len);
		common_access(virtio, within, copy, len, true);
		break;
	case PART_DEVICE:
		if (virtio->ops->config_write != NULL)
			virtio->ops->config_write(virtio->device, within, bytes, len);
		break;
	case PART_NOTIFY:
		if (within / NOTIFY_BYTES < virtio->ops->queues)
			kick(virtio->queues[within / NOTIFY_BYTES].notify_fd);
		break;
	default: break;
	}
}

/* An accelerator that refuses (two BARs at one place, say) costs speed: the write comes by an exit.
 */
static void set_ioeventfd(struct virtio *virtio, struct queue *queue, uint64_t address)
{
	struct cpu_machine *cpu = machine_cpu(virtio->machine);
	struct err err = { 0 };
	int r = 0;
	if (queue->registered != 0)
		r = cpu_machine_ioeventfd(cpu, queue->notify_fd, queue->registered, 0, false, false,
			&err);
	if (r < 0)
		log_debug("a notification address stays: %s", err.message);
	queue->registered = 0;
	if (address == 0)
		return;
	if (cpu_machine_ioeventfd(cpu, queue->notify_fd, address, 0, false, true, &err) == 0)
		queue->registered = address;
	else
		log_debug("notifications take the slow way: %s", err.message);
}

static void registers_moved(void *context, uint64_t address)
{
	struct virtio *virtio = context;
	uint64_t first = address == 0 ? 0 : address + (uint64_t)PART_NOTIFY * PAGE;
	for (unsigned i = 0; i < virtio->ops->queues; i++)
		set_ioeventfd(virtio, &virtio->queues[i],
			first == 0 ? 0 : first + (uint64_t)i * NOTIFY_BYTES);
}

static const struct pci_bar_ops registers_ops = {
	.read = registers_read,
	.write = registers_write,
	.moved = registers_moved,
};

/* ---- making one ---- */

static int add_capability(struct pci_function *function, uint8_t type, uint32_t part, uint32_t len,
	struct err *err)
{
	struct virtio_pci_notify_cap capability = {
		.cap = { .cap_vndr = PCI_CAP_ID_VNDR,
			.cap_len = sizeof(capability.cap),
			.cfg_type = type,
			.bar = BAR_REGISTERS,
			.offset = part * PAGE,
			.length = len },
		.notify_off_multiplier = 0,
	};
	/* These two have four more bytes: the distance of addresses, and the window's data. */
	if (type == VIRTIO_PCI_CAP_NOTIFY_CFG)
		capability.notify_off_multiplier = NOTIFY_BYTES;
	if (type == VIRTIO_PCI_CAP_NOTIFY_CFG || type == VIRTIO_PCI_CAP_PCI_CFG)
		capability.cap.cap_len = sizeof(capability);
	return pci_function_add_capability(function, &capability, capability.cap.cap_len, err);
}

static int add_capabilities(struct pci_function *function, struct err *err)
{
	static const struct {
		uint8_t type, part;
		uint32_t len;
	} parts[] = {
		{ VIRTIO_PCI_CAP_COMMON_CFG, PART_COMMON, sizeof(struct virtio_pci_common_cfg) },
		{ VIRTIO_PCI_CAP_NOTIFY_CFG, PART_NOTIFY, PAGE },
		{ VIRTIO_PCI_CAP_ISR_CFG, PART_ISR, PAGE },
		{ VIRTIO_PCI_CAP_DEVICE_CFG, PART_DEVICE, PAGE },
		{ VIRTIO_PCI_CAP_PCI_CFG, 0, 0 },
	};
	int r = 0;
	for (size_t i = 0; i < ARRAY_LEN(parts) && r >= 0; i++)
		r = add_capability(function, parts[i].type, parts[i].part, parts[i].len, err);
	if (r < 0)
		return r;
	pci_function_set_window(function, (uint8_t)r);
	return 0;
}

static int add_function(struct virtio *virtio, struct err *err)
{
	const struct virtio_ops *ops = virtio->ops;
	struct pci_identity identity = {
		.vendor = VENDOR,
		.device = DEVICE_BASE + ops->type,
		.subsystem_vendor = VENDOR,
		.subsystem = DEVICE_BASE + ops->type,
		.class_revision = ops->pci_class | REVISION,
	};
	int r = pci_function_new(machine_bus(virtio->machine), &identity, &virtio->function, err);
	if (r == 0)
		r = pci_function_add_bar(virtio->function, BAR_REGISTERS, REGISTERS_BYTES,
			&registers_ops, virtio, err);
	if (r == 0)
		r = add_capabilities(virtio->function, err);
	/* One vector for each queue, one for the configuration. */
	if (r == 0)
		r = pci_function_add_msix(virtio->function, BAR_MESSAGES, ops->queues + 1, err);
	return r;
}

static int watch(struct virtio *virtio, int *ret_fd, loop_fd_fn *fn, void *context,
	struct loop_watch **ret_watch, struct err *err)
{
	*ret_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (*ret_fd < 0)
		return err_sys(err, errno, "make an event descriptor for a %s device",
			virtio->ops->name);
	return loop_watch_fd(machine_loop(virtio->machine), *ret_fd, EPOLLIN, fn, context,
		ret_watch, err);
}

static void transport_free(void *context)
{
	struct virtio *virtio = context;
	loop_remove(virtio->control);
	if (virtio->control_fd >= 0)
		(void)close(virtio->control_fd);
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++) {
		loop_remove(virtio->queues[i].watch);
		if (virtio->queues[i].notify_fd >= 0)
			(void)close(virtio->queues[i].notify_fd);
	}
	if (virtio->ops->free != NULL)
		virtio->ops->free(virtio->device);
	free(virtio);
}

static struct virtio *transport_new(struct machine *machine, const struct virtio_ops *ops,
	void *take_device)
{
	struct virtio *virtio = NEW(virtio);
	virtio->machine = machine;
	virtio->ops = ops;
	virtio->device = take_device;
	virtio->control_fd = -1;
	virtio->offered =
		VIRTIO_FEATURE_INDIRECT_DESC | VIRTIO_FEATURE_EVENT_IDX | VIRTIO_FEATURE_VERSION_1;
	if (ops->features != NULL)
		virtio->offered |= ops->features(take_device);
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++) {
		virtio->queues[i].virtio = virtio;
		virtio->queues[i].index = i;
		virtio->queues[i].notify_fd = -1;
	}
	clear(virtio);
	return virtio;
}

int virtio_new(struct machine *machine, const struct virtio_ops *ops, void *take_device,
	struct err *err)
{
	CHECK(ops->queues <= VIRTIO_QUEUES_MAX && ops->queue_size <= VIRTQ_SIZE_MAX);
	struct virtio *virtio = transport_new(machine, ops, take_device);
	int r = watch(virtio, &virtio->control_fd, on_control, virtio, &virtio->control, err);
	for (unsigned i = 0; i < ops->queues && r == 0; i++) {
		struct queue *q = &virtio->queues[i];
		r = watch(virtio, &q->notify_fd, on_notify, q, &q->watch, err);
	}
	if (r == 0)
		r = add_function(virtio, err);
	if (r < 0)
		transport_free(virtio);
	else
		pci_function_own(virtio->function, virtio, transport_free);
	return r;
}
