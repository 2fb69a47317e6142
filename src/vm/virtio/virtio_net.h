/* virtio_net - the network device (virtio 1.2, 5.1), one pair of queues on a tap.  Configuration:
 *
 *   fd   tap's descriptor (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR); taken, and made non-blocking
 *   mac  "02:00:00:00:00:01": the guest's address; it sends with no other
 */
#pragma once

#include "vm/device.h"

extern const struct virtio_ops virtio_net_ops;
MUST_CHECK int virtio_net_create(json *config, struct machine *machine, void **ret_device,
	struct err *err);
