/* virtio_balloon - see virtio_balloon.h.  Pages that the guest puts into the balloon, and free
 * pages that it reports, go back to the host; when it uses one again, it gets a page of zeros.
 *
 * Queues are numbered as Linux numbers them, without gaps for those whose feature is not offered:
 * inflate, deflate, reports.  There are no statistics and no hints. */
#include "vm/virtio/virtio_balloon.h"

#include <errno.h>
#include <linux/virtio_balloon.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "vm/machine.h"
#include "vm/virtio/config_space.h"

enum { QUEUE_INFLATE, QUEUE_DEFLATE, QUEUE_REPORT, QUEUES };
enum {
	QUEUE_SIZE = 128,
	BUDGET = 16,
	PAGE_BYTES = 1 << VIRTIO_BALLOON_PFN_SHIFT,
	FRAMES_MAX = 1024, /* of one request; Linux has 256 */
	FRAMES_AT_ONCE = 128
};
#define REPORT_BYTES_MAX (UINT64_C(1) << 30) /* of one request; Linux has 32 times 2 or 4 MiB */

struct balloon {
	struct guest_mem *mem; /* borrowed */
	/* Atomic: the device thread's and the vCPU threads'. */
	atomic_uint_least32_t wanted, given;
	struct virtio *virtio; /* borrowed, NULL while inactive; the device thread's */
};

/* Neighbouring pages, discarded together. */
struct run {
	uint64_t start, bytes;
};

static int discard(const struct balloon *balloon, const struct run *run)
{
	int r = run->bytes == 0 ? 0 : guest_mem_discard(balloon->mem, run->start, run->bytes);
	/* What the host cannot do costs memory and is not the guest's fault. */
	return r == -EFAULT || r == -EINVAL ? -EPROTO : 0;
}

/* Adds a page to the run, above or below it; else discards the run and begins another. */
static int add_page(const struct balloon *balloon, struct run *run, uint64_t page)
{
	if (run->bytes > 0 && page == run->start + run->bytes) {
		run->bytes += PAGE_BYTES;
		return 0;
	}
	if (run->bytes > 0 && page + PAGE_BYTES == run->start) {
		run->start = page;
		run->bytes += PAGE_BYTES;
		return 0;
	}
	int r = discard(balloon, run);
	*run = (struct run){ .start = page, .bytes = PAGE_BYTES };
	return r;
}

static int inflate(const struct balloon *balloon, const struct virtq_chain *chain)
{
	uint32_t frames[FRAMES_AT_ONCE];
	struct run run = { 0 };
	if (chain->in_bytes % sizeof(frames[0]) != 0 ||
		chain->in_bytes > FRAMES_MAX * sizeof(frames[0]))
		return -EPROTO;
	for (uint64_t at = 0; at < chain->in_bytes;) {
		size_t n = virtq_copy_in(chain, at, frames, sizeof(frames));
		at += n;
		for (size_t i = 0; i < n / sizeof(frames[0]); i++) {
			uint64_t page = (uint64_t)frames[i] << VIRTIO_BALLOON_PFN_SHIFT;
			int r = add_page(balloon, &run, page);
			if (r < 0)
				return r;
		}
	}
	return discard(balloon, &run);
}

/* The guest address of host memory of [gpa, gpa + bytes) of RAM, or false. */
static bool find(const struct balloon *balloon, const uint8_t *host, uint64_t gpa, uint64_t bytes,
	uint64_t *ret_gpa)
{
	const uint8_t *base = bytes > 0 ? guest_mem_at(balloon->mem, gpa, bytes) : NULL;
	if (base == NULL || (uintptr_t)host < (uintptr_t)base ||
		(uintptr_t)host - (uintptr_t)base >= bytes)
		return false;
	*ret_gpa = gpa + ((uintptr_t)host - (uintptr_t)base);
	return true;
}

/* A report is buffers of the guest's that it does not use (5.5.6.7). */
static int take_report(const struct balloon *balloon, const struct virtq_chain *chain)
{
	if (chain->out_bytes > REPORT_BYTES_MAX)
		return -EPROTO;
	for (unsigned i = 0; i < chain->out_len; i++) {
		const uint8_t *host = chain->out[i].iov_base;
		struct run run = { .bytes = chain->out[i].iov_len };
		if (!find(balloon, host, 0, guest_mem_low(balloon->mem), &run.start) &&
			!find(balloon, host, GUEST_MEM_HIGH, guest_mem_high(balloon->mem),
				&run.start))
			return -EPROTO;
		int r = discard(balloon, &run);
		if (r < 0)
			return r;
	}
	return 0;
}

static int handle(void *device, unsigned queue, struct virtq_chain *chain, uint32_t *ret_written)
{
	const struct balloon *balloon = device;
	*ret_written = 0;
	switch (queue) {
	case QUEUE_INFLATE: return inflate(balloon, chain);
	case QUEUE_REPORT: return take_report(balloon, chain);
	default: return 0; /* a page that is taken back comes when it is used */
	}
}

static uint64_t features(void *device)
{
	(void)device;
	return UINT64_C(1) << VIRTIO_BALLOON_F_DEFLATE_ON_OOM |
	       UINT64_C(1) << VIRTIO_BALLOON_F_REPORTING;
}

enum { CONFIG_PAGES = 0, CONFIG_ACTUAL = 4 };

static void config_read(void *device, uint32_t offset, void *bytes, uint32_t len)
{
	struct balloon *balloon = device;
	const uint32_t config[] = { atomic_load(&balloon->wanted), atomic_load(&balloon->given) };
	config_space_read(config, sizeof(config), offset, bytes, len);
}

static void config_write(void *device, uint32_t offset, const void *bytes, uint32_t len)
{
	struct balloon *balloon = device;
	uint32_t given;
	if (offset != CONFIG_ACTUAL || len != sizeof(given))
		return;
	memcpy(&given, bytes, sizeof(given));
	atomic_store(&balloon->given, given);
}

static void activate(void *device, struct virtio *virtio, uint64_t accepted)
{
	struct balloon *balloon = device;
	(void)accepted;
	balloon->virtio = virtio;
}

static void notify(void *device, unsigned queue)
{
	struct balloon *balloon = device;
	virtio_serve(balloon->virtio, queue, BUDGET, handle, balloon);
}

static void reset(void *device)
{
	struct balloon *balloon = device;
	balloon->virtio = NULL;
	atomic_store(&balloon->given, 0);
}

static void balloon_free(void *device)
{
	free(device);
}

const struct virtio_ops virtio_balloon_ops = {
	.name = "balloon",
	.type = VIRTIO_ID_BALLOON,
	.pci_class = 0x05800000, /* memory, other */
	.queues = QUEUES,
	.queue_size = QUEUE_SIZE,
	.features = features,
	.config_read = config_read,
	.config_write = config_write,
	.activate = activate,
	.notify = notify,
	.reset = reset,
	.free = balloon_free,
};

int virtio_balloon_create(json *config, struct machine *machine, void **ret_device, struct err *err)
{
	uint64_t pages = json_get_uint(config, "pages", 0);
	if (pages > UINT32_MAX)
		return err_set(err, ERR_INVALID, "a balloon of %ju pages", (uintmax_t)pages);
	struct balloon *balloon = NEW(balloon);
	balloon->mem = machine_mem(machine);
	atomic_store(&balloon->wanted, (uint32_t)pages);
	*ret_device = balloon;
	return 0;
}

void virtio_balloon_set_pages(void *device, uint32_t pages)
{
	struct balloon *balloon = device;
	atomic_store(&balloon->wanted, pages);
	if (balloon->virtio != NULL)
		virtio_config_changed(balloon->virtio);
}

uint32_t virtio_balloon_pages(const void *device)
{
	const struct balloon *balloon = device;
	return atomic_load(&balloon->given);
}
