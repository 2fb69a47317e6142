/* tar - reads an archive entry by entry: V7, ustar (POSIX.1-1988), pax (POSIX.1-2001), GNU tar and
 * the xattr keys of star and libarchive.  Where implementations differ it does what Go's
 * archive/tar does, because Docker and containerd do. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/text.h"

struct feed;
struct tar;

/* len bytes of content at offset of a sparse file. */
struct tar_extent {
	uint64_t offset, len;
};

struct tar_xattr {
	struct view name; /* complete, as "user.mime_type" */
	struct view value;
};

/* All views are borrowed until the next tar_next() and hold no zero byte (xattr values may). */
struct tar_entry {
	struct view name; /* as it stands in the archive */
	struct view link_name;
	char type;   /* one of "0123456" */
	mode_t mode; /* permission bits only */
	uint32_t uid, gid;
	int64_t mtime; /* seconds since 1970 */
	uint32_t mtime_ns;
	uint32_t major, minor;
	uint64_t size;   /* of the file */
	uint64_t stored; /* bytes of content in the archive: less than size where sparse */
	uint64_t offset; /* of the content in the stream */
	bool sparse;
	const struct tar_extent *extents; /* ascending, disjoint, their sum is stored */
	size_t extents_len;
	const struct tar_xattr *xattrs; /* sorted by name, each name once */
	size_t xattrs_len;
};

/* feed is borrowed. */
struct tar *tar_new(struct feed *feed);
void tar_free(struct tar *tar); /* NULL is fine */
DEFINE_AUTO(tar)

/* The next entry: 1, or 0 at the end of the archive.  What was not read of the last one's content
 * is passed over. */
MUST_CHECK int tar_next(struct tar *tar, struct tar_entry *ret_entry, struct err *err);
/* The next 1..max bytes of the content; none at its end. */
MUST_CHECK int tar_data(struct tar *tar, uint64_t max, struct view *ret_bytes, struct err *err);
