/* fuzz_virtio_console - requests of a hostile guest's console, while its reader comes and goes. */
#include "../../lib/device_rig.c"
#include "../../lib/device_script.h"

#include "base/text.h"
#include "vm/virtio/virtio_console.h"

static size_t request(const struct device_step *step, uint8_t bytes[RIG_BUFFER_BYTES])
{
	memset(bytes, step->at, RIG_BUFFER_BYTES);
	return step->value % RIG_BUFFER_BYTES;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	int pair[2];
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	AUTO_FREE char *config = text_format("{\"in_fd\": %d, \"out_fd\": %d}", pair[0], pair[0]);
	struct rig rig;
	uint64_t features = data[0] & 1 ? VIRTIO_FEATURE_EVENT_IDX : 0;
	rig_open(&rig, &virtio_console_ops, virtio_console_create, config, features);
	struct device_script script = { &rig, pair[1], request, features };
	device_script_run(&script, data + 1, size - 1);
	return 0;
}
