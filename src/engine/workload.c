/* workload - finding workloads: the record of the database joined with what is true now. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/mem.h"
#include "engine/accel_choice.h"
#include "engine/handle.h"
#include "engine/live.h"
#include "engine/network.h"
#include "engine/repair.h"
#include "engine/spec.h"

void workload_done(struct workload *workload)
{
	free(workload->id);
	free(workload->name);
	free(workload->image);
	free(workload->address);
	workload_spec_done(&workload->spec);
	*workload = (struct workload){ 0 };
}

static void set_live(struct workload *workload, const struct live *live, int run_fd)
{
	workload->phase = live->phase;
	workload->started_ns = live->started_ns;
	workload->finished_ns = live->finished_ns;
	workload->exit_status = live->exit_status;
	workload->oom_killed = live->oom_killed;
	if (live->phase == WORKLOAD_RUNNING) {
		workload->pid = live->init.pid;
		workload->address = network_address(run_fd);
		const struct cpu_accel *accel = accel_noted(run_fd);
		if (accel != NULL) {
			workload->accel = cpu_accel_name(accel);
			workload->boundary = cpu_accel_boundary(accel);
		}
	}
}

/* Joins; repairs what a lost monitor or a killed command left of this one. */
static int join(struct engine *engine, const struct state_workload *record,
	struct workload *ret_workload, struct err *err)
{
	AUTO_DONE(workload)
	workload = {
		.id = mem_strdup(record->id),
		.name = mem_strdup(record->name),
		.image = mem_strdup(record->image),
		.image_id = record->image_id,
		.created_ns = record->created_ns,
	};
	int r = workload_spec_from_json(view_of(record->spec), &workload.spec, err);
	if (r < 0)
		return r;
	AUTO_CLOSE int run_fd =
		openat(engine->run_fd, record->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_FREE char *data_path = engine_path(engine, "workloads/%s", record->id);
	AUTO_CLOSE int data_fd = open(data_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (data_fd < 0)
		return err_set(err, ERR_DAMAGED, "workload %.12s has lost its directory \"%s\"",
			record->id, data_path);
	struct live live;
	r = live_read(run_fd, data_fd, &live, err);
	if (r < 0)
		return r;
	if (run_fd >= 0 && !live.monitor_lives) {
		r = repair_workload(engine, record->id, record, &live, err);
		if (r < 0)
			return r;
	}
	set_live(&workload, &live, run_fd);
	*ret_workload = workload;
	workload = (struct workload){ 0 };
	return 0;
}

int engine_find(struct engine *engine, const char *name, struct workload *ret_workload,
	struct err *err)
{
	struct state *state;
	AUTO_DONE(state_workload) record = { 0 };
	int r = engine_state(engine, &state, err);
	if (r == 0)
		r = state_workload_find(state, name, &record, err);
	return r != 0 ? r : join(engine, &record, ret_workload, err);
}

struct each {
	struct engine *engine;
	engine_workload_fn *fn;
	void *context;
};

static int each_record(void *context, const struct state_workload *record, struct err *err)
{
	const struct each *each = context;
	AUTO_DONE(workload) workload = { 0 };
	/* One that has just been removed, or is damaged, does not hide the others. */
	if (join(each->engine, record, &workload, NULL) < 0)
		return 0;
	return each->fn(each->context, &workload, err);
}

int engine_each(struct engine *engine, engine_workload_fn *fn, void *context, struct err *err)
{
	struct state *state;
	struct each each = { engine, fn, context };
	int r = engine_state(engine, &state, err);
	return r < 0 ? r : state_workload_each(state, each_record, &each, err);
}
