/* virtio_balloon - memory that the guest gives back (virtio 1.2, 5.5).  Configuration:
 *
 *   pages     4 KiB pages that the guest is asked for from the beginning (0) */
#pragma once

#include "vm/device.h"

extern const struct virtio_ops virtio_balloon_ops;
MUST_CHECK int virtio_balloon_create(json *config, struct machine *machine, void **ret_device,
	struct err *err);

/* Asks the guest for this many pages in all; in the device thread. */
void virtio_balloon_set_pages(void *balloon, uint32_t pages);
/* How many the guest says it has given; from any thread. */
uint32_t virtio_balloon_pages(const void *balloon);
