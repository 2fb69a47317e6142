/* fuzz_tar - any bytes as a layer: conversion fails with an error or makes an image that merging
 * reads without complaint.  The first byte chooses the compression. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "layer/layer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int r, const struct err *err)
{
	/* An image of 16 TiB is beyond a memfd, not beyond the format. */
	if (r < 0 && r != -EFBIG && r != -ENOSPC) {
		fprintf(stderr, "%s\n", err->message);
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	struct err err = { 0 };
	AUTO_CLOSE int source = memfd_create("source", MFD_CLOEXEC);
	AUTO_CLOSE int image = memfd_create("image", MFD_CLOEXEC);
	AUTO_CLOSE int merged = memfd_create("merged", MFD_CLOEXEC);
	must(fd_write_all(source, data + 1, size - 1), &err);

	struct layer_job job = {
		.source_fd = source,
		.size = UINT64_MAX,
		.compression = (enum layer_compression)(data[0] % 3),
		.blob_fd = -1,
		.erofs_fd = image,
	};
	struct layer_result result;
	if (layer_convert(&job, &result, &err) < 0)
		return 0;
	uint64_t bytes;
	const int layers[] = { image, image };
	must(layer_merge(layers, 2, merged, &bytes, &err), &err);
	return 0;
}
