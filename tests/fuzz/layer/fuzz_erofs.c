/* fuzz_erofs - any bytes as the image of a layer: merging fails with an error or succeeds, in
 * bounded time and memory.  The first kilobyte of an image says nothing and is left out. */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "layer/erofs_format.h"
#include "layer/layer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = { 0 };
	AUTO_CLOSE int image = memfd_create("image", MFD_CLOEXEC);
	AUTO_CLOSE int merged = memfd_create("merged", MFD_CLOEXEC);
	if (fd_pwrite_all(image, data, size, EROFS_SUPER_OFFSET) < 0)
		abort();
	uint64_t bytes;
	const int layers[] = { image, image };
	(void)!layer_merge(layers, 2, merged, &bytes, &err);
	return 0;
}
