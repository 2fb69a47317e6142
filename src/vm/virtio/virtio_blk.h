/* virtio_blk - the disk (virtio 1.2, 5.2): a raw file or block device.  Configuration:
 *
 *   fd        the file, taken        readonly  true: writes are refused (false)
 *   serial    how the guest finds it, at most 20 bytes, or absent */
#pragma once

#include "vm/device.h"

extern const struct virtio_ops virtio_blk_ops;
MUST_CHECK int virtio_blk_create(json *config, struct machine *machine, void **ret_device,
	struct err *err);
