/* erofs_read - the metadata of an image that erofs_write.c made.  Only that subset is understood;
 * everything is checked against the file all the same. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/text.h"
#include "layer/erofs_format.h"

struct erofs_reader;

/* An inode in the machine's byte order, checked: its data lie inside the file. */
struct erofs_info {
	uint32_t nid;
	uint16_t mode;
	enum erofs_layout layout;
	uint64_t size;
	uint32_t address;
	uint32_t uid, gid, mtime_ns, links;
	int64_t mtime;
	uint32_t xattr_bytes; /* on-disk form, with its header */
	uint64_t tail_at;     /* where in the file the inline tail or the chunk table starts */
};

MUST_CHECK int erofs_reader_new(int fd, struct erofs_reader **ret_reader, struct err *err);
void erofs_reader_free(struct erofs_reader *reader); /* NULL is fine */
DEFINE_AUTO(erofs_reader)

uint32_t erofs_reader_root(const struct erofs_reader *reader);
uint32_t erofs_reader_blocks(const struct erofs_reader *reader);
const uint8_t *erofs_reader_uuid(const struct erofs_reader *reader); /* 16 bytes */

MUST_CHECK int erofs_reader_inode(struct erofs_reader *reader, uint32_t nid,
	struct erofs_info *ret_info, struct err *err);
/* The attributes in their on-disk form, valid until the next call. */
MUST_CHECK int erofs_reader_xattrs(struct erofs_reader *reader, const struct erofs_info *info,
	struct view *ret_body, struct err *err);
/* The target of a symlink, valid until the next call. */
MUST_CHECK int erofs_reader_target(struct erofs_reader *reader, const struct erofs_info *info,
	struct view *ret_target, struct err *err);

/* Calls fn for every name but "." and ".."; name is valid during the call, in which the reader may
 * be used for other inodes. */
typedef int erofs_name_fn(void *context, struct view name, uint32_t nid, struct err *err);
MUST_CHECK int erofs_reader_names(struct erofs_reader *reader, const struct erofs_info *dir,
	erofs_name_fn *fn, void *context, struct err *err);

/* Calls fn for every chunk of a chunk-based file, in order; block may be EROFS_NULL_ADDRESS. */
typedef int erofs_chunk_fn(void *context, uint32_t index, uint32_t block, struct err *err);
MUST_CHECK int erofs_reader_chunks(struct erofs_reader *reader, const struct erofs_info *info,
	erofs_chunk_fn *fn, void *context, struct err *err);
