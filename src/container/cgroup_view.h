/* cgroup_view - what a container sees of its own group; private to this folder. */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

struct cgroup;

/* Mounts the view onto the directory at target_fd with these MOUNT_ATTR_*; the calling process is
 * in the group, in a cgroup namespace made there, and still sees the host's mounts. */
MUST_CHECK int cgroup_view_mount(const struct cgroup *cgroup, int target_fd, uint64_t attributes,
	struct err *err);
