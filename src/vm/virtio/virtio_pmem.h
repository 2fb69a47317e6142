/* virtio_pmem - a file as the guest's memory (virtio 1.2, 5.19).  Configuration:
 *
 *   fd        the file, taken        readonly  false: the guest may write (true) */
#pragma once

#include "vm/device.h"

extern const struct virtio_ops virtio_pmem_ops;
MUST_CHECK int virtio_pmem_create(json *config, struct machine *machine, void **ret_device,
	struct err *err);
