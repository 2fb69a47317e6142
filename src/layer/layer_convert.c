/* layer_convert - a layer's tar stream becomes an EROFS image, in one pass.
 *
 *     file -> tap (blob hash, blob copy) =ring=> decompressor =ring=> diff-id hash, tar, image
 *
 * A ring (feed.h) is a border between threads.  Contents are written the moment they come by; names
 * and attributes are kept in a tree and written at the end.
 *
 * What an archive means, where the formats leave it open, follows Docker and containerd:
 *
 * - Names are taken from the root: leading "/" and "./" mean nothing.  ".." is refused.
 * - The last entry of a name counts; a directory declared again keeps its children.
 * - A name whose parent is a symlink of the same layer is followed, inside the tree: "/" is the
 *   tree's root and ".." stops there, as for a process in the unpacked container.  The tree is
 *   virtual, so there is nothing outside to reach.  A parent of another type is an error.
 * - ".wh.NAME" deletes NAME of lower layers, and only of those: if this layer also has NAME, in
 *   whatever order, NAME stays, and if it is a directory it is opaque (OCI image-spec, layer.md).
 * - A hard link gives one more name to an entry that came before; attributes that its own header
 *   repeats are ignored. */
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/limits.h"
#include "base/mem.h"
#include "layer/erofs_format.h"
#include "layer/erofs_out.h"
#include "layer/erofs_write.h"
#include "layer/erofs_xattr.h"
#include "layer/feed.h"
#include "layer/layer.h"
#include "layer/layer_stream.h"
#include "layer/sparse_plan.h"
#include "layer/tar.h"
#include "layer/tree.h"

#define WHITEOUT ".wh."
#define WHITEOUT_META ".wh..wh." /* aufs' own; only .opq has a meaning today */
#define SYMLINKS_MAX 40

struct converter {
	struct tree tree;
	struct erofs_out out;
	struct tar *tar;   /* owned */
	struct feed *feed; /* owned */
	struct text path;  /* scratch: what is left of the path being resolved */
	struct text xattrs;
	uint64_t entries;
};

/* For messages: an archive's name may be long. */
static int entry_error(struct err *err, enum err_kind kind, const struct tar_entry *entry,
	const char *why)
{
	return err_set(err, kind, "tar entry \"%.*s\"%s: %s",
		(int)(entry->name.len < 200 ? entry->name.len : 200), entry->name.data,
		entry->name.len < 200 ? "" : "...", why);
}

/* --- paths --- */

/* The next component of *path, empty ones and "." passed over; len 0: there is none. */
static struct view next_component(struct view *path)
{
	while (path->data != NULL && path->len > 0) {
		struct view part = view_cut(path, '/');
		if (part.len > 0 && !view_is(part, "."))
			return part;
	}
	return (struct view){ "", 0 };
}

static bool is_last(struct view rest)
{
	return next_component(&rest).len == 0;
}

static int check_path(struct view path, const struct tar_entry *entry, struct err *err)
{
	if (path.len > LIMIT_PATH_BYTES)
		return entry_error(err, ERR_LIMIT, entry, "its path has more than 65536 bytes");
	for (;;) {
		struct view part = next_component(&path);
		if (part.len == 0)
			return 0;
		if (view_is(part, ".."))
			return entry_error(err, ERR_INVALID, entry, "\"..\" in a path is refused");
		if (part.len > LIMIT_NAME_BYTES)
			return entry_error(err, ERR_LIMIT, entry,
				"a name in its path has more than 255 bytes");
	}
}

struct resolver {
	struct converter *converter;
	const struct tar_entry *entry; /* for messages */
	uint32_t dir;
	struct view rest; /* of converter->path, or of the archive's text before the first link */
	unsigned links;
	bool create; /* make missing directories */
};

/* dir/name is a symlink: its target takes the name's place in the path. */
static int follow(struct resolver *resolver, uint32_t link, struct err *err)
{
	struct tree *tree = &resolver->converter->tree;
	const struct tree_inode *inode = tree_inode_at(tree, link);
	if (++resolver->links > SYMLINKS_MAX)
		return entry_error(err, ERR_INVALID, resolver->entry,
			"too many symlinks in its path");
	AUTO_DONE(text) path = { 0 };
	text_add(&path, tree->arena + inode->target, (size_t)inode->size);
	text_puts(&path, "/");
	text_add(&path, resolver->rest.data, resolver->rest.len);
	if (path.len > (size_t)2 * LIMIT_PATH_BYTES)
		return entry_error(err, ERR_LIMIT, resolver->entry,
			"its path is too long with its symlinks followed");
	if (path.data[0] == '/')
		resolver->dir = tree->root;
	struct text old = resolver->converter->path;
	resolver->converter->path = path;
	path = old;
	resolver->rest = view_of_text(&resolver->converter->path);
	return 0;
}

static int make_implicit(struct resolver *resolver, struct view name, bool opaque, struct err *err)
{
	struct tree *tree = &resolver->converter->tree;
	uint32_t dir;
	int r = tree_dir_new(tree, resolver->dir, &dir, err);
	if (r == 0)
		r = tree_set(tree, resolver->dir, name, dir, err);
	if (r < 0)
		return r;
	if (opaque)
		tree_inode_at(tree, dir)->flags |= TREE_OPAQUE;
	resolver->dir = dir;
	return 0;
}

/* One step down to name, which is not the last component. */
static int descend(struct resolver *resolver, struct view name, struct err *err)
{
	struct tree *tree = &resolver->converter->tree;
	if (view_is(name, "..")) {
		/* From a symlink's target: check_path() has kept it out of the archive's own. */
		resolver->dir = tree_inode_at(tree, resolver->dir)->parent;
		return 0;
	}
	uint32_t found = tree_find(tree, resolver->dir, name);
	if (found != TREE_NONE && tree_is_dir(tree, found)) {
		resolver->dir = found;
		return 0;
	}
	if (found != TREE_NONE && S_ISLNK(tree_inode_at(tree, found)->mode))
		return follow(resolver, found, err);
	bool deleted = found != TREE_NONE && tree_is_whiteout(tree, found);
	if (found != TREE_NONE && !deleted)
		return entry_error(err, ERR_INVALID, resolver->entry,
			"its parent is not a directory");
	if (!resolver->create)
		return entry_error(err, ERR_NOT_FOUND, resolver->entry,
			"the target of the hard link is not in this layer");
	return make_implicit(resolver, name, deleted, err);
}

/* The directory that holds path's last component, and that component (len 0: path is the root). */
static int resolve(struct converter *converter, struct view path, bool create,
	const struct tar_entry *entry, uint32_t *ret_dir, struct view *ret_name, struct err *err)
{
	struct resolver resolver = {
		.converter = converter,
		.entry = entry,
		.dir = converter->tree.root,
		.rest = path,
		.create = create,
	};
	int r = check_path(path, entry, err);
	struct view name = { "", 0 };
	while (r == 0) {
		name = next_component(&resolver.rest);
		if (name.len == 0 || is_last(resolver.rest))
			break;
		r = descend(&resolver, name, err);
	}
	if (r < 0)
		return r;
	*ret_dir = resolver.dir;
	*ret_name = name;
	return 0;
}

/* --- attributes --- */

/* Linux has no "user." attributes on symlinks and special files; Docker drops them as well. */
static bool may_have(mode_t type, struct view xattr)
{
	return type == S_IFREG || type == S_IFDIR || !view_starts(xattr, "user.");
}

static int keep_xattrs(struct converter *converter, const struct tar_entry *entry, uint32_t number,
	mode_t type, struct err *err)
{
	AUTO_DONE(text) body = { 0 };
	int r = 0;
	for (size_t i = 0; r == 0 && i < entry->xattrs_len; i++) {
		if (may_have(type, entry->xattrs[i].name))
			r = erofs_xattr_add(&body, entry->xattrs[i].name, entry->xattrs[i].value,
				err);
	}
	/* Those of overlayfs are forged, and dropped here. */
	if (r == 0)
		r = erofs_xattr_keep(&converter->tree, number, view_of_text(&body),
			&converter->xattrs, err);
	return r < 0 ? err_wrap(err, r, "tar entry \"%.*s\"",
			       (int)(entry->name.len < 200 ? entry->name.len : 200),
			       entry->name.data)
		     : 0;
}

static int fill_inode(struct converter *converter, const struct tar_entry *entry, uint32_t number,
	mode_t type, struct err *err)
{
	struct tree_inode *inode = tree_inode_at(&converter->tree, number);
	inode->mode = (uint16_t)(type | entry->mode);
	inode->uid = entry->uid;
	inode->gid = entry->gid;
	inode->mtime = entry->mtime;
	inode->mtime_ns = entry->mtime_ns;
	return keep_xattrs(converter, entry, number, type, err);
}

/* --- one function for each type --- */

struct place {
	const struct tar_entry *entry;
	uint32_t dir;
	struct view name; /* len 0: the root itself */
	uint32_t old;     /* what has the name now, or TREE_NONE */
};

static int put_dir(struct converter *converter, const struct place *place, struct err *err)
{
	struct tree *tree = &converter->tree;
	uint32_t number = place->name.len == 0 ? tree->root : place->old;
	if (number == TREE_NONE || !tree_is_dir(tree, number)) {
		bool opaque = number != TREE_NONE && tree_is_whiteout(tree, number);
		int r = tree_dir_new(tree, place->dir, &number, err);
		if (r == 0)
			r = tree_set(tree, place->dir, place->name, number, err);
		if (r < 0)
			return r;
		if (opaque)
			tree_inode_at(tree, number)->flags |= TREE_OPAQUE;
	}
	tree_inode_at(tree, number)->flags &= (uint8_t)~TREE_IMPLICIT;
	return fill_inode(converter, place->entry, number, S_IFDIR, err);
}

/* Makes a new inode stand for the name. */
static int put_new(struct converter *converter, const struct place *place, mode_t type,
	uint32_t *ret, struct err *err)
{
	if (place->name.len == 0)
		return entry_error(err, ERR_INVALID, place->entry,
			"the root can only be a directory");
	int r = tree_inode_new(&converter->tree, ret, err);
	if (r == 0)
		r = fill_inode(converter, place->entry, *ret, type, err);
	if (r == 0)
		r = tree_set(&converter->tree, place->dir, place->name, *ret, err);
	return r;
}

static int copy_bytes(struct converter *converter, uint64_t len, struct err *err)
{
	while (len > 0) {
		struct view part;
		int r = tar_data(converter->tar, len, &part, err);
		if (r < 0)
			return r;
		CHECK(part.len > 0); /* the reader has checked that a map's sum is the content */
		r = erofs_out_write(&converter->out, part.data, part.len, err);
		if (r < 0)
			return r;
		len -= part.len;
	}
	return 0;
}

/* Writes the content of a sparse file run by run, zeros where an extent leaves a gap in one. */
static int copy_runs(struct converter *converter, const struct tar_entry *entry,
	struct sparse_plan *plan, struct err *err)
{
	size_t next = 0;
	int r = 0;
	for (size_t i = 0; r == 0 && i < plan->runs_len; i++) {
		uint64_t at, end;
		plan->runs[i].block = (uint32_t)(erofs_out_position(&converter->out) / EROFS_BLOCK);
		sparse_plan_range(plan, i, &at, &end);
		for (; r == 0 && next < entry->extents_len; next++) {
			const struct tar_extent *extent = &entry->extents[next];
			if (extent->len == 0)
				continue;
			if (extent->offset >= end)
				break;
			r = erofs_out_zeros(&converter->out, extent->offset - at, err);
			if (r == 0)
				r = copy_bytes(converter, extent->len, err);
			at = extent->offset + extent->len;
		}
		if (r == 0)
			r = erofs_out_zeros(&converter->out, end - at, err);
	}
	return r;
}

static int put_sparse(struct converter *converter, const struct tar_entry *entry, uint32_t number,
	struct err *err)
{
	struct sparse_plan plan;
	int r = sparse_plan_make(entry->extents, entry->extents_len, entry->size, &plan, err);
	AUTO_FREE struct tree_run *runs = plan.runs;
	if (r == 0)
		r = copy_runs(converter, entry, &plan, err);
	if (r != 0 || !plan.has_holes)
		return r;
	uint32_t at;
	r = tree_keep(&converter->tree, plan.runs, plan.runs_len * sizeof(*plan.runs), &at, err);
	if (r != 0)
		return r;
	struct tree_inode *inode = tree_inode_at(&converter->tree, number);
	inode->flags |= TREE_CHUNKED;
	inode->chunk_bits = plan.chunk_bits;
	inode->runs = at;
	inode->runs_len = (uint32_t)plan.runs_len;
	return 0;
}

static int put_file(struct converter *converter, const struct place *place, struct err *err)
{
	const struct tar_entry *entry = place->entry;
	uint32_t number;
	int r = put_new(converter, place, S_IFREG, &number, err);
	if (r != 0)
		return r;
	struct tree_inode *inode = tree_inode_at(&converter->tree, number);
	inode->size = entry->size;
	inode->block = (uint32_t)(erofs_out_position(&converter->out) / EROFS_BLOCK);
	if (entry->sparse)
		return put_sparse(converter, entry, number, err);
	r = copy_bytes(converter, entry->stored, err);
	return r < 0 ? r : erofs_out_align(&converter->out, EROFS_BLOCK, err);
}

static int put_symlink(struct converter *converter, const struct place *place, struct err *err)
{
	struct view target = place->entry->link_name;
	if (target.len == 0 || target.len >= EROFS_BLOCK)
		return entry_error(err, ERR_INVALID, place->entry,
			"a symlink's target must have 1 to 4095 bytes");
	uint32_t number, at;
	int r = put_new(converter, place, S_IFLNK, &number, err);
	if (r == 0)
		r = tree_keep(&converter->tree, target.data, target.len, &at, err);
	if (r != 0)
		return r;
	struct tree_inode *inode = tree_inode_at(&converter->tree, number);
	inode->mode = S_IFLNK | 0777; /* what Linux shows for every symlink */
	inode->size = target.len;
	inode->target = at;
	return 0;
}

static int put_hard_link(struct converter *converter, const struct place *place, struct err *err)
{
	uint32_t dir;
	struct view name;
	int r = resolve(converter, place->entry->link_name, false, place->entry, &dir, &name, err);
	if (r < 0)
		return r;
	uint32_t target = name.len > 0 ? tree_find(&converter->tree, dir, name) : TREE_NONE;
	if (target == TREE_NONE || tree_is_whiteout(&converter->tree, target))
		return entry_error(err, ERR_NOT_FOUND, place->entry,
			"the target of the hard link is not in this layer");
	if (tree_is_dir(&converter->tree, target))
		return entry_error(err, ERR_INVALID, place->entry,
			"the target of the hard link is a directory");
	if (place->name.len == 0)
		return entry_error(err, ERR_INVALID, place->entry,
			"the root can only be a directory");
	return tree_set(&converter->tree, place->dir, place->name, target, err);
}

static int put_special(struct converter *converter, const struct place *place, mode_t type,
	struct err *err)
{
	const struct tar_entry *entry = place->entry;
	/* A whiteout is spelled ".wh."; the device that stands for one here is forged. */
	if (type == S_IFCHR && entry->major == 0 && entry->minor == 0)
		return 0;
	uint32_t number;
	int r = put_new(converter, place, type, &number, err);
	if (r != 0 || type == S_IFIFO)
		return r;
	/* Linux new_encode_dev(). */
	tree_inode_at(&converter->tree, number)->device_id =
		(entry->minor & 0xff) | entry->major << 8 | (entry->minor & ~0xffu) << 12;
	return 0;
}

static int put_whiteout(struct converter *converter, const struct place *place, struct err *err)
{
	struct tree *tree = &converter->tree;
	struct view name = place->name;
	name.data += strlen(WHITEOUT);
	name.len -= strlen(WHITEOUT);
	if (name.len == 0 || view_is(name, ".") || view_is(name, ".."))
		return entry_error(err, ERR_INVALID, place->entry, "a whiteout without a name");
	uint32_t old = tree_find(tree, place->dir, name);
	if (old != TREE_NONE) {
		/* This layer's own NAME stays; as a directory it hides the lower one. */
		if (tree_is_dir(tree, old))
			tree_inode_at(tree, old)->flags |= TREE_OPAQUE;
		return 0;
	}
	uint32_t number;
	int r = tree_inode_new(tree, &number, err);
	if (r < 0)
		return r;
	tree_inode_at(tree, number)->mode = S_IFCHR;
	return tree_set(tree, place->dir, name, number, err);
}

static int put(struct converter *converter, const struct place *place, struct err *err)
{
	switch (place->entry->type) {
	case '0': return put_file(converter, place, err);
	case '1': return put_hard_link(converter, place, err);
	case '2': return put_symlink(converter, place, err);
	case '3': return put_special(converter, place, S_IFCHR, err);
	case '4': return put_special(converter, place, S_IFBLK, err);
	case '5': return put_dir(converter, place, err);
	default: return put_special(converter, place, S_IFIFO, err);
	}
}

/* Is some component of path, the last one excepted, a whiteout's name?  *ret_meta: one of aufs. */
static bool passes_whiteout(struct view path, bool *ret_meta)
{
	*ret_meta = false;
	for (;;) {
		struct view part = next_component(&path);
		if (part.len == 0 || is_last(path))
			return false;
		if (view_starts(part, WHITEOUT)) {
			*ret_meta = view_starts(part, WHITEOUT_META);
			return true;
		}
	}
}

static int add(struct converter *converter, const struct tar_entry *entry, struct err *err)
{
	bool meta;
	if (passes_whiteout(entry->name, &meta))
		return meta ? 0
			    : entry_error(err, ERR_INVALID, entry,
				      "a whiteout cannot be a directory");
	struct place place = { .entry = entry };
	int r = resolve(converter, entry->name, true, entry, &place.dir, &place.name, err);
	if (r < 0)
		return r;
	if (view_is(place.name, WHITEOUT_META ".opq")) {
		tree_inode_at(&converter->tree, place.dir)->flags |= TREE_OPAQUE;
		return 0;
	}
	if (view_starts(place.name, WHITEOUT_META))
		return 0;
	if (view_starts(place.name, WHITEOUT))
		return put_whiteout(converter, &place, err);
	if (place.name.len > 0)
		place.old = tree_find(&converter->tree, place.dir, place.name);
	return put(converter, &place, err);
}

/* --- the whole --- */

/* Flags of directories as attributes, which is how overlayfs and layer_merge() see them. */
static int mark_dirs(struct converter *converter, struct err *err)
{
	struct tree *tree = &converter->tree;
	for (uint32_t i = 1; i < tree->inodes_len; i++) {
		uint8_t flags = tree->inodes[i].flags & (TREE_OPAQUE | TREE_IMPLICIT);
		if (flags == 0 || !tree_is_dir(tree, i))
			continue;
		int r = erofs_xattr_mark(tree, i, flags, &converter->xattrs, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_entries(struct converter *converter, struct err *err)
{
	for (;;) {
		struct tar_entry entry;
		int r = tar_next(converter->tar, &entry, err);
		if (r <= 0)
			return r;
		if (++converter->entries > LIMIT_LAYER_ENTRIES)
			return err_set(err, ERR_LIMIT, "a layer has more than %d entries",
				LIMIT_LAYER_ENTRIES);
		r = add(converter, &entry, err);
		if (r < 0)
			return r;
	}
}

static int convert(struct converter *converter, struct digest_hash *tar_hash,
	struct layer_result *result, struct err *err)
{
	int r = read_entries(converter, err);
	/* The digest covers what follows the archive's end as well. */
	if (r == 0)
		r = feed_drain(converter->feed, err);
	if (r == 0)
		r = mark_dirs(converter, err);
	if (r < 0)
		return r;
	struct erofs_volume volume = { 0 };
	digest_hash_end(tar_hash, &result->diff_id);
	erofs_write_uuid(&result->diff_id, volume.uuid);
	result->tar_bytes = feed_position(converter->feed);
	result->entries = converter->entries;
	return erofs_write(&converter->tree, &converter->out, &volume, &result->erofs_bytes, err);
}

int layer_convert(const struct layer_job *job, struct layer_result *ret_result, struct err *err)
{
	AUTO(digest_hash) blob_hash = NULL;
	AUTO(digest_hash) tar_hash = NULL;
	int r = digest_hash_new(&blob_hash, err);
	if (r == 0)
		r = digest_hash_new(&tar_hash, err);
	if (r < 0)
		return r;

	struct layer_result result = { 0 };
	struct layer_stream stream = {
		.fd = job->source_fd,
		.offset = job->offset,
		.size = job->size,
		.compression = job->compression,
		.blob_fd = job->blob_fd,
		.blob_hash = blob_hash,
		.blob_bytes = &result.blob_bytes,
		.tar_hash = tar_hash,
		.threaded = true,
	};
	struct converter converter = { 0 };
	r = layer_stream_open(&stream, &converter.feed, err);
	if (r < 0)
		return r;
	r = tree_init(&converter.tree, err);
	erofs_out_init(&converter.out, job->erofs_fd, erofs_write_start(0));
	converter.tar = tar_new(converter.feed);
	if (r == 0)
		r = convert(&converter, tar_hash, &result, err);

	tar_free(converter.tar);
	feed_free(converter.feed); /* joins the threads: the blob's hash and count are complete */
	tree_done(&converter.tree);
	erofs_out_done(&converter.out);
	text_done(&converter.path);
	text_done(&converter.xattrs);
	if (r < 0)
		return r;
	digest_hash_end(blob_hash, &result.blob);
	*ret_result = result;
	return 0;
}
