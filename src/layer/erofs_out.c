/* erofs_out - see erofs_out.h.  Block addresses have 32 bits, so an image ends below 16 TiB. */
#include "layer/erofs_out.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/durable.h"
#include "base/fd.h"
#include "base/mem.h"
#include "layer/erofs_format.h"

#define BUFFER_BYTES ((size_t)1 << 20)
#define DIRECT_BYTES ((size_t)256 << 10) /* pieces from here on are not copied first */
#define HOLE_BYTES ((uint64_t)64 << 10)
#define IMAGE_BYTES_MAX ((uint64_t)(UINT32_MAX - 1) * EROFS_BLOCK)

void erofs_out_init(struct erofs_out *out, int fd, uint64_t start)
{
	*out = (struct erofs_out){
		.fd = fd,
		.buffer = mem_new(1, BUFFER_BYTES),
		.start = start,
		.begun = start,
	};
}

void erofs_out_done(struct erofs_out *out)
{
	free(out->buffer);
}

uint64_t erofs_out_position(const struct erofs_out *out)
{
	return out->start + out->len;
}

static int write_now(struct erofs_out *out, const void *bytes, size_t len, struct err *err)
{
	int r = fd_pwrite_all(out->fd, bytes, len, out->start);
	if (r < 0)
		return err_sys(err, -r, "write %zu bytes of the image", len);
	out->start += len;
	out->size = out->start;
	if (out->start - out->begun < DURABLE_STEP)
		return 0;
	r = durable_begin(out->fd, out->begun, out->start - out->begun, err);
	out->begun = out->start;
	return r;
}

static int flush(struct erofs_out *out, struct err *err)
{
	if (out->len == 0)
		return 0;
	int r = write_now(out, out->buffer, out->len, err);
	if (r == 0)
		out->len = 0;
	return r;
}

static int check_room(struct erofs_out *out, uint64_t len, struct err *err)
{
	if (len > IMAGE_BYTES_MAX - erofs_out_position(out))
		return err_set(err, ERR_LIMIT, "the image would have more than 16 TiB");
	return 0;
}

int erofs_out_write(struct erofs_out *out, const void *bytes, size_t len, struct err *err)
{
	int r = check_room(out, len, err);
	if (r == 0 && out->len + len > BUFFER_BYTES)
		r = flush(out, err);
	if (r < 0)
		return r;
	if (len < DIRECT_BYTES) {
		memcpy(out->buffer + out->len, bytes, len);
		out->len += len;
		return 0;
	}
	r = flush(out, err);
	return r < 0 ? r : write_now(out, bytes, len, err);
}

int erofs_out_zeros(struct erofs_out *out, uint64_t len, struct err *err)
{
	static const uint8_t zeros[EROFS_BLOCK];
	int r = check_room(out, len, err);
	if (r == 0 && len >= HOLE_BYTES) {
		r = flush(out, err);
		if (r == 0)
			out->start += len;
		return r;
	}
	while (r == 0 && len > 0) {
		size_t part = len < sizeof(zeros) ? (size_t)len : sizeof(zeros);
		r = erofs_out_write(out, zeros, part, err);
		len -= part;
	}
	return r;
}

int erofs_out_align(struct erofs_out *out, uint32_t alignment, struct err *err)
{
	uint64_t past = erofs_out_position(out) & (alignment - 1);
	return past == 0 ? 0 : erofs_out_zeros(out, alignment - past, err);
}

int erofs_out_finish(struct erofs_out *out, struct err *err)
{
	int r = flush(out, err);
	if (r == 0 && out->size < out->start && ftruncate(out->fd, (off_t)out->start) < 0)
		return err_sys(err, errno, "make the image %ju bytes long", (uintmax_t)out->start);
	return r;
}
