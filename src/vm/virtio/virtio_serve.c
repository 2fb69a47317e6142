/* virtio_serve - the loop of a device that answers each request at once.
 *
 * The driver need not notify while the loop runs; when the queue is empty it is asked to again, and
 * the queue is looked at once more, for what came in between.  A driver that fills the queue as
 * fast as it is emptied gets its budget and then its turn after the other devices. */
#include "vm/virtio/virtio.h"

/* The next request, or what virtq_next() says when there is really none. */
static int next(struct virtq *ring, struct virtq_chain *chain)
{
	int r = virtq_next(ring, chain);
	if (r != 0)
		return r;
	virtq_set_notify(ring, true);
	r = virtq_next(ring, chain);
	if (r > 0)
		virtq_set_notify(ring, false);
	return r;
}

void virtio_serve(struct virtio *virtio, unsigned queue, unsigned budget, virtio_handle_fn *handle,
	void *device)
{
	struct virtq *ring = virtio_queue(virtio, queue);
	struct virtq_chain chain;
	unsigned served = 0;
	int r = 0;
	virtq_set_notify(ring, false);
	while (served < budget && (r = next(ring, &chain)) > 0) {
		uint32_t written = 0;
		r = handle(device, queue, &chain, &written);
		if (r < 0)
			break;
		virtq_done(ring, chain.head, written);
		served++;
	}
	if (served > 0)
		virtio_interrupt(virtio, queue);
	if (r < 0)
		virtio_fail(virtio, "a request breaks the rules");
	else if (served == budget)
		virtio_again(virtio, queue);
}
