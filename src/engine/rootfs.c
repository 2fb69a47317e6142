/* rootfs - the directories of a workload and the mount of its image. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/backend.h"
#include "engine/launch.h"
#include "storage/storage.h"

int launch_rootfs(void *context, struct err *err)
{
	struct launch *launch = context;
	return dirs_make(launch->engine, launch->id, &launch->dirs, err);
}

void launch_rootfs_undo(void *context)
{
	struct launch *launch = context;
	struct err err = { 0 };
	dirs_done(&launch->dirs);
	if (dirs_remove(launch->engine, launch->id, true, &err) < 0)
		log_warning("workload %.12s stays to be repaired: %s", launch->id, err.message);
}

/* Nothing to undo: it goes with the directories. */
int launch_disk(void *context, struct err *err)
{
	struct launch *launch = context;
	return launch->backend->make_disk == NULL ? 0 : launch->backend->make_disk(launch, err);
}

int launch_mount(void *context, struct err *err)
{
	struct launch *launch = context;
	size_t len = launch->image.layers_len;
	AUTO_DONE(strv) layers = { 0 };
	for (size_t i = 0; i < len; i++)
		strv_printf(&layers, "%s/layers/sha256/%s", launch->engine->root,
			launch->image.layers[i].diff_id.hex);
	AUTO_FREE char *merged =
		engine_path(launch->engine, "images/sha256/%s", launch->image.id.hex);
	const struct storage_image image = {
		.run_fd = launch->engine->run_fd,
		.key = launch->image.id.hex,
		.merged = merged,
		.layers = (const char *const *)layers.items,
		.layers_len = len,
	};
	int r = storage_image_open(&image, launch->id, &launch->image_mount_fd, err);
	return r < 0 ? err_wrap(err, r, "mount image \"%s\"", launch->spec->image) : 0;
}

static bool image_is_stored(const struct launch *launch)
{
	struct state *state;
	AUTO_DONE(state_image) image = { 0 };
	return engine_state(launch->engine, &state, NULL) == 0 &&
	       state_image_by_prefix(state, launch->image.id.hex, &image, NULL) == 0;
}

void launch_mount_undo(void *context)
{
	struct launch *launch = context;
	struct err err = { 0 };
	if (launch->image_mount_fd >= 0)
		(void)close(TAKE_FD(launch->image_mount_fd));
	const char *key = launch->image.id.hex;
	int r = storage_image_release(launch->engine->run_fd, key, launch->id, &err);
	/* It may have been removed while it was marked: then nobody else drops its mount. */
	if (r == 0 && !image_is_stored(launch))
		r = storage_image_drop(launch->engine->run_fd, key, &err);
	if (r < 0)
		log_warning("the image mount stays: %s", err.message);
}
