/* erofs_read - see erofs_read.h.
 *
 * Reads go through two windows, one over the inodes and one over everything else, because a walk
 * in the order of writing moves both forward.  A directory block is copied out before its names are
 * handed on.
 *
 * Nothing in a well-made image overlaps.  In a damaged one, a million inodes could share one long
 * directory or chunk table; so each byte of those is paid for out of a budget of the file's size,
 * which also ends any cycle of directories. */
#include "layer/erofs_read.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/mem.h"

#define WINDOW_BYTES ((size_t)512 << 10)
static_assert(WINDOW_BYTES > EROFS_XATTR_MAX + EROFS_BLOCK, "whatever is read at once fits");

struct window {
	uint8_t *bytes; /* owned */
	uint64_t start;
	size_t len;
};

struct erofs_reader {
	int fd; /* borrowed */
	uint64_t size;
	uint64_t budget;
	uint64_t meta_at;
	uint32_t root;
	uint32_t blocks;
	uint8_t uuid[16];
	struct window inodes, rest;
	uint8_t block[EROFS_BLOCK];
};

static int damaged(struct err *err, const char *what, uint64_t at)
{
	return err_set(err, ERR_DAMAGED, "the layer's image is damaged at byte %ju: %s",
		(uintmax_t)at, what);
}

/* len bytes at offset, valid until the next read through the same window. */
static int window_at(struct erofs_reader *reader, struct window *window, uint64_t offset,
	size_t len, const uint8_t **ret_bytes, struct err *err)
{
	uint64_t end;
	if (__builtin_add_overflow(offset, len, &end) || end > reader->size || len > WINDOW_BYTES)
		return damaged(err, "something lies outside the file", offset);
	if (offset < window->start || end > window->start + window->len) {
		uint64_t left = reader->size - offset;
		size_t want = left < WINDOW_BYTES ? (size_t)left : WINDOW_BYTES;
		window->len = 0;
		int r = fd_pread_exact(reader->fd, window->bytes, want, offset);
		if (r < 0)
			return err_sys(err, -r, "read the layer's image");
		window->start = offset;
		window->len = want;
	}
	*ret_bytes = window->bytes + (offset - window->start);
	return 0;
}

static int spend(struct erofs_reader *reader, uint64_t bytes, uint64_t at, struct err *err)
{
	if (bytes > reader->budget)
		return damaged(err, "directories or tables overlap", at);
	reader->budget -= bytes;
	return 0;
}

static int read_super(struct erofs_reader *reader, struct err *err)
{
	const uint8_t *bytes;
	struct erofs_super super;
	int r = window_at(reader, &reader->rest, EROFS_SUPER_OFFSET, sizeof(super), &bytes, err);
	if (r < 0)
		return r;
	memcpy(&super, bytes, sizeof(super));
	if (le32toh(super.magic) != EROFS_MAGIC || super.block_bits != EROFS_BLOCK_BITS)
		return damaged(err, "no superblock of ours", EROFS_SUPER_OFFSET);
	if ((le32toh(super.feature_incompat) & ~EROFS_INCOMPAT_CHUNKED_FILE) != 0)
		return damaged(err, "a feature that moat does not write", EROFS_SUPER_OFFSET);
	reader->blocks = le32toh(super.blocks);
	reader->root = le16toh(super.root_nid);
	reader->meta_at = (uint64_t)le32toh(super.meta_block) * EROFS_BLOCK;
	memcpy(reader->uuid, super.uuid, sizeof(reader->uuid));
	if ((uint64_t)reader->blocks * EROFS_BLOCK > reader->size)
		return damaged(err, "the file is shorter than its superblock says",
			EROFS_SUPER_OFFSET);
	return 0;
}

int erofs_reader_new(int fd, struct erofs_reader **ret_reader, struct err *err)
{
	struct stat status;
	if (fstat(fd, &status) < 0)
		return err_sys(err, errno, "look at the layer's image");
	AUTO(erofs_reader) reader = NEW(erofs_reader);
	reader->fd = fd;
	reader->size = (uint64_t)status.st_size;
	reader->budget = reader->size;
	reader->inodes.bytes = mem_new(1, WINDOW_BYTES);
	reader->rest.bytes = mem_new(1, WINDOW_BYTES);
	int r = read_super(reader, err);
	if (r == 0)
		*ret_reader = TAKE(reader);
	return r;
}

void erofs_reader_free(struct erofs_reader *reader)
{
	if (reader == NULL)
		return;
	free(reader->inodes.bytes);
	free(reader->rest.bytes);
	free(reader);
}

uint32_t erofs_reader_root(const struct erofs_reader *reader)
{
	return reader->root;
}

uint32_t erofs_reader_blocks(const struct erofs_reader *reader)
{
	return reader->blocks;
}

const uint8_t *erofs_reader_uuid(const struct erofs_reader *reader)
{
	return reader->uuid;
}

/* --- inodes --- */

/* The blocks of flat data lie inside the image. */
static int check_flat(const struct erofs_reader *reader, const struct erofs_info *info, uint64_t at,
	struct err *err)
{
	uint64_t blocks = info->size / EROFS_BLOCK;
	uint64_t tail = info->size % EROFS_BLOCK;
	if (info->layout == EROFS_FLAT_PLAIN)
		blocks += tail > 0;
	else if (info->tail_at + tail > reader->size ||
		 info->tail_at / EROFS_BLOCK != (info->tail_at + tail - (tail > 0)) / EROFS_BLOCK)
		return damaged(err, "an inline tail crosses a block", at);
	if (blocks > 0 &&
		(info->address >= reader->blocks || blocks > reader->blocks - info->address))
		return damaged(err, "data lie outside the image", at);
	return 0;
}

static int check_chunked(const struct erofs_reader *reader, struct erofs_info *info, uint64_t at,
	struct err *err)
{
	if ((info->address & ~EROFS_CHUNK_BITS_MASK) != 0)
		return damaged(err, "a chunk format that moat does not write", at);
	unsigned bits = EROFS_BLOCK_BITS + (info->address & EROFS_CHUNK_BITS_MASK);
	uint64_t count = info->size == 0 ? 0 : ((info->size - 1) >> bits) + 1;
	if (count > UINT32_MAX || info->tail_at > reader->size ||
		count * sizeof(uint32_t) > reader->size - info->tail_at)
		return damaged(err, "a chunk table lies outside the file", at);
	return 0;
}

static int check_inode(const struct erofs_reader *reader, struct erofs_info *info, uint64_t at,
	struct err *err)
{
	if (info->size > INT64_MAX || info->mtime_ns >= 1000000000)
		return damaged(err, "an impossible size or time", at);
	if (info->layout == EROFS_CHUNK_BASED && S_ISREG(info->mode))
		return check_chunked(reader, info, at, err);
	switch (info->mode & S_IFMT) {
	case S_IFREG:
		if (info->layout != EROFS_FLAT_PLAIN)
			break;
		return check_flat(reader, info, at, err);
	case S_IFDIR:
	case S_IFLNK:
		if (info->layout == EROFS_CHUNK_BASED)
			break;
		return check_flat(reader, info, at, err);
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		if (info->size != 0)
			break;
		return 0;
	default: break;
	}
	return damaged(err, "a file type or layout that moat does not write", at);
}

int erofs_reader_inode(struct erofs_reader *reader, uint32_t nid, struct erofs_info *ret_info,
	struct err *err)
{
	uint64_t at = reader->meta_at + (uint64_t)nid * EROFS_SLOT;
	const uint8_t *bytes;
	struct erofs_inode disk;
	int r = window_at(reader, &reader->inodes, at, sizeof(disk), &bytes, err);
	if (r < 0)
		return r;
	memcpy(&disk, bytes, sizeof(disk));

	uint16_t format = le16toh(disk.format);
	uint16_t layout = format >> 1;
	if ((format & 1) == 0 || (layout != EROFS_FLAT_PLAIN && layout != EROFS_FLAT_INLINE &&
					 layout != EROFS_CHUNK_BASED))
		return damaged(err, "an inode format that moat does not write", at);
	uint32_t xattr_count = le16toh(disk.xattr_count);
	struct erofs_info info = {
		.nid = nid,
		.mode = le16toh(disk.mode),
		.layout = layout,
		.size = le64toh(disk.size),
		.address = le32toh(disk.address),
		.uid = le32toh(disk.uid),
		.gid = le32toh(disk.gid),
		.mtime_ns = le32toh(disk.mtime_ns),
		.links = le32toh(disk.links),
		.mtime = (int64_t)le64toh(disk.mtime),
	};
	if (xattr_count > 0)
		info.xattr_bytes =
			(uint32_t)sizeof(struct erofs_xattr_header) + (xattr_count - 1) * 4;
	info.tail_at = at + sizeof(disk) + info.xattr_bytes;
	r = check_inode(reader, &info, at, err);
	if (r == 0)
		*ret_info = info;
	return r;
}

int erofs_reader_xattrs(struct erofs_reader *reader, const struct erofs_info *info,
	struct view *ret_body, struct err *err)
{
	const uint8_t *bytes = NULL;
	uint64_t at = info->tail_at - info->xattr_bytes;
	if (info->xattr_bytes > 0) {
		int r = spend(reader, info->xattr_bytes, at, err);
		if (r == 0)
			r = window_at(reader, &reader->inodes, at, info->xattr_bytes, &bytes, err);
		if (r < 0)
			return r;
	}
	*ret_body = (struct view){ (const char *)bytes, info->xattr_bytes };
	return 0;
}

int erofs_reader_target(struct erofs_reader *reader, const struct erofs_info *info,
	struct view *ret_target, struct err *err)
{
	if (info->size == 0 || info->size >= EROFS_BLOCK)
		return damaged(err, "a symlink without a target, or with too long a one",
			info->tail_at);
	const uint8_t *bytes;
	bool is_inline = info->layout == EROFS_FLAT_INLINE;
	int r = window_at(reader, is_inline ? &reader->inodes : &reader->rest,
		is_inline ? info->tail_at : (uint64_t)info->address * EROFS_BLOCK,
		(size_t)info->size, &bytes, err);
	if (r < 0)
		return r;
	if (memchr(bytes, 0, (size_t)info->size) != NULL)
		return damaged(err, "a symlink's target has a zero byte", info->tail_at);
	*ret_target = (struct view){ (const char *)bytes, (size_t)info->size };
	return 0;
}

/* --- directories --- */

static bool is_name(struct view name)
{
	return name.len > 0 && name.len <= 255 && memchr(name.data, '/', name.len) == NULL &&
	       memchr(name.data, 0, name.len) == NULL;
}

static bool is_dots(struct view name)
{
	return view_is(name, ".") || view_is(name, "..");
}

/* The names of one block of len bytes, which stands in reader->block. */
static int block_names(struct erofs_reader *reader, size_t len, uint64_t at, erofs_name_fn *fn,
	void *context, struct err *err)
{
	struct erofs_dirent dirent, next;
	if (len < sizeof(dirent))
		return damaged(err, "a directory block is too short", at);
	memcpy(&dirent, reader->block, sizeof(dirent));
	size_t count = le16toh(dirent.name_offset) / sizeof(dirent);
	if (count == 0 || count * sizeof(dirent) > len ||
		le16toh(dirent.name_offset) % sizeof(dirent) != 0)
		return damaged(err, "a directory block has no names", at);

	for (size_t i = 0; i < count; i++, dirent = next) {
		size_t from = le16toh(dirent.name_offset), to = len;
		if (i + 1 < count) {
			memcpy(&next, reader->block + (i + 1) * sizeof(next), sizeof(next));
			to = le16toh(next.name_offset);
		} else {
			next = dirent;
		}
		if (from < count * sizeof(dirent) || from >= to || to > len)
			return damaged(err, "a directory's names overlap", at);
		struct view name = { (const char *)reader->block + from, to - from };
		if (i + 1 == count)
			name.len = strnlen(name.data, name.len);
		uint64_t nid = le64toh(dirent.nid);
		if (!is_name(name) || nid > UINT32_MAX)
			return damaged(err, "an impossible name or number in a directory", at);
		int r = is_dots(name) ? 0 : fn(context, name, (uint32_t)nid, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int erofs_reader_names(struct erofs_reader *reader, const struct erofs_info *dir, erofs_name_fn *fn,
	void *context, struct err *err)
{
	for (uint64_t done = 0; done < dir->size; done += EROFS_BLOCK) {
		uint64_t left = dir->size - done;
		size_t len = left < EROFS_BLOCK ? (size_t)left : EROFS_BLOCK;
		bool is_inline = len < EROFS_BLOCK && dir->layout == EROFS_FLAT_INLINE;
		uint64_t at =
			is_inline ? dir->tail_at : (uint64_t)dir->address * EROFS_BLOCK + done;
		const uint8_t *bytes;
		int r = spend(reader, len, at, err);
		if (r == 0)
			r = window_at(reader, is_inline ? &reader->inodes : &reader->rest, at, len,
				&bytes, err);
		if (r != 0)
			return r;
		memcpy(reader->block, bytes, len);
		r = block_names(reader, len, at, fn, context, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int erofs_reader_chunks(struct erofs_reader *reader, const struct erofs_info *info,
	erofs_chunk_fn *fn, void *context, struct err *err)
{
	unsigned chunk_bits = info->address & EROFS_CHUNK_BITS_MASK;
	unsigned bits = EROFS_BLOCK_BITS + chunk_bits;
	uint32_t count = info->size == 0 ? 0 : (uint32_t)(((info->size - 1) >> bits) + 1);
	int r = spend(reader, (uint64_t)count * sizeof(uint32_t), info->tail_at, err);
	for (uint32_t i = 0; r == 0 && i < count; i++) {
		const uint8_t *bytes;
		uint64_t at = info->tail_at + (uint64_t)i * sizeof(uint32_t);
		r = window_at(reader, &reader->rest, at, sizeof(uint32_t), &bytes, err);
		if (r != 0)
			return r;
		uint32_t block;
		memcpy(&block, bytes, sizeof(block));
		block = le32toh(block);
		if (block != EROFS_NULL_ADDRESS) {
			/* The last chunk may be short. */
			uint64_t left = info->size - ((uint64_t)i << bits);
			uint64_t len = left < (uint64_t)1 << bits ? left : (uint64_t)1 << bits;
			uint64_t blocks = (len + EROFS_BLOCK - 1) / EROFS_BLOCK;
			if (block >= reader->blocks || blocks > reader->blocks - block)
				return damaged(err, "a chunk lies outside the image", at);
		}
		r = fn(context, i, block, err);
	}
	return r;
}
