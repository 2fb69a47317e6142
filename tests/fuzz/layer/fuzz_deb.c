/* A Debian package: where its files are, and those decompressed, at most 1 MiB of them. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "layer/layer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool is_ready;
	if (!is_ready && layer_init(NULL) < 0)
		abort();
	is_ready = true;
	int fd = memfd_create("deb", MFD_CLOEXEC), out = memfd_create("out", MFD_CLOEXEC);
	if (fd < 0 || out < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	uint64_t offset, length;
	enum layer_compression compression;
	struct err err = { 0 };
	if (layer_deb_data(fd, &offset, &length, &compression, &err) == 0)
		(void)!layer_expand(fd, offset, length, compression, out, 1 << 20, &err);
	(void)close(fd);
	(void)close(out);
	return 0;
}
