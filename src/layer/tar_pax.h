/* tar_pax - the records of a pax extended header: "LENGTH KEY=VALUE\n", repeated. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/text.h"
#include "layer/tar.h"

/* One attribute of a header; rank is its place in the order of the records, the last one wins. */
struct tar_pax_xattr {
	struct tar_xattr xattr;
	uint32_t rank;
};

/* What records said.  Views point into the header's text; an absent one has length 0 (an empty
 * value means "as if it were not there"). */
struct tar_pax {
	struct view path, link_path;
	struct view sparse_name, sparse_map;
	struct tar_pax_xattr *xattrs; /* owned */
	size_t xattrs_len, xattrs_room;
	struct tar_extent *extents; /* owned; GNU.sparse 0.0 */
	size_t extents_len, extents_room;
	uint64_t size, real_size;
	int64_t mtime;
	uint32_t mtime_ns;
	uint32_t uid, gid;
	uint32_t sparse_major, sparse_minor;
	bool has_size, has_real_size, has_mtime, has_uid, has_gid, is_sparse;
};

void tar_pax_done(struct tar_pax *pax);
/* Forgets everything, then takes over what from says (NULL: nothing). */
void tar_pax_reset(struct tar_pax *pax, const struct tar_pax *from);
/* Adds the records of text, which is changed (decoded in place) and must outlive pax. */
MUST_CHECK int tar_pax_parse(struct tar_pax *pax, char *text, size_t len, struct err *err);
/* The attributes sorted by name, the last of each name only. */
size_t tar_pax_xattrs(struct tar_pax *pax, struct tar_xattr *ret_xattrs);

/* "1234.000000567", also negative; digits beyond nanoseconds are dropped. */
MUST_CHECK int tar_pax_time(struct view text, int64_t *ret_seconds, uint32_t *ret_ns);
