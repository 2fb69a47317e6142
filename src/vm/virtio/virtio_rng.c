/* virtio_rng - see virtio_rng.h.  The host's random bytes, straight into the guest's buffers; a
 * request for many gets some, which its length tells (5.4.6.2). */
#include "vm/virtio/virtio_rng.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <sys/random.h>

#include "base/mem.h"

enum { QUEUE_SIZE = 64, BUDGET = 16, REQUEST_BYTES_MAX = 4096 };

struct rng {
	struct virtio *virtio; /* borrowed, NULL while inactive */
};

static int handle(void *device, unsigned queue, struct virtq_chain *chain, uint32_t *ret_written)
{
	(void)device;
	(void)queue;
	if (chain->in_len > 0 || chain->out_len == 0)
		return -EPROTO;
	uint32_t written = 0;
	for (unsigned i = 0; i < chain->out_len && written < REQUEST_BYTES_MAX; i++) {
		size_t want = chain->out[i].iov_len;
		if (want > REQUEST_BYTES_MAX - written)
			want = REQUEST_BYTES_MAX - written;
		ssize_t n = getrandom(chain->out[i].iov_base, want, 0);
		if (n > 0)
			written += (uint32_t)n;
		/* Bytes are counted from the first: a gap would count what is not random. */
		if (n < 0 || (size_t)n < want)
			break;
	}
	*ret_written = written;
	return 0;
}

static void activate(void *device, struct virtio *virtio, uint64_t accepted)
{
	struct rng *rng = device;
	(void)accepted;
	rng->virtio = virtio;
}

static void notify(void *device, unsigned queue)
{
	struct rng *rng = device;
	virtio_serve(rng->virtio, queue, BUDGET, handle, rng);
}

static void reset(void *device)
{
	struct rng *rng = device;
	rng->virtio = NULL;
}

static void rng_free(void *device)
{
	free(device);
}

const struct virtio_ops virtio_rng_ops = {
	.name = "rng",
	.type = VIRTIO_ID_RNG,
	.pci_class = 0x10800000, /* encryption, other */
	.queues = 1,
	.queue_size = QUEUE_SIZE,
	.activate = activate,
	.notify = notify,
	.reset = reset,
	.free = rng_free,
};

int virtio_rng_create(json *config, struct machine *machine, void **ret_device, struct err *err)
{
	(void)config;
	(void)machine;
	(void)err;
	*ret_device = NEW(rng);
	return 0;
}
