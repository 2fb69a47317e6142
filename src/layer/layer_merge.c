/* layer_merge - the trees of several layers become one, by the rules of overlayfs: a whiteout
 * removes, an opaque directory hides what lower layers have in it, a directory over a directory
 * joins it and brings its own attributes, anything else replaces.  Data stay where they are: a file
 * of the merged image points into the image of its layer, which is an extra device.
 *
 * A directory that a layer only implies (an archive that has "a/b" and no "a") keeps the attributes
 * of the lower one, as unpacking onto it would. */
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/limits.h"
#include "base/mem.h"
#include "layer/erofs_format.h"
#include "layer/erofs_out.h"
#include "layer/erofs_read.h"
#include "layer/erofs_write.h"
#include "layer/erofs_xattr.h"
#include "layer/layer.h"
#include "layer/mount_points.h"
#include "layer/tree.h"

/* A directory of the layer whose names are still to be taken over. */
struct pending {
	uint32_t nid;
	uint32_t dir; /* in the merged tree */
};

/* Inodes of the layer with more than one name: a hash table from their numbers to the merged
 * tree's. */
struct links {
	struct pending *table; /* owned; nid 0: free */
	uint32_t len, used;
};

struct merger {
	struct tree tree;
	struct text scratch;
	struct erofs_device devices[LIMIT_LAYERS];

	/* Of the layer being merged. */
	struct erofs_reader *reader; /* owned */
	uint16_t device;
	struct links links;
	struct pending *queue; /* owned; used as a stack, the order does not matter */
	uint32_t queue_len, queue_room;
	uint32_t dir; /* whose names are being read */
	uint64_t names;
};

/* --- hard links --- */

static struct pending *links_place(const struct links *links, uint32_t nid)
{
	for (uint32_t at = nid * 2654435761u;; at++) {
		struct pending *place = &links->table[at & (links->len - 1)];
		if (place->nid == 0 || place->nid == nid)
			return place;
	}
}

static uint32_t links_find(const struct links *links, uint32_t nid)
{
	return links->len > 0 ? links_place(links, nid)->dir : TREE_NONE;
}

static int links_add(struct links *links, uint32_t nid, uint32_t inode, struct err *err)
{
	if (links->used >= links->len / 2) {
		struct links grown = { .len = links->len == 0 ? 256 : links->len * 2 };
		void *memory;
		int r = mem_try((uint64_t)grown.len * sizeof(*grown.table), UINT32_MAX, &memory,
			err);
		if (r < 0)
			return r;
		grown.table = memory;
		grown.used = links->used;
		for (uint32_t i = 0; i < links->len; i++) {
			if (links->table[i].nid != 0)
				*links_place(&grown, links->table[i].nid) = links->table[i];
		}
		free(links->table);
		*links = grown;
	}
	*links_place(links, nid) = (struct pending){ nid, inode };
	links->used++;
	return 0;
}

static int damaged(const struct merger *merger, const char *what, struct err *err)
{
	return err_set(err, ERR_DAMAGED, "the image of layer %u is damaged: %s", merger->device,
		what);
}

/* --- inodes --- */

/* Attributes of the layer's inode; those that steer overlayfs have done so by now. */
static int take_attributes(struct merger *merger, const struct erofs_info *info, struct view xattrs,
	uint32_t number, struct err *err)
{
	struct tree_inode *inode = tree_inode_at(&merger->tree, number);
	inode->mode = info->mode;
	inode->uid = info->uid;
	inode->gid = info->gid;
	inode->mtime = info->mtime;
	inode->mtime_ns = info->mtime_ns;
	return erofs_xattr_keep(&merger->tree, number, xattrs, &merger->scratch, err);
}

/* The runs of a file with holes. */
struct run_list {
	struct text bytes; /* of struct tree_run */
	struct tree_run last;
	uint32_t chunk_blocks_bits;
};

static void run_list_close(struct run_list *list)
{
	if (list->last.count > 0)
		text_add(&list->bytes, (const char *)&list->last, sizeof(list->last));
	list->last.count = 0;
}

static int run_list_add(void *context, uint32_t index, uint32_t block, struct err *err)
{
	struct run_list *list = context;
	struct tree_run *last = &list->last;
	if (list->bytes.len > LIMIT_LAYER_METADATA_BYTES / 2)
		return err_set(err, ERR_LIMIT, "a sparse file has too many pieces");
	if (block == EROFS_NULL_ADDRESS) {
		run_list_close(list);
		return 0;
	}
	bool joins = last->count > 0 &&
		     block == last->block + ((uint64_t)last->count << list->chunk_blocks_bits);
	if (joins) {
		last->count++;
		return 0;
	}
	run_list_close(list);
	*last = (struct tree_run){ .first = index, .count = 1, .block = block };
	return 0;
}

static int take_chunks(struct merger *merger, const struct erofs_info *info, uint32_t number,
	struct err *err)
{
	struct run_list list = { .chunk_blocks_bits = info->address & EROFS_CHUNK_BITS_MASK };
	int r = erofs_reader_chunks(merger->reader, info, run_list_add, &list, err);
	run_list_close(&list);
	uint32_t at = 0;
	if (r == 0)
		r = tree_keep(&merger->tree, text_string(&list.bytes), list.bytes.len, &at, err);
	struct tree_inode *inode = tree_inode_at(&merger->tree, number);
	inode->flags |= TREE_CHUNKED;
	inode->chunk_bits = (uint8_t)list.chunk_blocks_bits;
	inode->runs = at;
	inode->runs_len = (uint32_t)(list.bytes.len / sizeof(struct tree_run));
	text_done(&list.bytes);
	return r;
}

static int take_content(struct merger *merger, const struct erofs_info *info, uint32_t number,
	struct err *err)
{
	struct tree_inode *inode = tree_inode_at(&merger->tree, number);
	inode->size = info->size;
	switch (info->mode & S_IFMT) {
	case S_IFREG:
		inode->device = merger->device;
		inode->block = info->address;
		if (info->layout == EROFS_CHUNK_BASED)
			return take_chunks(merger, info, number, err);
		return 0;
	case S_IFLNK: {
		struct view target;
		uint32_t at;
		int r = erofs_reader_target(merger->reader, info, &target, err);
		if (r == 0)
			r = tree_keep(&merger->tree, target.data, target.len, &at, err);
		if (r == 0)
			tree_inode_at(&merger->tree, number)->target = at;
		return r;
	}
	case S_IFCHR:
	case S_IFBLK: inode->device_id = info->address; return 0;
	default: return 0;
	}
}

/* Something that is neither directory nor whiteout replaces what had the name. */
static int take_other(struct merger *merger, struct view name, const struct erofs_info *info,
	struct err *err)
{
	struct view xattrs;
	uint32_t number;
	int r = tree_inode_new(&merger->tree, &number, err);
	if (r == 0)
		r = erofs_reader_xattrs(merger->reader, info, &xattrs, err);
	if (r == 0)
		r = take_attributes(merger, info, xattrs, number, err);
	if (r == 0)
		r = take_content(merger, info, number, err);
	if (r == 0 && info->links > 1)
		r = links_add(&merger->links, info->nid, number, err);
	return r != 0 ? r : tree_set(&merger->tree, merger->dir, name, number, err);
}

/* --- directories --- */

static int queue_push(struct merger *merger, uint32_t nid, uint32_t dir)
{
	if (merger->queue_len == merger->queue_room) {
		merger->queue_room = merger->queue_room == 0 ? 256 : merger->queue_room * 2;
		merger->queue = mem_grow(merger->queue, merger->queue_room, sizeof(*merger->queue));
	}
	merger->queue[merger->queue_len++] = (struct pending){ nid, dir };
	return 0;
}

/* Joins the layer's directory with number, or with nothing (TREE_NONE); *ret is the result. */
static int join_dir(struct merger *merger, uint32_t parent, uint32_t number,
	const struct erofs_info *info, uint32_t *ret, struct err *err)
{
	struct view xattrs;
	uint8_t flags = 0;
	int r = erofs_reader_xattrs(merger->reader, info, &xattrs, err);
	if (r == 0)
		r = erofs_xattr_marks(xattrs, &flags, err);
	if (r < 0)
		return r;
	bool is_new = number == TREE_NONE || (flags & TREE_OPAQUE);
	if (is_new)
		r = tree_dir_new(&merger->tree, parent, &number, err);
	if (r == 0 && (is_new || !(flags & TREE_IMPLICIT)))
		r = take_attributes(merger, info, xattrs, number, err);
	if (r == 0)
		r = queue_push(merger, info->nid, number);
	if (r == 0)
		*ret = number;
	return r;
}

static int take_dir(struct merger *merger, struct view name, const struct erofs_info *info,
	struct err *err)
{
	if (info->links < 2)
		return damaged(merger, "a directory without a link", err);
	/* More than one name for a directory would be a cycle, or two parents. */
	if (links_find(&merger->links, info->nid) != TREE_NONE)
		return damaged(merger, "a directory has two names", err);
	uint32_t old = tree_find(&merger->tree, merger->dir, name);
	if (old != TREE_NONE && !tree_is_dir(&merger->tree, old))
		old = TREE_NONE;
	uint32_t number;
	int r = join_dir(merger, merger->dir, old, info, &number, err);
	if (r == 0)
		r = links_add(&merger->links, info->nid, number, err);
	return r != 0 ? r : tree_set(&merger->tree, merger->dir, name, number, err);
}

static int take_name(void *context, struct view name, uint32_t nid, struct err *err)
{
	struct merger *merger = context;
	struct erofs_info info;
	if (++merger->names > LIMIT_LAYER_ENTRIES)
		return err_set(err, ERR_LIMIT, "layer %u has more than %d names", merger->device,
			LIMIT_LAYER_ENTRIES);
	uint32_t known = links_find(&merger->links, nid);
	if (known != TREE_NONE && !tree_is_dir(&merger->tree, known))
		return tree_set(&merger->tree, merger->dir, name, known, err);
	int r = erofs_reader_inode(merger->reader, nid, &info, err);
	if (r < 0)
		return r;
	if (S_ISDIR(info.mode))
		return take_dir(merger, name, &info, err);
	if (S_ISCHR(info.mode) && info.address == 0)
		return tree_set(&merger->tree, merger->dir, name, TREE_NONE, err);
	return take_other(merger, name, &info, err);
}

static int take_names(struct merger *merger, struct err *err)
{
	struct erofs_info info;
	int r = 0;
	while (r == 0 && merger->queue_len > 0) {
		struct pending next = merger->queue[--merger->queue_len];
		merger->dir = next.dir;
		r = erofs_reader_inode(merger->reader, next.nid, &info, err);
		if (r == 0)
			r = erofs_reader_names(merger->reader, &info, take_name, merger, err);
	}
	return r;
}

/* --- layers --- */

static int take_root(struct merger *merger, struct err *err)
{
	struct erofs_info info;
	uint32_t nid = erofs_reader_root(merger->reader);
	int r = erofs_reader_inode(merger->reader, nid, &info, err);
	if (r < 0)
		return r;
	if (!S_ISDIR(info.mode) || nid == 0)
		return damaged(merger, "its root is not a directory", err);
	uint32_t root = merger->tree.root;
	r = join_dir(merger, TREE_NONE, root, &info, &root, err);
	if (r == 0)
		r = links_add(&merger->links, nid, root, err);
	merger->tree.root = root;
	return r;
}

static void describe_device(struct merger *merger)
{
	static const char hex[] = "0123456789abcdef";
	struct erofs_device *device = &merger->devices[merger->device - 1];
	const uint8_t *uuid = erofs_reader_uuid(merger->reader);
	device->blocks = htole32(erofs_reader_blocks(merger->reader));
	for (size_t i = 0; i < 16; i++) {
		device->tag[2 * i] = (uint8_t)hex[uuid[i] >> 4];
		device->tag[2 * i + 1] = (uint8_t)hex[uuid[i] & 15];
	}
}

static int merge_layer(struct merger *merger, int fd, struct err *err)
{
	merger->device++;
	merger->queue_len = 0;
	merger->names = 0;
	int r = erofs_reader_new(fd, &merger->reader, err);
	if (r == 0) {
		describe_device(merger);
		r = take_root(merger, err);
	}
	if (r == 0)
		r = take_names(merger, err);
	erofs_reader_free(TAKE(merger->reader));
	free(merger->links.table);
	merger->links = (struct links){ 0 };
	return r;
}

/* Tells merged images of different layers apart. */
static int merged_uuid(const struct merger *merger, size_t len, uint8_t uuid[16], struct err *err)
{
	struct view table = { (const char *)merger->devices, len * sizeof(*merger->devices) };
	struct digest digest;
	int r = digest_of(table, &digest, err);
	if (r == 0)
		erofs_write_uuid(&digest, uuid);
	return r;
}

static int merge(struct merger *merger, const int *layer_fds, size_t layers_len, int out_fd,
	uint64_t *ret_bytes, struct err *err)
{
	int r = tree_init(&merger->tree, err);
	for (size_t i = 0; r == 0 && i < layers_len; i++) {
		r = merge_layer(merger, layer_fds[i], err);
		if (r < 0)
			return err_wrap(err, r, "layer %zu", i + 1);
	}
	if (r == 0)
		r = mount_points_add(&merger->tree, err);
	struct erofs_volume volume = { .devices = merger->devices, .devices_len = layers_len };
	if (r == 0)
		r = merged_uuid(merger, layers_len, volume.uuid, err);
	if (r < 0)
		return r;
	struct erofs_out out;
	erofs_out_init(&out, out_fd, erofs_write_start(layers_len));
	r = erofs_write(&merger->tree, &out, &volume, ret_bytes, err);
	erofs_out_done(&out);
	return r;
}

int layer_merge(const int *layer_fds, size_t layers_len, int out_fd, uint64_t *ret_bytes,
	struct err *err)
{
	if (layers_len == 0 || layers_len > LIMIT_LAYERS)
		return err_set(err, ERR_LIMIT, "an image has 1 to %d layers, not %zu", LIMIT_LAYERS,
			layers_len);
	struct merger *merger = NEW(merger);
	int r = merge(merger, layer_fds, layers_len, out_fd, ret_bytes, err);
	tree_done(&merger->tree);
	text_done(&merger->scratch);
	free(merger->queue);
	free(merger);
	return r;
}
