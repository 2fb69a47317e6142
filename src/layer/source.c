/* source - files and taps.  Reads are made in whatever size the reader's buffer has, which feed.c
 * makes large. */
#include "layer/source.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/durable.h"
#include "base/fd.h"
#include "base/mem.h"

struct file_source {
	struct source base;
	int fd; /* borrowed */
	bool seekable;
	bool sized; /* left is what must come; else read until the end */
	uint64_t offset;
	uint64_t left;
};

static int file_read(struct source *source, void *bytes, size_t len, size_t *ret_len,
	struct err *err)
{
	struct file_source *file = (struct file_source *)source;
	size_t want = len < file->left ? len : (size_t)file->left;
	size_t got = 0;
	while (got < want) {
		char *at = (char *)bytes + got;
		ssize_t n = file->seekable
				    ? pread(file->fd, at, want - got, (off_t)(file->offset + got))
				    : read(file->fd, at, want - got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, errno, "read the archive");
		if (n == 0)
			break;
		got += (size_t)n;
	}
	if (got < want && file->sized)
		return err_set(err, ERR_DAMAGED, "the archive is %ju bytes too short",
			(uintmax_t)(file->left - got));
	file->offset += got;
	file->left -= got;
	*ret_len = got;
	return 0;
}

static int file_skip(struct source *source, uint64_t len, struct err *err)
{
	struct file_source *file = (struct file_source *)source;
	if (len > file->left)
		return err_set(err, ERR_DAMAGED, "the archive is %ju bytes too short",
			(uintmax_t)(len - file->left));
	file->offset += len;
	file->left -= len;
	return 0;
}

static void file_free(struct source *source)
{
	free(source);
}

static const struct source_ops file_ops = {
	.read = file_read,
	.skip = file_skip,
	.free = file_free,
};

static const struct source_ops pipe_ops = {
	.read = file_read,
	.free = file_free,
};

int source_file_new(int fd, uint64_t offset, uint64_t size, struct source **ret_source,
	struct err *err)
{
	bool seekable = lseek(fd, 0, SEEK_CUR) >= 0;
	if (!seekable && offset != 0)
		return err_set(err, ERR_INVALID, "a stream cannot be read from offset %ju",
			(uintmax_t)offset);
	if (offset > INT64_MAX || (size != UINT64_MAX && size > INT64_MAX - offset))
		return err_set(err, ERR_INVALID, "no such range in a file: %ju bytes at %ju",
			(uintmax_t)size, (uintmax_t)offset);

	struct file_source *file = NEW(file_source);
	*file = (struct file_source){
		.base.ops = seekable ? &file_ops : &pipe_ops,
		.fd = fd,
		.seekable = seekable,
		.sized = size != UINT64_MAX,
		.offset = offset,
		.left = size != UINT64_MAX ? size : INT64_MAX - offset,
	};
	*ret_source = &file->base;
	return 0;
}

struct tap_source {
	struct source base;
	struct source *inner;     /* owned */
	struct digest_hash *hash; /* borrowed */
	uint64_t *count;          /* borrowed */
	int fd;                   /* borrowed */
	bool direct;              /* fd goes past the page cache */
	uint64_t begun;           /* up to here the disk has been asked to take it */
};

/* Past the page cache where that works, as nobody reads a blob soon.  The last piece has no whole
 * number of blocks, and a reader's buffer or the file's blocks may not suit: then through the cache
 * from here on.  Writing a piece again is no harm. */
static int tap_write(struct tap_source *tap, const void *bytes, size_t len, uint64_t offset)
{
	if (tap->direct) {
		bool fits = len % MEM_PAGE == 0 && (uintptr_t)bytes % MEM_PAGE == 0;
		int r = fits ? fd_pwrite_all(tap->fd, bytes, len, offset) : -EINVAL;
		if (r != -EINVAL)
			return r;
		tap->direct = false;
		r = fd_set_direct(tap->fd, false);
		if (r < 0)
			return r;
	}
	return fd_pwrite_all(tap->fd, bytes, len, offset);
}

static int tap_copy(struct tap_source *tap, const void *bytes, size_t len, struct err *err)
{
	int r = tap_write(tap, bytes, len, *tap->count);
	if (r < 0)
		return err_sys(err, -r, "write the blob");
	uint64_t end = *tap->count + len;
	if (end - tap->begun < DURABLE_STEP)
		return 0;
	r = durable_begin(tap->fd, tap->begun, end - tap->begun, err);
	tap->begun = end;
	return r;
}

static int tap_read(struct source *source, void *bytes, size_t len, size_t *ret_len,
	struct err *err)
{
	struct tap_source *tap = (struct tap_source *)source;
	size_t got;
	int r = tap->inner->ops->read(tap->inner, bytes, len, &got, err);
	if (r < 0)
		return r;
	if (tap->hash != NULL)
		digest_hash_add(tap->hash, bytes, got);
	if (tap->fd >= 0) {
		r = tap_copy(tap, bytes, got, err);
		if (r < 0)
			return r;
	}
	*tap->count += got;
	*ret_len = got;
	return 0;
}

static void tap_free(struct source *source)
{
	struct tap_source *tap = (struct tap_source *)source;
	source_free(tap->inner);
	free(tap);
}

static const struct source_ops tap_ops = {
	.read = tap_read,
	.free = tap_free,
};

struct source *source_tap_new(struct source *take_inner, struct digest_hash *hash, int fd,
	uint64_t *count)
{
	struct tap_source *tap = NEW(tap_source);
	*tap = (struct tap_source){
		.base.ops = &tap_ops,
		.inner = take_inner,
		.hash = hash,
		.count = count,
		.fd = fd,
		.direct = fd >= 0 && fd_set_direct(fd, true) == 0,
	};
	return &tap->base;
}

void source_free(struct source *source)
{
	if (source != NULL)
		source->ops->free(source);
}
