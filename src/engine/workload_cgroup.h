/* workload_cgroup - the verbs of a backend that act on a workload's cgroup: a container's processes
 * are in it, and so is a machine's process. */
#pragma once

#include "engine/backend.h"

MUST_CHECK int workload_cgroup_stats(struct engine *engine, const char *id,
	struct backend_stats *ret_stats);
/* Kills all that is in it and removes it.  Idempotent. */
MUST_CHECK int workload_cgroup_destroy(struct engine *engine, const char *id, struct err *err);
