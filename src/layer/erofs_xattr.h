/* erofs_xattr - extended attributes in their on-disk form, which is also how a tree keeps them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/text.h"

struct tree;

/* "trusted.overlay.*" and "user.overlay.*" steer overlayfs: from an archive they are forged. */
bool erofs_xattr_is_overlay(struct view name);

/* Appends one attribute, after the header if body is empty.  A namespace that EROFS has no index
 * for is passed over, as other file systems refuse it.  ERR_LIMIT where a field is too small. */
MUST_CHECK int erofs_xattr_add(struct text *body, struct view name, struct view value,
	struct err *err);

/* The attribute at *at (0: the first) of an on-disk body; prefix is static text, name what follows
 * it.  1, or 0 at the end, or -EBADMSG if the body is malformed. */
MUST_CHECK int erofs_xattr_next(struct view body, size_t *at, struct view *ret_prefix,
	struct view *ret_name, struct view *ret_value);

/* Keeps body, without its overlay attributes, as those of an inode (len 0: none).  scratch is
 * cleared. */
MUST_CHECK int erofs_xattr_keep(struct tree *tree, uint32_t inode, struct view body,
	struct text *scratch, struct err *err);

/* What a layer's directory says to those who stack it, as bits of enum tree_flag: TREE_OPAQUE is
 * overlayfs' own attribute in both spellings (under "userxattr" it only sees user.*), TREE_IMPLICIT
 * one of moat's, in overlayfs' namespace so that it hides it. */
MUST_CHECK int erofs_xattr_mark(struct tree *tree, uint32_t dir, uint8_t flags,
	struct text *scratch, struct err *err);
MUST_CHECK int erofs_xattr_marks(struct view body, uint8_t *ret_flags, struct err *err);
