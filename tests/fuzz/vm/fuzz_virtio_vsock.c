/* fuzz_virtio_vsock - packets of a hostile guest, in rings of a hostile driver, while the host's
 * end of a stream comes and goes. */
#include "../../lib/device_rig.c"
#include "../../lib/device_script.h"

#include "base/text.h"
#include "vm/virtio/virtio_vsock.h"
#include "vm/virtio/vsock_connection.h"
#include "wire/guest_msg.h"

/* A packet whose fields are right more often than not; the step's own bytes are its data. */
static size_t request(const struct device_step *step, uint8_t bytes[RIG_BUFFER_BYTES])
{
	uint32_t value = step->value;
	struct vsock_header header = { .src_cid = GUEST_CID,
		.dst_cid = value % 64 == 63 ? 9 : 2,
		.src_port = 5000 + value / 64 % 2,
		.dst_port = value / 128 % 8 == 7 ? value : 77 + value / 128 % 2,
		.len = value >> 16 & 0x1fff,
		.type = value % 32 == 31 ? 2 : VSOCK_TYPE_STREAM,
		.op = step->at & 0xf,
		.flags = step->at >> 4 & 3,
		.buf_alloc = step->at & 0x40 ? value : 65536,
		.fwd_cnt = step->at & 0x80 ? value : 0 };
	size_t len = sizeof(header) + header.len;
	if (step->at & 0x100)
		len = value % RIG_BUFFER_BYTES;
	if (len > RIG_BUFFER_BYTES)
		len = RIG_BUFFER_BYTES;
	memset(bytes, step->at, RIG_BUFFER_BYTES);
	memcpy(bytes, &header, sizeof(header));
	return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	int pair[2];
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	AUTO_FREE char *config =
		text_format("{\"ports\": [{\"port\": 77, \"fd\": %d}, {\"port\": 78, \"fd\": %d}]}",
			pair[0], null);
	struct rig rig;
	uint64_t features = data[0] & 1 ? VIRTIO_FEATURE_EVENT_IDX : 0;
	rig_open(&rig, &virtio_vsock_ops, virtio_vsock_create, config, features);
	struct device_script script = { &rig, pair[1], request, features };
	device_script_run(&script, data + 1, size - 1);
	return 0;
}
