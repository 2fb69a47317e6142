/* layer - what needs no tree: initialisation, detection, decompression. */
#include "layer/layer.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fd.h"
#include "layer/feed.h"
#include "layer/isal.h"
#include "layer/layer_stream.h"

int layer_init(struct err *err)
{
	struct isal isal;
	int r = isal_load(&isal, err);
	return r < 0 ? r : digest_init(err);
}

int layer_detect(int fd, uint64_t offset, enum layer_compression *ret_compression, struct err *err)
{
	static const struct {
		uint8_t bytes[4];
		size_t len;
		enum layer_compression compression;
	} magics[] = {
		{ { 0x1f, 0x8b }, 2, LAYER_GZIP },
		{ { 0x28, 0xb5, 0x2f, 0xfd }, 4, LAYER_ZSTD },
	};
	uint8_t start[4] = { 0 };
	ssize_t len = pread(fd, start, sizeof(start), (off_t)offset);
	if (len < 0)
		return err_sys(err, errno, "read the archive");
	*ret_compression = LAYER_PLAIN;
	for (size_t i = 0; i < ARRAY_LEN(magics); i++) {
		if ((size_t)len >= magics[i].len &&
			memcmp(start, magics[i].bytes, magics[i].len) == 0)
			*ret_compression = magics[i].compression;
	}
	return 0;
}

static int copy_all(struct feed *feed, int fd, uint64_t max_bytes, struct err *err)
{
	for (;;) {
		struct view part;
		int r = feed_next(feed, UINT64_MAX, &part, err);
		if (r < 0 || part.len == 0)
			return r;
		if (feed_position(feed) > max_bytes)
			return err_set(err, ERR_LIMIT, "more than %ju bytes, decompressed",
				(uintmax_t)max_bytes);
		r = fd_write_all(fd, part.data, part.len);
		if (r < 0)
			return err_sys(err, -r, "write decompressed data");
	}
}

int layer_decompress(int source_fd, enum layer_compression compression, int out_fd,
	uint64_t *ret_bytes, struct err *err)
{
	off_t offset = lseek(source_fd, 0, SEEK_CUR);
	uint64_t read_bytes = 0;
	struct layer_stream stream = {
		.fd = source_fd,
		.offset = offset > 0 ? (uint64_t)offset : 0,
		.size = UINT64_MAX,
		.compression = compression,
		.blob_fd = -1,
		.blob_bytes = &read_bytes,
	};
	AUTO(feed) feed = NULL;
	int r = layer_stream_open(&stream, &feed, err);
	if (r == 0)
		r = copy_all(feed, out_fd, UINT64_MAX, err);
	if (r == 0)
		*ret_bytes = feed_position(feed);
	return r;
}

int layer_expand(int source_fd, uint64_t offset, uint64_t size, enum layer_compression compression,
	int out_fd, uint64_t max_bytes, struct err *err)
{
	uint64_t read_bytes = 0;
	struct layer_stream stream = {
		.fd = source_fd,
		.offset = offset,
		.size = size,
		.compression = compression,
		.blob_fd = -1,
		.blob_bytes = &read_bytes,
	};
	AUTO(feed) feed = NULL;
	int r = layer_stream_open(&stream, &feed, err);
	return r < 0 ? r : copy_all(feed, out_fd, max_bytes, err);
}
