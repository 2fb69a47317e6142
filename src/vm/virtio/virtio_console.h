/* virtio_console - one console (virtio 1.2, 5.3, without MULTIPORT): hvc0.  Configuration:
 *
 *   in_fd   descriptor the guest reads from; -1 or absent: nothing comes
 *   out_fd  descriptor it writes to; -1 or absent: what it writes is lost
 *
 * Both may be the same number.  The descriptors are taken, and made non-blocking. */
#pragma once

#include "vm/device.h"

extern const struct virtio_ops virtio_console_ops;
MUST_CHECK int virtio_console_create(json *config, struct machine *machine, void **ret_device,
	struct err *err);
