/* tar_sparse - the maps of sparse files: old GNU (type 'S'), and GNU.sparse 0.0, 0.1, 1.0 in pax.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/text.h"
#include "layer/tar.h"

struct feed;
struct tar_header;

struct tar_map {
	struct tar_extent *items; /* owned */
	size_t len, room;
};

void tar_map_done(struct tar_map *map);
MUST_CHECK int tar_map_add(struct tar_map *map, uint64_t offset, uint64_t len, struct err *err);
/* The map in a header of type 'S' and in the extension blocks that follow it in feed. */
MUST_CHECK int tar_map_read_old(struct tar_map *map, const struct tar_header *header,
	struct feed *feed, struct err *err);
/* "offset,length,offset,length": GNU.sparse.map of 0.1. */
MUST_CHECK int tar_map_read_list(struct tar_map *map, struct view text, struct err *err);
/* The map of 1.0, which precedes the content: decimal lines, padded to a block.  *stored is what
 * the archive has for map and content, and is left with the content's part. */
MUST_CHECK int tar_map_read_lines(struct tar_map *map, struct feed *feed, uint64_t *stored,
	struct err *err);
/* Ascending, disjoint, within size, and of stored bytes in sum; else ERR_DAMAGED. */
MUST_CHECK int tar_map_check(const struct tar_map *map, uint64_t size, uint64_t stored,
	struct err *err);
