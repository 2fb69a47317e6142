/* erofs_write - see erofs_write.h.  An image is, in this order,
 *
 *     block 0          superblock at 1024, device table behind it
 *     data             of files, each from a block of its own on (written by the caller)
 *     blocks           whole blocks of directories, and what of symlinks cannot stand inline
 *     inodes           each with its attributes, then the inline tail or the chunk table
 *
 * Everything is laid out before anything is written, in the order of tree_order(), so that both
 * passes go through memory and file from front to back.  An inode together with its inline tail
 * never crosses a block: the kernel wants the tail in one piece. */
#include "layer/erofs_write.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "layer/erofs_format.h"
#include "layer/erofs_out.h"
#include "layer/tree.h"

struct writer {
	struct tree *tree;     /* borrowed */
	struct erofs_out *out; /* borrowed */
	uint32_t *order;       /* owned */
	uint32_t order_len;
	uint32_t meta_block; /* where the inodes start */
	bool chunked;        /* some file is */
};

static uint8_t hex_value(char c)
{
	return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

void erofs_write_uuid(const struct digest *digest, uint8_t uuid[16])
{
	for (size_t i = 0; i < 16; i++)
		uuid[i] = (uint8_t)(hex_value(digest->hex[2 * i]) << 4 |
				    hex_value(digest->hex[2 * i + 1]));
}

uint64_t erofs_write_start(size_t devices_len)
{
	uint64_t bytes = EROFS_SUPER_OFFSET + sizeof(struct erofs_super) +
			 devices_len * sizeof(struct erofs_device);
	return (bytes + EROFS_BLOCK - 1) & ~(uint64_t)(EROFS_BLOCK - 1);
}

/* --- directories --- */

/* Goes through the names of a directory in order; "." and ".." have their place among them. */
struct dir_cursor {
	const struct tree *tree;
	uint32_t dir;
	uint32_t next; /* entry */
	unsigned dots; /* how many of "." and ".." were given out */
};

struct dir_name {
	struct view name;
	uint32_t inode;
};

static int compare_names(struct view a, struct view b)
{
	int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);
	return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static bool dir_cursor_peek(const struct dir_cursor *cursor, struct dir_name *ret)
{
	static const struct view dots[2] = { { ".", 1 }, { "..", 2 } };
	const struct tree_entry *entry =
		cursor->next != TREE_NONE ? &cursor->tree->entries[cursor->next] : NULL;
	if (cursor->dots < 2 && (entry == NULL || compare_names(dots[cursor->dots],
							  tree_name(cursor->tree, entry)) < 0)) {
		const struct tree_inode *dir = tree_inode_at(cursor->tree, cursor->dir);
		*ret = (struct dir_name){
			.name = dots[cursor->dots],
			.inode = cursor->dots == 0 ? cursor->dir : dir->parent,
		};
		return true;
	}
	if (entry == NULL)
		return false;
	*ret = (struct dir_name){ tree_name(cursor->tree, entry), entry->inode };
	return true;
}

static void dir_cursor_advance(struct dir_cursor *cursor, const struct dir_name *at)
{
	if (cursor->dots < 2 && at->name.data[0] == '.' && at->name.len == cursor->dots + 1 &&
		(at->name.len == 1 || at->name.data[1] == '.'))
		cursor->dots++;
	else
		cursor->next = cursor->tree->entries[cursor->next].next;
}

static struct dir_cursor dir_cursor_of(const struct tree *tree, uint32_t dir)
{
	return (struct dir_cursor){
		.tree = tree,
		.dir = dir,
		.next = tree_inode_at(tree, dir)->first_child,
	};
}

/* Moves cursor over the names that fit into one block; returns the bytes they use there. */
static uint32_t dir_block_fill(struct dir_cursor *cursor, uint32_t *ret_count)
{
	uint32_t used = 0, count = 0;
	struct dir_name name;
	while (dir_cursor_peek(cursor, &name)) {
		uint32_t need = (uint32_t)(sizeof(struct erofs_dirent) + name.name.len);
		if (used + need > EROFS_BLOCK)
			break;
		used += need;
		count++;
		dir_cursor_advance(cursor, &name);
	}
	*ret_count = count;
	return used;
}

static uint8_t dirent_type(uint16_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG: return 1;
	case S_IFDIR: return 2;
	case S_IFCHR: return 3;
	case S_IFBLK: return 4;
	case S_IFIFO: return 5;
	case S_IFSOCK: return 6;
	case S_IFLNK: return 7;
	default: return 0;
	}
}

/* Composes the block of the next names; returns the bytes used, the rest is zero. */
static uint32_t dir_block_compose(struct dir_cursor *cursor, uint8_t block[EROFS_BLOCK])
{
	struct dir_cursor ahead = *cursor;
	uint32_t count;
	uint32_t used = dir_block_fill(&ahead, &count);
	uint32_t name_at = count * (uint32_t)sizeof(struct erofs_dirent);
	memset(block + used, 0, EROFS_BLOCK - used);
	for (uint32_t i = 0; i < count; i++) {
		struct dir_name name;
		CHECK(dir_cursor_peek(cursor, &name)); /* ahead has counted it */
		const struct tree_inode *inode = tree_inode_at(cursor->tree, name.inode);
		struct erofs_dirent dirent = {
			.nid = htole64(inode->nid),
			.name_offset = htole16((uint16_t)name_at),
			.type = dirent_type(inode->mode),
		};
		memcpy(block + i * sizeof(dirent), &dirent, sizeof(dirent));
		memcpy(block + name_at, name.name.data, name.name.len);
		name_at += (uint32_t)name.name.len;
		dir_cursor_advance(cursor, &name);
	}
	return used;
}

static uint64_t dir_size(const struct tree *tree, uint32_t dir)
{
	struct dir_cursor cursor = dir_cursor_of(tree, dir);
	uint64_t blocks = 0;
	uint32_t count, used = 0;
	for (;;) {
		uint32_t next = dir_block_fill(&cursor, &count);
		if (count == 0)
			return (blocks - 1) * EROFS_BLOCK + used;
		used = next;
		blocks++;
	}
}

/* --- layout --- */

/* What stands in front of the inline tail or the chunk table. */
static uint32_t xattr_bytes(const struct tree *tree, const struct tree_inode *inode)
{
	uint32_t len = 0;
	if (inode->xattrs != 0)
		memcpy(&len, tree->arena + inode->xattrs, sizeof(len));
	return len;
}

static bool has_inline_data(const struct tree_inode *inode)
{
	return S_ISDIR(inode->mode) || S_ISLNK(inode->mode);
}

static uint32_t inline_bytes(const struct tree_inode *inode)
{
	return inode->layout == EROFS_FLAT_INLINE ? inode->size % EROFS_BLOCK : 0;
}

static bool is_chunk_based(const struct tree_inode *inode)
{
	return (inode->flags & TREE_CHUNKED) || (S_ISREG(inode->mode) && inode->device != 0);
}

/* Entries of an image's own chunk tables are bare addresses; those that name a device are wider. */
static uint32_t chunk_unit(const struct tree_inode *inode)
{
	return inode->device != 0 ? sizeof(struct erofs_chunk) : sizeof(uint32_t);
}

static uint64_t chunk_count(const struct tree_inode *inode)
{
	unsigned bits = EROFS_BLOCK_BITS + inode->chunk_bits;
	return inode->size == 0 ? 0 : ((inode->size - 1) >> bits) + 1;
}

/* One chunk for the whole of a file that lies in one piece. */
static uint8_t whole_chunk_bits(uint64_t size)
{
	uint8_t bits = 0;
	while (size > (uint64_t)EROFS_BLOCK << bits)
		bits++;
	return bits;
}

/* Decides how the data of an inode is stored, and gives it its whole blocks at *block. */
static void lay_out_data(struct writer *writer, uint32_t number, uint64_t *block)
{
	struct tree_inode *inode = tree_inode_at(writer->tree, number);
	if (S_ISDIR(inode->mode))
		inode->size = dir_size(writer->tree, number);
	if (is_chunk_based(inode) && inode->size > 0) {
		inode->layout = EROFS_CHUNK_BASED;
		if (!(inode->flags & TREE_CHUNKED))
			inode->chunk_bits = whole_chunk_bits(inode->size);
		writer->chunked = true;
	} else if (has_inline_data(inode)) {
		uint64_t tail = inode->size % EROFS_BLOCK;
		uint64_t head = sizeof(struct erofs_inode) + xattr_bytes(writer->tree, inode);
		bool fits = tail > 0 && head + tail <= EROFS_BLOCK;
		inode->layout = fits ? EROFS_FLAT_INLINE : EROFS_FLAT_PLAIN;
		inode->block = (uint32_t)*block;
		*block += inode->size / EROFS_BLOCK + (tail > 0 && !fits);
	} else {
		inode->layout = EROFS_FLAT_PLAIN;
	}
}

/* Where an inode goes if the one before ended at position (in the inode area). */
static uint64_t inode_position(const struct tree *tree, const struct tree_inode *inode,
	uint64_t position)
{
	position = (position + EROFS_SLOT - 1) & ~(uint64_t)(EROFS_SLOT - 1);
	uint64_t len = sizeof(struct erofs_inode) + xattr_bytes(tree, inode) + inline_bytes(inode);
	if (len <= EROFS_BLOCK && position / EROFS_BLOCK != (position + len - 1) / EROFS_BLOCK)
		position = (position + EROFS_BLOCK - 1) & ~(uint64_t)(EROFS_BLOCK - 1);
	return position;
}

static uint64_t chunk_table_position(const struct tree *tree, const struct tree_inode *inode,
	uint64_t position)
{
	uint64_t unit = chunk_unit(inode);
	position += sizeof(struct erofs_inode) + xattr_bytes(tree, inode);
	return (position + unit - 1) & ~(unit - 1);
}

static uint64_t inode_end(const struct tree *tree, const struct tree_inode *inode,
	uint64_t position)
{
	if (inode->layout == EROFS_CHUNK_BASED)
		return chunk_table_position(tree, inode, position) +
		       chunk_count(inode) * chunk_unit(inode);
	return position + sizeof(struct erofs_inode) + xattr_bytes(tree, inode) +
	       inline_bytes(inode);
}

/* Gives every inode its place and number. */
static int lay_out(struct writer *writer, struct err *err)
{
	uint64_t block = erofs_out_position(writer->out) / EROFS_BLOCK;
	for (uint32_t i = 0; i < writer->order_len; i++)
		lay_out_data(writer, writer->order[i], &block);
	if (block >= UINT32_MAX)
		return err_set(err, ERR_LIMIT, "the image would have more than 16 TiB");
	writer->meta_block = (uint32_t)block;

	/* Number 0 stays free: readdir's users take it for a deleted file. */
	uint64_t position = EROFS_SLOT;
	for (uint32_t i = 0; i < writer->order_len; i++) {
		struct tree_inode *inode = tree_inode_at(writer->tree, writer->order[i]);
		position = inode_position(writer->tree, inode, position);
		if (position / EROFS_SLOT > UINT32_MAX)
			return err_set(err, ERR_LIMIT,
				"the image would have more than 128 GiB "
				"of metadata");
		inode->nid = (uint32_t)(position / EROFS_SLOT);
		position = inode_end(writer->tree, inode, position);
	}
	return 0;
}

/* --- writing --- */

static int write_dir_blocks(struct writer *writer, uint32_t number, struct err *err)
{
	const struct tree_inode *inode = tree_inode_at(writer->tree, number);
	struct dir_cursor cursor = dir_cursor_of(writer->tree, number);
	uint64_t left = inode->size - inline_bytes(inode);
	int r = 0;
	while (r == 0 && left > 0) {
		uint8_t block[EROFS_BLOCK];
		(void)dir_block_compose(&cursor, block);
		r = erofs_out_write(writer->out, block, sizeof(block), err);
		left -= left < EROFS_BLOCK ? left : EROFS_BLOCK;
	}
	return r;
}

static int write_blocks(struct writer *writer, struct err *err)
{
	int r = 0;
	for (uint32_t i = 0; r == 0 && i < writer->order_len; i++) {
		const struct tree_inode *inode = tree_inode_at(writer->tree, writer->order[i]);
		if (S_ISDIR(inode->mode)) {
			r = write_dir_blocks(writer, writer->order[i], err);
		} else if (S_ISLNK(inode->mode) && inode->layout == EROFS_FLAT_PLAIN) {
			r = erofs_out_write(writer->out, writer->tree->arena + inode->target,
				inode->size, err);
			if (r == 0)
				r = erofs_out_align(writer->out, EROFS_BLOCK, err);
		}
	}
	return r;
}

static uint32_t inode_address(const struct tree_inode *inode)
{
	if (inode->layout == EROFS_CHUNK_BASED)
		return inode->chunk_bits | (inode->device != 0 ? EROFS_CHUNK_INDEXES : 0);
	if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode))
		return inode->device_id;
	return inode->size > 0 ? inode->block : 0;
}

static int write_inode(struct writer *writer, const struct tree_inode *inode, uint32_t number,
	struct err *err)
{
	uint32_t xattrs = xattr_bytes(writer->tree, inode);
	struct erofs_inode disk = {
		.format = htole16((uint16_t)(1 | inode->layout << 1)),
		.xattr_count = htole16(
			xattrs > 0
				? (uint16_t)((xattrs - sizeof(struct erofs_xattr_header)) / 4 + 1)
				: 0),
		.mode = htole16(inode->mode),
		.size = htole64(inode->size),
		.address = htole32(inode_address(inode)),
		.number = htole32(number),
		.uid = htole32(inode->uid),
		.gid = htole32(inode->gid),
		.mtime = htole64((uint64_t)inode->mtime),
		.mtime_ns = htole32(inode->mtime_ns),
		.links = htole32(inode->links),
	};
	int r = erofs_out_write(writer->out, &disk, sizeof(disk), err);
	if (r == 0 && xattrs > 0)
		r = erofs_out_write(writer->out,
			writer->tree->arena + inode->xattrs + sizeof(uint32_t), xattrs, err);
	return r;
}

static int write_chunk(struct writer *writer, const struct tree_inode *inode, uint32_t block,
	struct err *err)
{
	uint32_t bare = htole32(block);
	if (inode->device == 0)
		return erofs_out_write(writer->out, &bare, sizeof(bare), err);
	struct erofs_chunk chunk = {
		.device = block != EROFS_NULL_ADDRESS ? htole16(inode->device) : 0,
		.block = bare,
	};
	return erofs_out_write(writer->out, &chunk, sizeof(chunk), err);
}

static int write_chunks(struct writer *writer, const struct tree_inode *inode, struct err *err)
{
	struct tree_run whole = { .first = 0, .count = 1, .block = inode->block };
	const struct tree_run *runs = &whole;
	uint32_t runs_len = 1;
	if (inode->flags & TREE_CHUNKED) {
		runs = (const void *)(writer->tree->arena + inode->runs);
		runs_len = inode->runs_len;
	}
	uint64_t count = chunk_count(inode);
	uint32_t run = 0;
	int r = erofs_out_align(writer->out, chunk_unit(inode), err);
	for (uint64_t i = 0; r == 0 && i < count; i++) {
		while (run < runs_len && i >= (uint64_t)runs[run].first + runs[run].count)
			run++;
		uint32_t block = EROFS_NULL_ADDRESS;
		if (run < runs_len && i >= runs[run].first)
			block = runs[run].block +
				(uint32_t)((i - runs[run].first) << inode->chunk_bits);
		r = write_chunk(writer, inode, block, err);
	}
	return r;
}

/* The last names of a directory, or the whole target of a symlink. */
static int write_tail(struct writer *writer, uint32_t number, struct err *err)
{
	const struct tree_inode *inode = tree_inode_at(writer->tree, number);
	if (S_ISLNK(inode->mode))
		return erofs_out_write(writer->out, writer->tree->arena + inode->target,
			inode->size, err);

	struct dir_cursor cursor = dir_cursor_of(writer->tree, number);
	uint8_t block[EROFS_BLOCK];
	uint32_t count;
	for (uint64_t i = 0; i < inode->size / EROFS_BLOCK; i++)
		(void)dir_block_fill(&cursor, &count);
	uint32_t used = dir_block_compose(&cursor, block);
	return erofs_out_write(writer->out, block, used, err);
}

static int write_inodes(struct writer *writer, struct err *err)
{
	uint64_t base = (uint64_t)writer->meta_block * EROFS_BLOCK;
	int r = 0;
	for (uint32_t i = 0; r == 0 && i < writer->order_len; i++) {
		uint32_t number = writer->order[i];
		const struct tree_inode *inode = tree_inode_at(writer->tree, number);
		uint64_t gap =
			base + (uint64_t)inode->nid * EROFS_SLOT - erofs_out_position(writer->out);
		r = erofs_out_zeros(writer->out, gap, err);
		if (r == 0)
			r = write_inode(writer, inode, i + 1, err);
		if (r == 0 && inode->layout == EROFS_CHUNK_BASED)
			r = write_chunks(writer, inode, err);
		if (r == 0 && inode->layout == EROFS_FLAT_INLINE)
			r = write_tail(writer, number, err);
	}
	return r == 0 ? erofs_out_align(writer->out, EROFS_BLOCK, err) : r;
}

/* CRC-32C as the kernel's crc32c(~0, ...) has it: no final inversion. */
static uint32_t crc32c(const uint8_t *bytes, size_t len)
{
	uint32_t crc = ~0u;
	for (size_t i = 0; i < len; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return crc;
}

static int write_super(struct writer *writer, const struct erofs_volume *volume, struct err *err)
{
	uint64_t size = erofs_out_position(writer->out);
	struct erofs_super super = {
		.magic = htole32(EROFS_MAGIC),
		.feature_compat = htole32(EROFS_COMPAT_CHECKSUM | EROFS_COMPAT_MTIME),
		.block_bits = EROFS_BLOCK_BITS,
		.root_nid = htole16((uint16_t)tree_inode_at(writer->tree, writer->tree->root)->nid),
		.inodes = htole64(writer->order_len),
		.blocks = htole32((uint32_t)(size / EROFS_BLOCK)),
		.meta_block = htole32(writer->meta_block),
		.feature_incompat =
			htole32((writer->chunked ? EROFS_INCOMPAT_CHUNKED_FILE : 0) |
				(volume->devices_len > 0 ? EROFS_INCOMPAT_DEVICE_TABLE : 0)),
		.extra_devices = htole16((uint16_t)volume->devices_len),
	};
	if (volume->devices_len > 0)
		super.device_slot =
			htole16((EROFS_SUPER_OFFSET + sizeof(super)) / sizeof(struct erofs_device));
	memcpy(super.uuid, volume->uuid, sizeof(super.uuid));

	/* Superblock and device table are one piece, of which the checksum covers block 0. */
	uint64_t len = erofs_write_start(volume->devices_len);
	AUTO_FREE uint8_t *blocks = mem_new(1, len);
	uint8_t *at = blocks + EROFS_SUPER_OFFSET;
	memcpy(at, &super, sizeof(super));
	if (volume->devices_len > 0)
		memcpy(at + sizeof(super), volume->devices,
			volume->devices_len * sizeof(*volume->devices));
	super.checksum = htole32(crc32c(at, EROFS_BLOCK - EROFS_SUPER_OFFSET));
	memcpy(at, &super, sizeof(super));

	struct erofs_out front;
	erofs_out_init(&front, writer->out->fd, 0);
	int r = erofs_out_write(&front, blocks, len, err);
	if (r == 0)
		r = erofs_out_finish(&front, err);
	erofs_out_done(&front);
	return r;
}

int erofs_write(struct tree *tree, struct erofs_out *out, const struct erofs_volume *volume,
	uint64_t *ret_bytes, struct err *err)
{
	struct writer writer = { .tree = tree, .out = out };
	int r = erofs_out_align(out, EROFS_BLOCK, err);
	if (r == 0)
		r = tree_order(tree, &writer.order, &writer.order_len, err);
	AUTO_FREE uint32_t *order = writer.order;
	if (r == 0)
		r = lay_out(&writer, err);
	if (r == 0)
		r = write_blocks(&writer, err);
	if (r == 0)
		r = write_inodes(&writer, err);
	if (r == 0)
		r = write_super(&writer, volume, err);
	if (r == 0)
		r = erofs_out_finish(out, err);
	if (r == 0)
		*ret_bytes = erofs_out_position(out);
	return r;
}
