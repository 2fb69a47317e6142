/* fuzz_virtio_net - frames of a hostile guest, and buffers for those that come.  The tap is a pair
 * of datagram sockets; no frame leaves from another address than the guest's. */
#include "../../lib/device_rig.c"
#include "../../lib/device_script.h"

#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <sys/ioctl.h>

#include "base/text.h"
#include "vm/virtio/virtio_net.h"

enum { HEADER = sizeof(struct virtio_net_hdr_v1) };

/* The tap's requests, which the socket does not know. */
int ioctl(int fd, unsigned long request, ...)
{
	(void)fd;
	CHECK(request == TUNSETOFFLOAD || request == TUNSETVNETHDRSZ);
	return 0;
}

static size_t request(const struct device_step *step, uint8_t bytes[RIG_BUFFER_BYTES])
{
	memset(bytes, 0, RIG_BUFFER_BYTES);
	bytes[0] = (uint8_t)(step->at >> 8 & 3);
	bytes[1] = (uint8_t)(step->at >> 10 & 7);
	memcpy(bytes + HEADER + 6, "\x02\0\0\0\0\x0a", 6);
	if (step->value % 4 == 3)
		bytes[HEADER + 6 + step->value / 4 % 6] ^= 1;
	return step->value >> 16 & 0x1fff;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	int pair[2];
	CHECK(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) == 0);
	AUTO_FREE char *config =
		text_format("{\"fd\": %d, \"mac\": \"02:00:00:00:00:0a\"}", pair[0]);
	struct rig rig;
	uint64_t features = (data[0] & 1 ? VIRTIO_FEATURE_EVENT_IDX : 0) |
			    (data[0] & 2 ? UINT64_C(1) << VIRTIO_NET_F_MRG_RXBUF : 0) |
			    (data[0] & 4 ? UINT64_C(1) << VIRTIO_NET_F_GUEST_CSUM |
						    UINT64_C(1) << VIRTIO_NET_F_GUEST_TSO4
					 : 0) |
			    (data[0] & 8 ? UINT64_C(1) << VIRTIO_NET_F_CSUM |
						    UINT64_C(1) << VIRTIO_NET_F_HOST_TSO4
					 : 0);
	rig_open(&rig, &virtio_net_ops, virtio_net_create, config, features);
	int wire = dup(pair[1]);
	struct device_script script = { &rig, pair[1], request, features };
	device_script_run(&script, data + 1, size - 1);
	uint8_t frame[RIG_BUFFER_BYTES];
	while (recv(wire, frame, sizeof(frame), MSG_DONTWAIT) > 0)
		CHECK(memcmp(frame + HEADER + 6, "\x02\0\0\0\0\x0a", 6) == 0);
	(void)close(wire);
	return 0;
}
