/* layer_stack - single layers as one read-only tree, where an image has no merged metadata. */
#pragma once

#include <stddef.h>

#include "base/cleanup.h"
#include "base/err.h"

/* layers: EROFS files, lowest first.  A detached mount: the layer itself if there is one only, else
 * an overlay of all. */
MUST_CHECK int layer_stack_open(const char *const *layers, size_t len, int *ret_mount_fd,
	struct err *err);
