#include "engine/workload_cgroup.h"

#include <errno.h>

#include "container/container.h"
#include "engine/birth.h"
#include "engine/document.h"

int workload_cgroup_stats(struct engine *engine, const char *id, struct backend_stats *ret_stats)
{
	(void)engine;
	AUTO(cgroup) cgroup = NULL;
	AUTO_FREE char *path = document_cgroup_path(id);
	struct cgroup_stats all;
	int r = cgroup_open(path, &cgroup, NULL);
	if (r == 0)
		r = cgroup_stats_read(cgroup, &all);
	if (r != 0)
		return r;
	*ret_stats = (struct backend_stats){
		.memory_bytes = all.memory_bytes,
		.memory_peak_bytes = all.memory_peak_bytes,
		.cpu_ns = all.cpu_ns,
		.pids = all.pids,
		.oom_killed = all.oom_kills > 0,
	};
	return 0;
}

int workload_cgroup_destroy(struct engine *engine, const char *id, struct err *err)
{
	(void)engine;
	AUTO_FREE char *path = document_cgroup_path(id);
	/* Mostly all its processes have ended: then this is all. */
	if (cgroup_remove(path, 0, NULL) == 0)
		return 0;
	AUTO(cgroup) cgroup = NULL;
	int r = cgroup_open(path, &cgroup, err);
	if (r == 0)
		r = cgroup_kill(cgroup, BIRTH_END_DEADLINE_MS, err);
	/* -ENOENT: some of the groups have gone already, with what was in them. */
	return r < 0 && r != -ENOENT ? r : cgroup_remove(path, BIRTH_END_DEADLINE_MS, err);
}
