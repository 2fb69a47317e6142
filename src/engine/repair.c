/* repair - every command that changes something starts here (engine_repair).
 *
 * A workload's run directory is its first trace and its last, so what was left half done is found
 * by listing the run directory: what has no record, no lock held by a living command and no process
 * of its own is removed.  The store has one locked file for each command that changes it; a file
 * without its lock means that a killed command may have left files that no row names (store.c). */
#include "engine/repair.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/clean.h"
#include "engine/monitor_link.h"
#include "engine/network.h"
#include "engine/spec.h"
#include "engine/store.h"

static int adopt(struct engine *engine, const struct state_workload *record, struct dirs *dirs,
	struct live *live, struct err *err)
{
	AUTO_DONE(workload_spec) spec = { 0 };
	int r = workload_spec_from_json(view_of(record->spec), &spec, err);
	if (r == 0)
		r = monitor_link_adopt(engine, record->id, dirs, &live->init, spec.tty, err);
	if (r == 0)
		log_info("workload %.12s had lost its monitor and has a new one", record->id);
	return r;
}

static int repair_locked(struct engine *engine, const char *id, const struct state_workload *record,
	struct dirs *dirs, struct live *live, struct err *err)
{
	int r = live_read(dirs->run_fd, dirs->data_fd, live, err);
	if (r < 0 || live->monitor_lives)
		return r;
	/* Cut before the init was there: perhaps between taking an address and noting it. */
	if (!live->has_init)
		r = network_release_unnoted(engine, id, err);
	if (r != 0)
		return r;
	if (record == NULL)
		return clean_locked(engine, id, NULL, true, dirs, err);
	bool has_ended = live->phase == WORKLOAD_EXITED && live->finished_ns != 0;
	if (live->has_init && !has_ended)
		/* Also where the init has gone: the new monitor records that, and the last output.
		 */
		return adopt(engine, record, dirs, live, err);
	return clean_locked(engine, id, record->image_id.hex, record->auto_remove, dirs, err);
}

int repair_workload(struct engine *engine, const char *id, const struct state_workload *record,
	struct live *live, struct err *err)
{
	AUTO_DONE(dirs) dirs = { .data_fd = -1, .run_fd = -1 };
	int r = dirs_lock(engine, id, 0, &dirs, err);
	if (r == -EWOULDBLOCK)
		return 0; /* a command is at work on it */
	if (r == -ENOENT)
		return record == NULL ? dirs_remove_unmade(engine, id, err) : 0;
	/* Without a record its maker was killed, unless it is just about to lock it. */
	if (r == 0 && record == NULL && dirs_are_being_made(engine))
		return 0;
	return r < 0 ? r : repair_locked(engine, id, record, &dirs, live, err);
}

static int repair_id(struct engine *engine, const char *id, struct err *err)
{
	struct state *state;
	AUTO_DONE(state_workload) record = { 0 };
	int r = engine_state(engine, &state, err);
	if (r < 0)
		return r;
	r = state_workload_find(state, id, &record, NULL);
	if (r < 0 && r != -ENOENT)
		return r;
	struct live live = { 0 };
	return repair_workload(engine, id, r == 0 ? &record : NULL, &live, err);
}

/* Directories of workloads that neither a record nor a run directory knows: made before the last
 * restart of the host by a command that was cut. */
static int repair_after_boot(struct engine *engine, struct err *err)
{
	AUTO_FREE char *path = engine_path(engine, "workloads");
	DIR *dir = opendir(path);
	if (dir == NULL)
		return err_sys(err, errno, "list \"%s\"", path);
	int r = 0;
	for (struct dirent *entry; r == 0 && (entry = readdir(dir)) != NULL;) {
		struct state *state;
		AUTO_DONE(state_workload) record = { 0 };
		if (!id_is(entry->d_name))
			continue;
		r = engine_state(engine, &state, err);
		if (r == 0 && state_workload_find(state, entry->d_name, &record, NULL) == -ENOENT)
			r = dirs_remove(engine, entry->d_name, true, err);
		else if (r == 0 && record.auto_remove)
			r = clean_ended(engine, record.id, record.image_id.hex, true, err);
	}
	(void)closedir(dir);
	return r;
}

int engine_repair(struct engine *engine, struct err *err)
{
	int fd = openat(engine->run_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (dir == NULL)
		return err_sys(err, errno, "list \"%s\"", engine->run);
	int r = engine->is_new_boot ? repair_after_boot(engine, err) : 0;
	for (struct dirent *entry; r == 0 && (entry = readdir(dir)) != NULL;) {
		if (!id_is(entry->d_name))
			continue;
		AUTO_CLOSE int run_fd =
			openat(engine->run_fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (run_fd < 0 || live_monitor_lives(run_fd))
			continue;
		r = repair_id(engine, entry->d_name, err);
	}
	(void)closedir(dir);
	return r < 0 ? r : store_repair(engine, err);
}
