/* fs_context - a file system being configured (fsopen(2)), and the kernel's own words when it
 * refuses.  Option strings are limited to 255 bytes on every kernel: hand over descriptors, or
 * paths through /proc/self/fd. */
#pragma once

#include "base/cleanup.h"
#include "base/err.h"

struct fs_context {
	const char *type; /* borrowed */
	int fd;           /* owned */
};

MUST_CHECK int fs_context_open(const char *type, struct fs_context *ret_context, struct err *err);
void fs_context_done(struct fs_context *context);

/* value NULL: a flag. */
MUST_CHECK int fs_context_set(const struct fs_context *context, const char *key, const char *value,
	struct err *err);
/* Silent: the caller falls back to a path on kernels that do not know descriptors for key. */
MUST_CHECK int fs_context_set_fd(const struct fs_context *context, const char *key, int fd);
/* Makes the superblock and a detached mount of it.  Returns -ENOTBLK, -EINVAL and so on as the
 * kernel said. */
MUST_CHECK int fs_context_mount(const struct fs_context *context, unsigned mount_attributes,
	int *ret_mount_fd, struct err *err);
