/* virtio_rng - the entropy device (virtio 1.2, 5.4).  No configuration. */
#pragma once

#include "vm/device.h"

extern const struct virtio_ops virtio_rng_ops;
MUST_CHECK int virtio_rng_create(json *config, struct machine *machine, void **ret_device,
	struct err *err);
