/* tar_sparse - see tar_sparse.h.  Source: GNU tar manual, "Storing Sparse Files". */
#include "layer/tar_sparse.h"

#include <stdlib.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/num.h"
#include "layer/feed.h"
#include "layer/tar_header.h"

/* A block that continues an old GNU map. */
struct map_block {
	char extents[21][24];
	char is_extended;
	char pad[7];
};
static_assert(sizeof(struct map_block) == TAR_BLOCK, "GNU");

void tar_map_done(struct tar_map *map)
{
	free(map->items);
}

int tar_map_add(struct tar_map *map, uint64_t offset, uint64_t len, struct err *err)
{
	if (map->len >= LIMIT_SPARSE_EXTENTS)
		return err_set(err, ERR_LIMIT, "a sparse file has more than %d extents",
			LIMIT_SPARSE_EXTENTS);
	if (map->len == map->room) {
		map->room = map->room == 0 ? 32 : map->room * 2;
		map->items = mem_grow(map->items, map->room, sizeof(*map->items));
	}
	map->items[map->len++] = (struct tar_extent){ offset, len };
	return 0;
}

static int bad_map(struct err *err)
{
	return err_set(err, ERR_DAMAGED, "a sparse file has a malformed map");
}

/* Entries up to the first empty field. */
static int add_old_entries(struct tar_map *map, const char (*entries)[24], size_t len,
	struct err *err)
{
	for (size_t i = 0; i < len && entries[i][0] != 0; i++) {
		int64_t offset, bytes;
		if (tar_number(entries[i], 12, &offset) < 0 ||
			tar_number(entries[i] + 12, 12, &bytes) < 0 || offset < 0 || bytes < 0)
			return bad_map(err);
		int r = tar_map_add(map, (uint64_t)offset, (uint64_t)bytes, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int tar_map_read_old(struct tar_map *map, const struct tar_header *header, struct feed *feed,
	struct err *err)
{
	int r = add_old_entries(map, header->gnu.sparse, 4, err);
	bool more = header->gnu.is_extended != 0;
	while (r == 0 && more) {
		struct map_block block;
		size_t got;
		r = feed_read(feed, &block, sizeof(block), &got, err);
		if (r < 0)
			return r;
		if (got < sizeof(block))
			return bad_map(err);
		/* An empty block that promises another one could be repeated for ever. */
		if (block.extents[0][0] == 0)
			return bad_map(err);
		r = add_old_entries(map, block.extents, ARRAY_LEN(block.extents), err);
		more = block.is_extended != 0;
	}
	return r;
}

int tar_map_read_list(struct tar_map *map, struct view text, struct err *err)
{
	while (text.data != NULL && text.len > 0) {
		struct view offset = view_cut(&text, ',');
		struct view len = view_cut(&text, ',');
		uint64_t from, bytes;
		if (num_parse_u64(offset, INT64_MAX, &from) < 0 || len.data == NULL ||
			num_parse_u64(len, INT64_MAX, &bytes) < 0)
			return bad_map(err);
		int r = tar_map_add(map, from, bytes, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The decimal lines of a 1.0 map, block by block. */
struct lines {
	struct feed *feed;
	uint64_t *stored;
	char block[TAR_BLOCK];
	size_t at; /* in block; TAR_BLOCK: another one is needed */
};

static int next_number(struct lines *lines, uint64_t *ret, struct err *err)
{
	uint64_t value = 0;
	for (size_t digits = 0;; digits++) {
		if (lines->at == TAR_BLOCK) {
			size_t got;
			if (*lines->stored < TAR_BLOCK)
				return bad_map(err);
			int r = feed_read(lines->feed, lines->block, TAR_BLOCK, &got, err);
			if (r != 0)
				return r;
			if (got < TAR_BLOCK)
				return bad_map(err);
			*lines->stored -= TAR_BLOCK;
			lines->at = 0;
		}
		char c = lines->block[lines->at++];
		if (c == '\n' && digits > 0)
			break;
		if (c < '0' || c > '9' || digits >= 19)
			return bad_map(err);
		value = value * 10 + (uint64_t)(c - '0');
	}
	if (value > INT64_MAX)
		return bad_map(err);
	*ret = value;
	return 0;
}

int tar_map_read_lines(struct tar_map *map, struct feed *feed, uint64_t *stored, struct err *err)
{
	struct lines lines = { .feed = feed, .stored = stored, .at = TAR_BLOCK };
	uint64_t entries;
	int r = next_number(&lines, &entries, err);
	for (uint64_t i = 0; r == 0 && i < entries; i++) {
		uint64_t offset, len;
		r = next_number(&lines, &offset, err);
		if (r == 0)
			r = next_number(&lines, &len, err);
		if (r == 0)
			r = tar_map_add(map, offset, len, err);
	}
	return r;
}

int tar_map_check(const struct tar_map *map, uint64_t size, uint64_t stored, struct err *err)
{
	uint64_t end = 0, sum = 0;
	for (size_t i = 0; i < map->len; i++) {
		const struct tar_extent *extent = &map->items[i];
		/* Both are at most INT64_MAX: the sums cannot wrap. */
		if (extent->offset < end || extent->offset + extent->len > size)
			return bad_map(err);
		end = extent->offset + extent->len;
		sum += extent->len;
	}
	return sum == stored ? 0 : bad_map(err);
}
