/* tar_pax - see tar_pax.h.  Sources: POSIX.1-2017 pax, "pax Extended Header"; GNU tar manual,
 * "Storing Sparse Files"; star(5) for SCHILY.xattr; libarchive's tar(5) for LIBARCHIVE.xattr (name
 * percent-encoded, value in base64, both decoded where they stand because they only get shorter).
 *
 * Unknown keys are passed over, as POSIX asks.  The table at the end is the list of what counts. */
#include "layer/tar_pax.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/num.h"

/* Room for one element more in an owned array. */
static void *room_for_one(void *array, size_t len, size_t *room, size_t size)
{
	if (len < *room)
		return array;
	*room = *room == 0 ? 8 : *room * 2;
	return mem_grow(array, *room, size);
}

int tar_pax_time(struct view text, int64_t *ret_seconds, uint32_t *ret_ns)
{
	bool negative = view_starts(text, "-");
	struct view fraction = text;
	struct view whole = view_cut(&fraction, '.');
	int64_t seconds = 0;
	if (whole.len > negative &&
		num_parse(whole, negative ? INT64_MIN / 2 : 0, INT64_MAX / 2, &seconds) < 0)
		return -EINVAL;

	uint32_t ns = 0;
	for (size_t i = 0; i < 9 || i < fraction.len; i++) {
		char digit = i < fraction.len ? fraction.data[i] : '0';
		if (digit < '0' || digit > '9')
			return -EINVAL;
		if (i < 9)
			ns = ns * 10 + (uint32_t)(digit - '0');
	}
	/* -1.25 is 750 ms after -2. */
	if (negative && ns > 0) {
		seconds--;
		ns = 1000000000 - ns;
	}
	*ret_seconds = seconds;
	*ret_ns = ns;
	return 0;
}

/* --- one setter for each kind of value; value has at least one byte --- */

typedef int set_fn(struct tar_pax *pax, char *key, struct view value);

static int set_path(struct tar_pax *pax, char *key, struct view value)
{
	(void)key;
	pax->path = value;
	return 0;
}

static int set_link_path(struct tar_pax *pax, char *key, struct view value)
{
	(void)key;
	pax->link_path = value;
	return 0;
}

static int set_size(struct tar_pax *pax, char *key, struct view value)
{
	(void)key;
	pax->has_size = true;
	return num_parse_u64(value, INT64_MAX, &pax->size);
}

static int set_mtime(struct tar_pax *pax, char *key, struct view value)
{
	(void)key;
	pax->has_mtime = true;
	return tar_pax_time(value, &pax->mtime, &pax->mtime_ns);
}

/* (uid_t)-1 means "unchanged" to system calls, so it is nobody's number. */
static int set_id(struct view value, bool *has, uint32_t *id)
{
	uint64_t wide;
	int r = num_parse_u64(value, UINT32_MAX - 1, &wide);
	if (r < 0)
		return r;
	*has = true;
	*id = (uint32_t)wide;
	return 0;
}

static int set_uid(struct tar_pax *pax, char *key, struct view value)
{
	(void)key;
	return set_id(value, &pax->has_uid, &pax->uid);
}

static int set_gid(struct tar_pax *pax, char *key, struct view value)
{
	(void)key;
	return set_id(value, &pax->has_gid, &pax->gid);
}

static int set_sparse_name(struct tar_pax *pax, char *key, struct view value)
{
	(void)key;
	pax->sparse_name = value;
	return 0;
}

static int set_sparse_map(struct tar_pax *pax, char *key, struct view value)
{
	(void)key;
	pax->is_sparse = true;
	pax->sparse_map = value;
	return 0;
}

static int set_real_size(struct tar_pax *pax, char *key, struct view value)
{
	(void)key;
	pax->is_sparse = true;
	pax->has_real_size = true;
	return num_parse_u64(value, INT64_MAX, &pax->real_size);
}

static int set_version(struct view value, uint32_t *ret)
{
	uint64_t wide;
	int r = num_parse_u64(value, UINT32_MAX, &wide);
	if (r == 0)
		*ret = (uint32_t)wide;
	return r;
}

static int set_sparse_major(struct tar_pax *pax, char *key, struct view value)
{
	(void)key;
	pax->is_sparse = true;
	return set_version(value, &pax->sparse_major);
}

static int set_sparse_minor(struct tar_pax *pax, char *key, struct view value)
{
	(void)key;
	return set_version(value, &pax->sparse_minor);
}

static int set_sparse_offset(struct tar_pax *pax, char *key, struct view value)
{
	(void)key;
	if (pax->extents_len >= LIMIT_SPARSE_EXTENTS)
		return -E2BIG;
	pax->is_sparse = true;
	pax->extents = room_for_one(pax->extents, pax->extents_len, &pax->extents_room,
		sizeof(*pax->extents));
	pax->extents[pax->extents_len] = (struct tar_extent){ 0 };
	return num_parse_u64(value, INT64_MAX, &pax->extents[pax->extents_len++].offset);
}

static int set_sparse_len(struct tar_pax *pax, char *key, struct view value)
{
	(void)key;
	if (pax->extents_len == 0)
		return -EINVAL;
	return num_parse_u64(value, INT64_MAX, &pax->extents[pax->extents_len - 1].len);
}

static int add_xattr(struct tar_pax *pax, struct view name, struct view value)
{
	if (name.len == 0 || value.len > LIMIT_XATTR_BYTES)
		return -EINVAL;
	pax->xattrs =
		room_for_one(pax->xattrs, pax->xattrs_len, &pax->xattrs_room, sizeof(*pax->xattrs));
	pax->xattrs[pax->xattrs_len] = (struct tar_pax_xattr){
		.xattr = { name, value },
		.rank = (uint32_t)pax->xattrs_len,
	};
	pax->xattrs_len++;
	return 0;
}

static int set_schily_xattr(struct tar_pax *pax, char *key, struct view value)
{
	return add_xattr(pax, view_of(key), value);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static size_t percent_decode(char *text)
{
	size_t len = 0;
	for (const char *at = text; *at != 0;) {
		int high = at[0] == '%' ? hex_digit(at[1]) : -1;
		int low = high >= 0 ? hex_digit(at[2]) : -1;
		if (low >= 0) {
			text[len++] = (char)(high << 4 | low);
			at += 3;
		} else {
			text[len++] = *at++;
		}
	}
	return len;
}

static int base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* In place; -1 if it is no base64.  Padding is optional, as libarchive writes none. */
static ssize_t base64_decode(char *text, size_t text_len)
{
	uint32_t bits = 0;
	unsigned have = 0;
	ssize_t len = 0;
	while (text_len > 0 && text[text_len - 1] == '=')
		text_len--;
	for (size_t i = 0; i < text_len; i++) {
		int digit = base64_digit(text[i]);
		if (digit < 0)
			return -1;
		bits = bits << 6 | (uint32_t)digit;
		have += 6;
		if (have >= 8) {
			have -= 8;
			text[len++] = (char)(bits >> have);
		}
	}
	return len;
}

static int set_libarchive_xattr(struct tar_pax *pax, char *key, struct view value)
{
	char *bytes = key + strlen(key) + 1; /* the value, which tar_pax_parse() owns */
	ssize_t len = base64_decode(bytes, value.len);
	if (len < 0)
		return -EINVAL;
	struct view name = { key, percent_decode(key) };
	return add_xattr(pax, name, (struct view){ bytes, (size_t)len });
}

/* A key, or the start of one where it ends in a dot; the setter then gets the rest of it. */
static const struct key {
	const char *name;
	set_fn *set;
	bool may_hold_zero;
} keys[] = {
	{ "GNU.sparse.major", set_sparse_major, false },
	{ "GNU.sparse.map", set_sparse_map, false },
	{ "GNU.sparse.minor", set_sparse_minor, false },
	{ "GNU.sparse.name", set_sparse_name, false },
	{ "GNU.sparse.numbytes", set_sparse_len, false },
	{ "GNU.sparse.offset", set_sparse_offset, false },
	{ "GNU.sparse.realsize", set_real_size, false },
	{ "GNU.sparse.size", set_real_size, false },
	{ "LIBARCHIVE.xattr.", set_libarchive_xattr, true },
	{ "SCHILY.xattr.", set_schily_xattr, true },
	{ "gid", set_gid, false },
	{ "linkpath", set_link_path, false },
	{ "mtime", set_mtime, false },
	{ "path", set_path, false },
	{ "size", set_size, false },
	{ "uid", set_uid, false },
};

/* An empty value takes back what a global header said.  Attributes may be empty. */
static bool forget(struct tar_pax *pax, const char *key)
{
	if (strcmp(key, "path") == 0)
		pax->path = (struct view){ 0 };
	else if (strcmp(key, "linkpath") == 0)
		pax->link_path = (struct view){ 0 };
	else if (strcmp(key, "size") == 0)
		pax->has_size = false;
	else if (strcmp(key, "mtime") == 0)
		pax->has_mtime = false;
	else if (strcmp(key, "uid") == 0)
		pax->has_uid = false;
	else if (strcmp(key, "gid") == 0)
		pax->has_gid = false;
	else
		return strchr(key, '.') == NULL || strncmp(key, "GNU.", 4) == 0;
	return true;
}

static int set_record(struct tar_pax *pax, char *key, struct view value)
{
	if (value.len == 0 && forget(pax, key))
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		size_t len = strlen(keys[i].name);
		bool is_prefix = keys[i].name[len - 1] == '.';
		if (is_prefix ? strncmp(key, keys[i].name, len) != 0
			      : strcmp(key, keys[i].name) != 0)
			continue;
		if (!keys[i].may_hold_zero && memchr(value.data, 0, value.len) != NULL)
			return -EINVAL;
		return keys[i].set(pax, is_prefix ? key + len : key, value);
	}
	return 0;
}

/* Cuts the first record off text: its bytes after "LENGTH ", without the newline. */
static int cut_record(char **text, size_t *text_len, char **ret_record, size_t *ret_len)
{
	char *space = memchr(*text, ' ', *text_len < 20 ? *text_len : 20);
	uint64_t len;
	if (space == NULL ||
		num_parse_u64((struct view){ *text, (size_t)(space - *text) }, *text_len, &len) < 0)
		return -EINVAL;
	char *end = *text + len;
	if (len == 0 || end <= space + 1 || end[-1] != '\n')
		return -EINVAL;
	*ret_record = space + 1;
	*ret_len = (size_t)(end - 1 - (space + 1));
	*text_len -= len;
	*text = end;
	return 0;
}

int tar_pax_parse(struct tar_pax *pax, char *text, size_t len, struct err *err)
{
	/* The header is padded with zeros to a block by some writers, inside its size. */
	while (len > 0 && *text != 0) {
		char *record;
		size_t record_len;
		if (cut_record(&text, &len, &record, &record_len) < 0)
			return err_set(err, ERR_DAMAGED, "a pax header has a malformed record");
		char *equals = memchr(record, '=', record_len);
		if (equals == NULL || memchr(record, 0, (size_t)(equals - record)) != NULL)
			return err_set(err, ERR_DAMAGED, "a pax header has a record without a key");
		*equals = 0;
		struct view value = { equals + 1, record_len - (size_t)(equals + 1 - record) };
		int r = set_record(pax, record, value);
		if (r == -E2BIG)
			return err_set(err, ERR_LIMIT, "a sparse file has more than %d extents",
				LIMIT_SPARSE_EXTENTS);
		if (r < 0)
			return err_set(err, ERR_DAMAGED, "a pax header has a bad value for %.60s",
				record);
	}
	return 0;
}

void tar_pax_reset(struct tar_pax *pax, const struct tar_pax *from)
{
	struct tar_pax fresh = { 0 };
	if (from != NULL)
		fresh = *from;
	fresh.xattrs = pax->xattrs;
	fresh.xattrs_room = pax->xattrs_room;
	fresh.xattrs_len = 0;
	fresh.extents = pax->extents;
	fresh.extents_room = pax->extents_room;
	fresh.extents_len = 0;
	*pax = fresh;
	for (size_t i = 0; from != NULL && i < from->xattrs_len; i++)
		(void)add_xattr(pax, from->xattrs[i].xattr.name, from->xattrs[i].xattr.value);
}

static int compare_xattrs(const void *left, const void *right)
{
	const struct tar_pax_xattr *a = left, *b = right;
	size_t len = a->xattr.name.len < b->xattr.name.len ? a->xattr.name.len : b->xattr.name.len;
	int order = memcmp(a->xattr.name.data, b->xattr.name.data, len);
	if (order != 0)
		return order;
	if (a->xattr.name.len != b->xattr.name.len)
		return a->xattr.name.len < b->xattr.name.len ? -1 : 1;
	return a->rank < b->rank ? -1 : 1;
}

static bool is_same_name(const struct tar_xattr *a, const struct tar_xattr *b)
{
	return a->name.len == b->name.len && memcmp(a->name.data, b->name.data, a->name.len) == 0;
}

size_t tar_pax_xattrs(struct tar_pax *pax, struct tar_xattr *ret_xattrs)
{
	if (pax->xattrs_len == 0)
		return 0;
	qsort(pax->xattrs, pax->xattrs_len, sizeof(*pax->xattrs), compare_xattrs);
	size_t len = 0;
	for (size_t i = 0; i < pax->xattrs_len; i++) {
		if (len > 0 && is_same_name(&ret_xattrs[len - 1], &pax->xattrs[i].xattr))
			len--;
		ret_xattrs[len++] = pax->xattrs[i].xattr;
	}
	return len;
}

void tar_pax_done(struct tar_pax *pax)
{
	free(pax->xattrs);
	free(pax->extents);
}
