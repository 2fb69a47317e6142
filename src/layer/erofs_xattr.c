/* erofs_xattr - see erofs_xattr.h.  Every attribute stands with its inode: a pool of shared ones
 * would save little here and needs a second pass. */
#include "layer/erofs_xattr.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "layer/erofs_format.h"
#include "layer/tree.h"

static const struct {
	uint8_t index;
	const char *prefix;
} prefixes[] = {
	{ 1, "user." },
	{ 2, "system.posix_acl_access" },
	{ 3, "system.posix_acl_default" },
	{ 4, "trusted." },
	{ 6, "security." },
};

bool erofs_xattr_is_overlay(struct view name)
{
	return view_starts(name, "trusted.overlay.") || view_starts(name, "user.overlay.");
}

static bool prefix_matches(struct view name, const char *prefix)
{
	size_t len = strlen(prefix);
	/* A namespace wants a name behind it, the two access lists are complete. */
	return view_starts(name, prefix) &&
	       (prefix[len - 1] == '.' ? name.len > len : name.len == len);
}

int erofs_xattr_add(struct text *body, struct view name, struct view value, struct err *err)
{
	size_t row = 0;
	while (row < ARRAY_LEN(prefixes) && !prefix_matches(name, prefixes[row].prefix))
		row++;
	if (row == ARRAY_LEN(prefixes))
		return 0;

	struct view rest = name;
	rest.data += strlen(prefixes[row].prefix);
	rest.len -= strlen(prefixes[row].prefix);
	if (name.len > 255)
		return err_set(err, ERR_LIMIT, "an attribute's name has %zu bytes, more than 255",
			name.len);
	if (value.len > UINT16_MAX)
		return err_set(err, ERR_LIMIT, "the attribute %.*s has %zu bytes, more than 65535",
			(int)name.len, name.data, value.len);
	if (body->len + value.len + 512 > EROFS_XATTR_MAX)
		return err_set(err, ERR_LIMIT, "a file has more than %u bytes of attributes",
			EROFS_XATTR_MAX);

	static const char zeros[sizeof(struct erofs_xattr_header)];
	if (body->len == 0)
		text_add(body, zeros, sizeof(zeros));
	struct erofs_xattr_entry entry = {
		.name_len = (uint8_t)rest.len,
		.name_index = prefixes[row].index,
		.value_len = htole16((uint16_t)value.len),
	};
	text_add(body, (const char *)&entry, sizeof(entry));
	text_add(body, rest.data, rest.len);
	text_add(body, value.data, value.len);
	text_add(body, zeros, -body->len & 3);
	return 0;
}

static const char *prefix_of(uint8_t index)
{
	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
		if (prefixes[i].index == index)
			return prefixes[i].prefix;
	}
	return NULL;
}

int erofs_xattr_next(struct view body, size_t *at, struct view *ret_prefix, struct view *ret_name,
	struct view *ret_value)
{
	struct erofs_xattr_entry entry;
	size_t from = *at == 0 ? sizeof(struct erofs_xattr_header) : *at;
	if (from >= body.len)
		return 0;
	if (body.len - from < sizeof(entry))
		return -EBADMSG;
	memcpy(&entry, body.data + from, sizeof(entry));
	from += sizeof(entry);
	size_t value_len = le16toh(entry.value_len);
	const char *prefix = prefix_of(entry.name_index);
	if (prefix == NULL || entry.name_len + value_len > body.len - from)
		return -EBADMSG;
	*ret_prefix = view_of(prefix);
	*ret_name = (struct view){ body.data + from, entry.name_len };
	*ret_value = (struct view){ body.data + from + entry.name_len, value_len };
	*at = (from + entry.name_len + value_len + 3) & ~(size_t)3;
	return 1;
}

/* In a tree: the length, then the body. */
static int keep(struct tree *tree, uint32_t inode, const struct text *body, struct err *err)
{
	tree_inode_at(tree, inode)->xattrs = 0;
	if (body->len == 0)
		return 0;
	uint32_t len = (uint32_t)body->len, at, body_at;
	int r = tree_keep(tree, &len, sizeof(len), &at, err);
	if (r == 0)
		r = tree_keep(tree, body->data, body->len, &body_at, err);
	if (r == 0)
		tree_inode_at(tree, inode)->xattrs = at;
	return r;
}

static int damaged(struct err *err)
{
	return err_set(err, ERR_DAMAGED, "the layer's image is damaged: malformed attributes");
}

/* Calls for the attribute at *at with its complete name in scratch. */
static int next_named(struct view body, size_t *at, struct text *name, struct view *ret_value)
{
	struct view prefix, rest;
	int r = erofs_xattr_next(body, at, &prefix, &rest, ret_value);
	if (r <= 0)
		return r;
	text_clear(name);
	text_add(name, prefix.data, prefix.len);
	text_add(name, rest.data, rest.len);
	return r;
}

int erofs_xattr_keep(struct tree *tree, uint32_t inode, struct view body, struct text *scratch,
	struct err *err)
{
	AUTO_DONE(text) name = { 0 };
	struct view value;
	size_t at = 0;
	int r;
	text_clear(scratch);
	while ((r = next_named(body, &at, &name, &value)) > 0) {
		if (erofs_xattr_is_overlay(view_of_text(&name)))
			continue;
		r = erofs_xattr_add(scratch, view_of_text(&name), value, err);
		if (r < 0)
			return r;
	}
	return r < 0 ? damaged(err) : keep(tree, inode, scratch, err);
}

static const struct {
	uint8_t flag;
	const char *name, *value;
} marks[] = {
	{ TREE_IMPLICIT, "trusted.overlay.moat.implicit", "y" },
	{ TREE_OPAQUE, "trusted.overlay.opaque", "y" },
	{ TREE_OPAQUE, "user.overlay.opaque", "y" },
};

int erofs_xattr_mark(struct tree *tree, uint32_t dir, uint8_t flags, struct text *scratch,
	struct err *err)
{
	uint32_t old = tree_inode_at(tree, dir)->xattrs, len;
	text_clear(scratch);
	if (old != 0) {
		memcpy(&len, tree->arena + old, sizeof(len));
		text_add(scratch, tree->arena + old + sizeof(len), len);
	}
	for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
		if ((flags & marks[i].flag) == 0)
			continue;
		int r = erofs_xattr_add(scratch, view_of(marks[i].name), view_of(marks[i].value),
			err);
		if (r < 0)
			return r;
	}
	return keep(tree, dir, scratch, err);
}

int erofs_xattr_marks(struct view body, uint8_t *ret_flags, struct err *err)
{
	AUTO_DONE(text) name = { 0 };
	struct view value;
	size_t at = 0;
	uint8_t flags = 0;
	int r;
	while ((r = next_named(body, &at, &name, &value)) > 0) {
		for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
			if (view_is(view_of_text(&name), marks[i].name))
				flags |= marks[i].flag;
		}
	}
	if (r < 0)
		return damaged(err);
	*ret_flags = flags;
	return 0;
}
