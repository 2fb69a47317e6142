/* fuzz_tar - any bytes as a layer: conversion fails with an error or makes an image that merging
 * reads without complaint.  The first byte chooses the compression; with its highest bit set,
 * blocks that look like headers get a right checksum, which chance would not find. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/mem.h"
#include "layer/layer.h"
#include "layer/tar_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int r, const struct err *err)
{
	/* An image of 16 TiB is beyond a memfd, not beyond the format. */
	if (r < 0 && r != -EFBIG && r != -ENOSPC) {
		fprintf(stderr, "%s\n", err->message);
		abort();
	}
}

static void seal(uint8_t *bytes, size_t size)
{
	for (size_t at = 0; at + sizeof(struct tar_header) <= size;
		at += sizeof(struct tar_header)) {
		struct tar_header header;
		memcpy(&header, bytes + at, sizeof(header));
		if (memcmp(header.magic, "ustar", 5) != 0)
			continue;
		unsigned sum = 0;
		memset(header.checksum, ' ', sizeof(header.checksum));
		for (size_t i = 0; i < sizeof(header); i++)
			sum += ((const uint8_t *)&header)[i];
		snprintf(header.checksum, sizeof(header.checksum), "%06o", sum);
		memcpy(bytes + at, &header, sizeof(header));
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
	AUTO_FREE uint8_t *bytes = mem_new(1, size);
	memcpy(bytes, data + 1, size - 1);
	if (data[0] & 0x80)
		seal(bytes, size - 1);
	must(fd_write_all(source, bytes, size - 1), &err);

	struct layer_job job = {
		.source_fd = source,
		.size = UINT64_MAX,
		.compression = (enum layer_compression)((data[0] & 0x7f) % 3),
		.blob_fd = -1,
		.erofs_fd = image,
	};
	struct layer_result result;
	if (layer_convert(&job, &result, &err) < 0)
		return 0;
	uint64_t merged_bytes;
	const int layers[] = { image, image };
	must(layer_merge(layers, 2, merged, &merged_bytes, &err), &err);
	return 0;
}
