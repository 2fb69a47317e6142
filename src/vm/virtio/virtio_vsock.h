/* virtio_vsock - the socket device (virtio 1.2, 5.10): streams between the guest (GUEST_CID) and
 * descriptors of the host.  Configuration:
 *
 *   listener  listening unix socket whose clients reach ports of the guest (wire/guest_msg.h); -1
 * or absent: none ports     list of {"port": N, "fd": F}: where the guest's connection to host port
 * N goes, once; a FIFO carries one direction, to the guest on GUEST_PORT_STDIN and from it else
 *   control   what guest_link.h says, or absent: the machine's own end of GUEST_PORT_CONTROL
 *
 * The descriptors are taken, and made non-blocking. */
#pragma once

#include "vm/device.h"

extern const struct virtio_ops virtio_vsock_ops;
MUST_CHECK int virtio_vsock_create(json *config, struct machine *machine, void **ret_device,
	struct err *err);
