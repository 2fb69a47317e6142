/* run - a workload from its specification to a running process.
 *
 * run_steps[] is what happens on `moat run`, in order; `create` and `start` are parts of it.  A
 * step that fails undoes the ones before it; what a killed command left is undone by repair.c,
 * which needs nothing but the workload's id.  `moat --trace run` prints the steps with their times.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/step.h"
#include "engine/backend.h"
#include "engine/birth.h"
#include "engine/clean.h"
#include "engine/launch.h"
#include "engine/running.h"
#include "engine/session.h"
#include "engine/spec.h"
#include "wire/monitor_client.h"

static const struct step run_steps[] = {
	{ "image", launch_image, NULL },
	{ "rootfs", launch_rootfs, launch_rootfs_undo },
	{ "disk", launch_disk, NULL },
	{ "mount", launch_mount, launch_mount_undo },
	{ "network", launch_network, launch_network_undo },
	{ "create", launch_create, launch_create_undo },
	{ "connect", launch_connect, NULL },
	{ "record", launch_record, launch_record_undo },
	{ "start", launch_start, NULL },
};

static const struct step create_steps[] = {
	{ "image", launch_image, NULL },
	{ "rootfs", launch_rootfs, launch_rootfs_undo },
	{ "disk", launch_disk, NULL },
	{ "record", launch_record, launch_record_undo },
};

static const struct step start_steps[] = {
	{ "mount", launch_mount, launch_mount_undo },
	{ "network", launch_network, launch_network_undo },
	{ "create", launch_create, launch_create_undo },
	{ "connect", launch_connect, NULL },
	{ "start", launch_start, NULL },
};

void launch_init(struct launch *launch, struct engine *engine, struct workload_spec *spec)
{
	*launch = (struct launch){
		.engine = engine,
		.spec = spec,
		.dirs = { .data_fd = -1, .run_fd = -1 },
		.image_mount_fd = -1,
		.client_fd = -1,
		.init_pidfd = -1,
		.go_fd = -1,
		.report_fd = -1,
	};
}

void launch_done(struct launch *launch)
{
	const int fds[] = { launch->image_mount_fd, launch->client_fd, launch->init_pidfd,
		launch->go_fd, launch->report_fd };
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		if (fds[i] >= 0)
			(void)close(fds[i]);
	}
	dirs_done(&launch->dirs);
	state_image_done(&launch->image);
	launch_init(launch, NULL, NULL);
}

int launch_create(void *context, struct err *err)
{
	struct launch *launch = context;
	int r = launch->backend->create(launch, err);
	if (r < 0)
		launch_create_undo(launch);
	return r;
}

void launch_create_undo(void *context)
{
	struct launch *launch = context;
	struct err err = { 0 };
	if (launch->go_fd >= 0)
		(void)close(TAKE_FD(launch->go_fd));
	if (launch->backend->destroy(launch->engine, launch->id, &err) < 0)
		log_warning("workload %.12s stays to be repaired: %s", launch->id, err.message);
	/* With nothing left to watch it would write down the end, into directories that go next. */
	birth_end_monitor(launch);
}

static int put_record(struct launch *launch, struct state *state, struct err *err)
{
	AUTO_JSON spec = workload_spec_to_json(launch->spec);
	AUTO_FREE char *text = json_text(spec, false);
	const struct state_workload record = {
		.id = launch->id,
		.name = launch->spec->name,
		.spec = text,
		.image = launch->spec->image,
		.image_id = launch->image.id,
		.created_ns = launch->created_ns,
		.auto_remove = launch->spec->auto_remove,
	};
	return state_workload_put(state, &record, err);
}

static void make_up_name(struct workload_spec *spec)
{
	char name[ID_NAME_MAX];
	id_random_name(name);
	free(spec->name);
	spec->name = mem_strdup(name);
}

/* A made-up name that another workload has by now is tried again; Docker's has about as many. */
#define NAME_TRIES 16

int launch_record(void *context, struct err *err)
{
	struct launch *launch = context;
	struct state *state;
	struct err why = { 0 };
	int r = engine_state(launch->engine, &state, err);
	if (r != 0)
		return r;
	for (int try = 1;; try++) {
		r = put_record(launch, state, &why);
		if (r == 0 || why.kind != ERR_CONFLICT || !launch->is_name_made_up ||
			try == NAME_TRIES)
			return r < 0 ? err_copy(err, &why) : 0;
		make_up_name(launch->spec);
	}
}

void launch_record_undo(void *context)
{
	struct launch *launch = context;
	struct state *state;
	struct err err = { 0 };
	if (engine_state(launch->engine, &state, &err) < 0 ||
		state_workload_remove(state, launch->id, &err) < 0)
		log_warning("the record of workload %.12s stays: %s", launch->id, err.message);
}

int launch_start(void *context, struct err *err)
{
	struct launch *launch = context;
	int r = running_publish(launch->engine, launch->id, launch->spec, err);
	if (r == 0)
		r = launch->backend->start(launch, err);
	if (r != 0)
		return r;
	launch->is_started = true;
	/* An earlier run's end counts no more. */
	if (unlinkat(launch->dirs.data_fd, MONITOR_EXIT_FILE, 0) < 0 && errno != ENOENT)
		return err_sys(err, errno, "remove the record of the last exit");
	return 0;
}

static int run_table(const char *what, const struct step *steps, size_t len, struct launch *launch,
	struct err *err)
{
	int checked = workload_spec_check(launch->spec, err);
	if (checked != 0)
		return checked;
	launch->is_name_made_up = launch->spec->name == NULL;
	if (launch->is_name_made_up)
		make_up_name(launch->spec);
	else if (!id_name_is_valid(launch->spec->name))
		return err_set(err, ERR_INVALID,
			"invalid name \"%s\": only [a-zA-Z0-9][a-zA-Z0-9_.-]+ are allowed",
			launch->spec->name);
	id_new(launch->id);
	launch->created_ns = clock_wall_ns();
	return step_run(what, steps, len, launch, err);
}

int engine_create(struct engine *engine, struct workload_spec *spec, char **ret_id, struct err *err)
{
	struct launch launch;
	launch_init(&launch, engine, spec);
	int r = run_table("create", create_steps, ARRAY_LEN(create_steps), &launch, err);
	if (r == 0) {
		*ret_id = mem_strdup(launch.id);
		r = dirs_remove(engine, launch.id, false, err);
	}
	launch_done(&launch);
	return r;
}

/* Attached to the end, then what lived of the workload is removed; its monitor leaves that to us.
 */
static int attach_and_clean(struct launch *launch, const struct engine_stdio *stdio,
	int *ret_status, struct err *err)
{
	struct session session = {
		.client_fd = launch->client_fd,
		.init_pidfd = launch->init_pidfd,
		.stdio = stdio,
		.interactive = launch->spec->interactive,
		.tty = launch->spec->tty,
	};
	/* Others may stop or remove it while we are attached. */
	dirs_done(&launch->dirs);
	int r = session_run(&session, err);
	if (r != 0)
		return r;
	if (session.is_detached) {
		*ret_status = 0;
		return 0;
	}
	*ret_status = session.wait_status < 0 ? 125 : live_shell_status(session.wait_status);
	r = clean_ended(launch->engine, launch->id, launch->image.id.hex, launch->spec->auto_remove,
		err);
	if (r == 0)
		(void)!monitor_send(launch->client_fd, MONITOR_CLEANED, 0, NULL, 0);
	return r;
}

int engine_run(struct engine *engine, struct workload_spec *spec, const struct engine_stdio *stdio,
	char **ret_id, int *ret_status, struct err *err)
{
	struct launch launch;
	launch_init(&launch, engine, spec);
	launch.wants_client = !spec->detach;
	int r = run_table("run", run_steps, ARRAY_LEN(run_steps), &launch, err);
	if (r == 0) {
		*ret_id = mem_strdup(launch.id);
		*ret_status = 0;
		if (!spec->detach)
			r = attach_and_clean(&launch, stdio, ret_status, err);
	}
	launch_done(&launch);
	return r;
}

static int start_locked(struct launch *launch, const struct state_workload *record,
	const struct engine_stdio *stdio, int *ret_status, struct err *err)
{
	struct live live;
	int r = live_read(launch->dirs.run_fd, launch->dirs.data_fd, &live, err);
	if (r != 0)
		return r;
	*ret_status = 0;
	if (live.phase == WORKLOAD_RUNNING)
		return 0;
	struct state *state;
	r = engine_state(launch->engine, &state, err);
	if (r == 0)
		r = state_image_by_prefix(state, record->image_id.hex, &launch->image, err);
	if (r == 0)
		r = backend_find(launch->spec->isolation, &launch->backend, err);
	if (r == 0)
		r = step_run("start", start_steps, ARRAY_LEN(start_steps), launch, err);
	if (r < 0) {
		(void)!dirs_remove(launch->engine, launch->id, false, NULL);
		return r;
	}
	return stdio == NULL ? 0 : attach_and_clean(launch, stdio, ret_status, err);
}

int engine_start(struct engine *engine, const char *name, const struct engine_stdio *stdio,
	int *ret_status, struct err *err)
{
	struct state *state;
	AUTO_DONE(state_workload) record = { 0 };
	AUTO_DONE(workload_spec) spec = { 0 };
	int r = engine_state(engine, &state, err);
	if (r == 0)
		r = state_workload_find(state, name, &record, err);
	if (r == 0)
		r = workload_spec_from_json(view_of(record.spec), &spec, err);
	if (r != 0)
		return r;

	/* What an earlier run left behind (its monitor may just be cleaning) goes first. */
	r = clean_ended(engine, record.id, record.image_id.hex, false, err);
	if (r != 0)
		return r;
	struct launch launch;
	launch_init(&launch, engine, &spec);
	launch.wants_client = stdio != NULL;
	launch.created_ns = record.created_ns;
	memcpy(launch.id, record.id, sizeof(launch.id));
	r = dirs_lock(engine, record.id, DIRS_LOCK_MS, &launch.dirs, err);
	if (r == -ENOENT)
		r = err_set(err, ERR_NOT_FOUND, "no such workload: %s", name);
	if (r == 0)
		r = start_locked(&launch, &record, stdio, ret_status, err);
	launch_done(&launch);
	return r;
}
