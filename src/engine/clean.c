#include "engine/clean.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "engine/backend.h"
#include "engine/network.h"
#include "storage/storage.h"

/* What the kernel holds, whichever wall it stood behind. */
static int destroy(struct engine *engine, const char *id, struct err *err)
{
	size_t len;
	const struct backend *const *all = backend_all(&len);
	for (size_t i = 0; i < len; i++) {
		int r = all[i]->destroy(engine, id, err);
		if (r != 0)
			return r;
	}
	return 0;
}

/* The record goes first: from then on the workload is only a run directory to be cleared away, and
 * a killed command's rest is found by it. */
static int forget(struct engine *engine, const char *id, struct err *err)
{
	struct state *state;
	int r = engine_state(engine, &state, err);
	if (r == 0)
		r = state_workload_remove(state, id, err);
	/* One that was never finished has none. */
	return r == -ENOENT ? 0 : r;
}

struct survivors {
	const struct engine *engine;
	const char *gone;
};

static bool user_lives(void *context, const char *user)
{
	const struct survivors *survivors = context;
	return strcmp(user, survivors->gone) != 0 &&
	       faccessat(survivors->engine->run_fd, user, F_OK, 0) == 0;
}

/* Of a workload without a record nobody knows the image: its mark is looked for. */
static int release_image(struct engine *engine, const char *id, const char *image_key,
	struct err *err)
{
	if (image_key != NULL)
		return storage_image_release(engine->run_fd, image_key, id, err);
	struct survivors survivors = { engine, id };
	return storage_image_sweep(engine->run_fd, user_lives, &survivors, err);
}

int clean_locked(struct engine *engine, const char *id, const char *image_key, bool is_gone,
	struct dirs *take_dirs, struct err *err)
{
	int r = destroy(engine, id, err);
	if (r == 0)
		r = network_release(engine, id, err);
	if (r == 0)
		r = release_image(engine, id, image_key, err);
	if (r == 0 && is_gone)
		r = forget(engine, id, err);
	if (r == 0)
		r = dirs_remove(engine, id, is_gone, err);
	/* The lock last: until here nobody may start it again. */
	dirs_done(take_dirs);
	return r;
}

int clean_ended(struct engine *engine, const char *id, const char *image_key, bool is_gone,
	struct err *err)
{
	AUTO_DONE(dirs) dirs = { .data_fd = -1, .run_fd = -1 };
	bool had_run_dir = faccessat(engine->run_fd, id, F_OK, 0) == 0;
	if (!had_run_dir && !is_gone)
		return 0;
	int r = dirs_lock(engine, id, DIRS_LOCK_MS, &dirs, err);
	if (r == -ENOENT)
		return 0;
	if (r != 0)
		return r;
	struct live live;
	r = live_read(dirs.run_fd, dirs.data_fd, &live, err);
	if (r != 0)
		return r;
	if (live.phase == WORKLOAD_RUNNING && live.init_lives)
		return 0;
	return clean_locked(engine, id, image_key, is_gone, &dirs, err);
}
