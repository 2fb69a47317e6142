/* tree - a file tree in memory: what an EROFS image's metadata is made from.  Compact, because a
 * layer may have millions of entries: names, link targets and attributes lie in one arena and
 * everything is referred to by 32-bit number.
 *
 * An entry is a name in a directory, an inode what the name stands for; a hard link is a second
 * entry of one inode.  Nothing is ever freed: an entry that is removed or replaced leaves its
 * inode, and all below it, unreachable, and only what can be reached from the root is written. */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/text.h"

#define TREE_NONE 0u /* no such inode or entry; numbers start at 1 */

enum tree_flag {
	TREE_IMPLICIT = 1, /* a directory that only its descendants' names ask for */
	TREE_OPAQUE = 2,   /* a directory that hides those of lower layers */
	TREE_CHUNKED = 4,  /* a file with holes, whose data are runs */
};

struct tree_inode {
	uint64_t size; /* the writer sets that of directories */
	int64_t mtime;
	uint32_t mtime_ns;
	uint32_t uid, gid;
	uint32_t links;  /* set by the writer */
	uint32_t xattrs; /* in the arena: length and on-disk form; 0: none */
	uint32_t nid;    /* set by the writer */
	uint32_t block;  /* first block of the data; set by the writer but for files */
	union {
		uint32_t first_child; /* directory: entry */
		uint32_t target;      /* symlink: in the arena, size bytes */
		uint32_t device_id;   /* device: as the kernel encodes it */
		uint32_t runs;        /* chunked file: in the arena, struct tree_run[runs_len] */
	};
	union {
		uint32_t parent; /* directory: inode */
		uint32_t runs_len;
	};
	uint16_t mode;
	uint16_t device; /* which the data is in: 0 this image, else a number of the device table */
	uint8_t flags;
	uint8_t chunk_bits; /* chunked file: log2 of blocks of a chunk */
	uint8_t layout;     /* set by the writer */
};
static_assert(sizeof(struct tree_inode) == 64, "a million of them are 64 MB");

/* count chunks from chunk first on lie in one piece from block on; chunks of no run are holes. */
struct tree_run {
	uint32_t first, count, block;
};

struct tree_entry {
	uint32_t name; /* in the arena */
	uint32_t hash;
	uint32_t dir;   /* inode */
	uint32_t next;  /* entry of the same directory */
	uint32_t inode; /* TREE_NONE: removed */
	uint8_t name_len;
};

struct tree {
	struct tree_inode *inodes; /* owned */
	struct tree_entry *entries;
	char *arena;
	uint32_t *table; /* hash table of entries, open addressing, a power of two long */
	uint32_t inodes_len, inodes_room;
	uint32_t entries_len, entries_room;
	uint32_t arena_len, arena_room;
	uint32_t table_len;
	uint64_t key[2];
	uint32_t root; /* inode */
};

/* With a root directory: implicit, 0755, of root. */
MUST_CHECK int tree_init(struct tree *tree, struct err *err);
void tree_done(struct tree *tree);

/* A new inode, zeroed; *ret is its number.  Pointers to inodes are valid until the next one. */
MUST_CHECK int tree_inode_new(struct tree *tree, uint32_t *ret, struct err *err);
static inline struct tree_inode *tree_inode_at(const struct tree *tree, uint32_t inode)
{
	return &tree->inodes[inode];
}

/* A new directory as the implicit ones are. */
MUST_CHECK int tree_dir_new(struct tree *tree, uint32_t parent, uint32_t *ret, struct err *err);
bool tree_is_dir(const struct tree *tree, uint32_t inode);
/* Character device 0:0, which means "deleted" to overlayfs. */
bool tree_is_whiteout(const struct tree *tree, uint32_t inode);

/* The inode of name in dir, or TREE_NONE. */
uint32_t tree_find(const struct tree *tree, uint32_t dir, struct view name);
/* Makes name in dir stand for inode; TREE_NONE removes it. */
MUST_CHECK int tree_set(struct tree *tree, uint32_t dir, struct view name, uint32_t inode,
	struct err *err);

/* Keeps bytes in the arena; aligned to 4. */
MUST_CHECK int tree_keep(struct tree *tree, const void *bytes, size_t len, uint32_t *ret_offset,
	struct err *err);
static inline struct view tree_name(const struct tree *tree, const struct tree_entry *entry)
{
	return (struct view){ tree->arena + entry->name, entry->name_len };
}

/* Numbers every inode that the root reaches in the order of writing: directories before what is in
 * them, siblings together, sorted by name.  Sorts the children of each directory, drops removed
 * ones, sets links.  *ret_order is the caller's, with *ret_len elements. */
MUST_CHECK int tree_order(struct tree *tree, uint32_t **ret_order, uint32_t *ret_len,
	struct err *err);
