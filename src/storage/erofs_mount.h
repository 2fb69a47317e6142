/* erofs_mount - EROFS image files as one detached, read-only mount. */
#pragma once

#include <stddef.h>

#include "base/cleanup.h"
#include "base/err.h"

/* files[0] holds the metadata, the others are its extra devices in order. */
MUST_CHECK int erofs_mount_open(const char *const *files, size_t len, int *ret_mount_fd,
	struct err *err);
/* The same through loop devices only (for tests; erofs_mount_open falls back to it). */
MUST_CHECK int erofs_mount_open_loop(const char *const *files, size_t len, int *ret_mount_fd,
	struct err *err);
