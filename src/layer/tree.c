/* tree - see tree.h.
 *
 * One hash table for all directories, keyed by (directory, name), makes a look-up cost the same in
 * a directory of a million entries as in a small one.  Names come from strangers, so the hash is
 * SipHash-1-3 with a key of this process: nobody can make them collide.  Output does not depend on
 * the key, because children are sorted before anything is written. */
#include "layer/tree.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>

#include "base/limits.h"
#include "base/mem.h"

#define TABLE_START 1024u

/* --- SipHash-1-3 (Aumasson and Bernstein, 2012), of a directory's number and a name --- */

static uint64_t rotate(uint64_t value, unsigned bits)
{
	return value << bits | value >> (64 - bits);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] = rotate(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] = rotate(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	sip_round(v);
	v[0] ^= word;
}

static uint32_t hash_name(const struct tree *tree, uint32_t dir, struct view name)
{
	uint64_t v[4] = {
		tree->key[0] ^ 0x736f6d6570736575,
		tree->key[1] ^ 0x646f72616e646f6d,
		tree->key[0] ^ 0x6c7967656e657261,
		tree->key[1] ^ 0x7465646279746573,
	};
	uint64_t word;
	sip_word(v, dir);
	size_t at = 0;
	for (; at + 8 <= name.len; at += 8) {
		memcpy(&word, name.data + at, 8);
		sip_word(v, word);
	}
	word = (uint64_t)name.len << 56;
	for (unsigned shift = 0; at < name.len; at++, shift += 8)
		word |= (uint64_t)(uint8_t)name.data[at] << shift;
	sip_word(v, word);
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	return (uint32_t)(v[0] ^ v[1] ^ v[2] ^ v[3]);
}

/* --- memory --- */

/* Makes room for more elements beyond len.  Large blocks grow by mremap, without a copy. */
static int make_room(void **array, uint32_t len, uint32_t more, size_t size, uint32_t *room,
	const char *what, uint64_t max, struct err *err)
{
	uint64_t want = (uint64_t)len + more;
	if (want <= *room)
		return 0;
	if (want > max)
		return err_set(err, ERR_LIMIT, "a layer has more than %ju %s", (uintmax_t)max,
			what);
	uint64_t next = *room + *room / 2 + 1024;
	if (next < want)
		next = want;
	if (next > max)
		next = max;
	void *grown = realloc(*array, next * size);
	if (grown == NULL)
		return err_set(err, ERR_SYSTEM, "no memory for %ju bytes of a layer's metadata",
			(uintmax_t)(next * size));
	*array = grown;
	*room = (uint32_t)next;
	return 0;
}

int tree_keep(struct tree *tree, const void *bytes, size_t len, uint32_t *ret_offset,
	struct err *err)
{
	if (len > LIMIT_LAYER_METADATA_BYTES - 4)
		return err_set(err, ERR_LIMIT,
			"a layer has more than %d bytes of names and attributes",
			LIMIT_LAYER_METADATA_BYTES);
	uint32_t start = (tree->arena_len + 3) & ~3u;
	uint32_t more = (uint32_t)len + (start - tree->arena_len);
	void *arena = tree->arena;
	int r = make_room(&arena, tree->arena_len, more, 1, &tree->arena_room,
		"bytes of names and attributes", LIMIT_LAYER_METADATA_BYTES, err);
	tree->arena = arena;
	if (r < 0)
		return r;
	memset(tree->arena + tree->arena_len, 0, start - tree->arena_len);
	memcpy(tree->arena + start, bytes, len);
	tree->arena_len += more;
	*ret_offset = start;
	return 0;
}

/* Names are not aligned: a million of them would lose two megabytes. */
static int keep_name(struct tree *tree, struct view name, uint32_t *ret_offset, struct err *err)
{
	void *arena = tree->arena;
	int r = make_room(&arena, tree->arena_len, (uint32_t)name.len, 1, &tree->arena_room,
		"bytes of names and attributes", LIMIT_LAYER_METADATA_BYTES, err);
	tree->arena = arena;
	if (r < 0)
		return r;
	memcpy(tree->arena + tree->arena_len, name.data, name.len);
	*ret_offset = tree->arena_len;
	tree->arena_len += (uint32_t)name.len;
	return 0;
}

int tree_inode_new(struct tree *tree, uint32_t *ret, struct err *err)
{
	void *inodes = tree->inodes;
	int r = make_room(&inodes, tree->inodes_len, 1, sizeof(*tree->inodes), &tree->inodes_room,
		"files", LIMIT_LAYER_ENTRIES, err);
	tree->inodes = inodes;
	if (r < 0)
		return r;
	memset(&tree->inodes[tree->inodes_len], 0, sizeof(*tree->inodes));
	*ret = tree->inodes_len++;
	return 0;
}

int tree_dir_new(struct tree *tree, uint32_t parent, uint32_t *ret, struct err *err)
{
	uint32_t dir;
	int r = tree_inode_new(tree, &dir, err);
	if (r < 0)
		return r;
	struct tree_inode *inode = tree_inode_at(tree, dir);
	inode->mode = S_IFDIR | 0755;
	inode->flags = TREE_IMPLICIT;
	inode->parent = parent != TREE_NONE ? parent : dir;
	*ret = dir;
	return 0;
}

int tree_init(struct tree *tree, struct err *err)
{
	*tree = (struct tree){ .inodes_len = 1, .entries_len = 1, .table_len = TABLE_START };
	/* The kernel gives every process 16 random bytes, so no system call is needed in a jail. */
	const void *random = (const void *)getauxval(AT_RANDOM);
	if (random != NULL)
		memcpy(tree->key, random, sizeof(tree->key));
	tree->table = mem_new(tree->table_len, sizeof(*tree->table));
	uint32_t zero = 0;
	/* Offset 0 of the arena means "none". */
	int r = tree_keep(tree, &zero, sizeof(zero), &zero, err);
	if (r == 0)
		r = tree_dir_new(tree, TREE_NONE, &tree->root, err);
	return r;
}

void tree_done(struct tree *tree)
{
	free(tree->inodes);
	free(tree->entries);
	free(tree->arena);
	free(tree->table);
}

/* --- names --- */

bool tree_is_dir(const struct tree *tree, uint32_t inode)
{
	return S_ISDIR(tree->inodes[inode].mode);
}

bool tree_is_whiteout(const struct tree *tree, uint32_t inode)
{
	return S_ISCHR(tree->inodes[inode].mode) && tree->inodes[inode].device_id == 0;
}

/* The place in the table that holds the entry, or the free one where it belongs. */
static uint32_t *table_place(const struct tree *tree, uint32_t hash, uint32_t dir, struct view name)
{
	for (uint32_t at = hash;; at++) {
		uint32_t *place = &tree->table[at & (tree->table_len - 1)];
		if (*place == TREE_NONE)
			return place;
		const struct tree_entry *entry = &tree->entries[*place];
		if (entry->hash == hash && entry->dir == dir && entry->name_len == name.len &&
			memcmp(tree->arena + entry->name, name.data, name.len) == 0)
			return place;
	}
}

static int table_grow(struct tree *tree, struct err *err)
{
	uint32_t len = tree->table_len * 2;
	void *memory;
	int r = mem_try((uint64_t)len * sizeof(uint32_t), UINT32_MAX, &memory, err);
	if (r < 0)
		return r;
	uint32_t *table = memory;
	for (uint32_t i = 1; i < tree->entries_len; i++) {
		uint32_t at = tree->entries[i].hash;
		while (table[at & (len - 1)] != TREE_NONE)
			at++;
		table[at & (len - 1)] = i;
	}
	free(tree->table);
	tree->table = table;
	tree->table_len = len;
	return 0;
}

uint32_t tree_find(const struct tree *tree, uint32_t dir, struct view name)
{
	uint32_t entry = *table_place(tree, hash_name(tree, dir, name), dir, name);
	return entry != TREE_NONE ? tree->entries[entry].inode : TREE_NONE;
}

static int add_entry(struct tree *tree, uint32_t hash, uint32_t dir, struct view name,
	uint32_t inode, struct err *err)
{
	void *entries = tree->entries;
	int r = make_room(&entries, tree->entries_len, 1, sizeof(*tree->entries),
		&tree->entries_room, "names", LIMIT_LAYER_ENTRIES, err);
	tree->entries = entries;
	uint32_t name_at = 0;
	if (r == 0)
		r = keep_name(tree, name, &name_at, err);
	if (r == 0 && tree->entries_len >= tree->table_len / 3 * 2)
		r = table_grow(tree, err);
	if (r < 0)
		return r;
	uint32_t number = tree->entries_len++;
	tree->entries[number] = (struct tree_entry){
		.name = name_at,
		.hash = hash,
		.dir = dir,
		.next = tree->inodes[dir].first_child,
		.inode = inode,
		.name_len = (uint8_t)name.len,
	};
	tree->inodes[dir].first_child = number;
	*table_place(tree, hash, dir, name) = number;
	return 0;
}

int tree_set(struct tree *tree, uint32_t dir, struct view name, uint32_t inode, struct err *err)
{
	if (name.len == 0 || name.len > LIMIT_NAME_BYTES)
		return err_set(err, ERR_LIMIT, "a name has %zu bytes, more than %d: %.60s...",
			name.len, LIMIT_NAME_BYTES, name.len > 0 ? name.data : "");
	uint32_t hash = hash_name(tree, dir, name);
	uint32_t entry = *table_place(tree, hash, dir, name);
	if (entry == TREE_NONE)
		return add_entry(tree, hash, dir, name, inode, err);
	tree->entries[entry].inode = inode;
	return 0;
}

/* --- order --- */

static int compare_entries(const void *left, const void *right, void *context)
{
	const struct tree *tree = context;
	const struct tree_entry *a = &tree->entries[*(const uint32_t *)left];
	const struct tree_entry *b = &tree->entries[*(const uint32_t *)right];
	size_t len = a->name_len < b->name_len ? a->name_len : b->name_len;
	int order = memcmp(tree->arena + a->name, tree->arena + b->name, len);
	return order != 0 ? order : (int)a->name_len - (int)b->name_len;
}

/* Relinks the children of dir in the order of their names, without the removed ones. */
static void sort_children(struct tree *tree, uint32_t dir, uint32_t *scratch)
{
	uint32_t len = 0;
	struct tree_inode *inode = tree_inode_at(tree, dir);
	for (uint32_t at = inode->first_child; at != TREE_NONE; at = tree->entries[at].next) {
		if (tree->entries[at].inode != TREE_NONE)
			scratch[len++] = at;
	}
	if (len > 1)
		qsort_r(scratch, len, sizeof(*scratch), compare_entries, tree);
	inode->first_child = len > 0 ? scratch[0] : TREE_NONE;
	for (uint32_t i = 0; i < len; i++)
		tree->entries[scratch[i]].next = i + 1 < len ? scratch[i + 1] : TREE_NONE;
}

/* Appends the children of dir that have no place in the order yet. */
static void order_children(struct tree *tree, uint32_t dir, uint32_t *order, uint32_t *len)
{
	uint32_t subdirs = 0;
	for (uint32_t at = tree->inodes[dir].first_child; at != TREE_NONE;
		at = tree->entries[at].next) {
		uint32_t number = tree->entries[at].inode;
		struct tree_inode *inode = tree_inode_at(tree, number);
		if (inode->links++ == 0)
			order[(*len)++] = number;
		subdirs += S_ISDIR(inode->mode);
	}
	/* Its name, its ".", and each child's "..". */
	tree->inodes[dir].links = 2 + subdirs;
}

int tree_order(struct tree *tree, uint32_t **ret_order, uint32_t *ret_len, struct err *err)
{
	void *order_memory, *scratch_memory;
	int r = mem_try((uint64_t)tree->inodes_len * sizeof(uint32_t), UINT32_MAX, &order_memory,
		err);
	if (r < 0)
		return r;
	AUTO_FREE uint32_t *order = order_memory;
	r = mem_try((uint64_t)tree->entries_len * sizeof(uint32_t), UINT32_MAX, &scratch_memory,
		err);
	if (r < 0)
		return r;
	AUTO_FREE uint32_t *scratch = scratch_memory;

	for (uint32_t i = 1; i < tree->inodes_len; i++)
		tree->inodes[i].links = 0;
	uint32_t len = 0;
	order[len++] = tree->root;
	for (uint32_t i = 0; i < len; i++) {
		if (!tree_is_dir(tree, order[i]))
			continue;
		sort_children(tree, order[i], scratch);
		order_children(tree, order[i], order, &len);
	}
	*ret_order = TAKE(order);
	*ret_len = len;
	return 0;
}
