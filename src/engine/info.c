/* info - what this host offers, and what this engine holds. */
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include "container/container.h"
#include "engine/accel_choice.h"
#include "engine/backend.h"
#include "engine/network.h"
#include "engine/store.h"
#include "storage/storage.h"

struct counts {
	int64_t by_phase[WORKLOAD_EXITED + 1], all, images;
};

static int count_workload(void *context, const struct workload *workload, struct err *err)
{
	(void)err;
	struct counts *counts = context;
	counts->by_phase[workload->phase]++;
	counts->all++;
	return 0;
}

static int count_image(void *context, const struct engine_image *image, struct err *err)
{
	(void)image;
	(void)err;
	((struct counts *)context)->images++;
	return 0;
}

static json *walls(struct engine *engine)
{
	json *list = json_new_array();
	size_t len;
	const struct backend *const *all = backend_all(&len);
	for (size_t i = 0; i < len; i++) {
		AUTO_DONE(text) why_not = { 0 };
		json *wall = json_new_object();
		json_set_string(wall, "Name", all[i]->name);
		json_set_bool(wall, "Available", all[i]->probe(engine, &why_not));
		json_set_string(wall, "Reason", text_string(&why_not));
		json_push(list, wall);
	}
	return list;
}

json *engine_info(struct engine *engine)
{
	struct counts counts = { .all = 0 };
	json *info = json_new_object();
	/* What cannot be counted is reported as such, the rest of the answer stands. */
	struct err err = { 0 };
	if (engine_each(engine, count_workload, &counts, &err) < 0 ||
		engine_images_each(engine, count_image, &counts, &err) < 0)
		json_set_string(info, "Warning", err.message);
	json_set_int(info, "Containers", counts.all);
	json_set_int(info, "ContainersRunning", counts.by_phase[WORKLOAD_RUNNING]);
	json_set_int(info, "ContainersStopped", counts.all - counts.by_phase[WORKLOAD_RUNNING]);
	json_set_int(info, "Images", counts.images);
	json_set_string(info, "Driver", "erofs");
	json_set_string(info, "CgroupVersion", cgroup_version());
	json_set(info, "Walls", walls(engine));
	json_set(info, "Accelerators", accel_describe(engine));
	AUTO_DONE(strv) features = { 0 };
	if (container_probe(&features, &err) == 0)
		json_set_strv(info, "SecurityOptions", &features);
	struct utsname host;
	if (uname(&host) == 0) {
		json_set_string(info, "Name", host.nodename);
		json_set_string(info, "KernelVersion", host.release);
		json_set_string(info, "Architecture", host.machine);
	}
	json_set_string(info, "OSType", "linux");
	json_set_int(info, "NCPU", get_nprocs());
	struct sysinfo memory;
	if (sysinfo(&memory) == 0)
		json_set_uint(info, "MemTotal", (uint64_t)memory.totalram * memory.mem_unit);
	json_set_string(info, "RootDir", engine->root);
	json_set_string(info, "RunDir", engine->run);
	json_set_string(info, "ServerVersion", MOAT_VERSION);
	return info;
}

int engine_prune(struct engine *engine, struct err *err)
{
	int r = engine_repair(engine, err);
	if (r == 0)
		r = store_sweep(engine, err);
	if (r == 0)
		r = network_prune(engine, err);
	return r < 0 ? r : storage_unpin(engine->run_fd, err);
}
