#include "engine/dirs.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"

void dirs_done(struct dirs *dirs)
{
	free(dirs->data_path);
	free(dirs->run_path);
	if (dirs->data_fd >= 0)
		(void)close(dirs->data_fd);
	if (dirs->run_fd >= 0)
		(void)close(dirs->run_fd);
	*dirs = (struct dirs){ .data_fd = -1, .run_fd = -1 };
}

static int open_both(const struct engine *engine, const char *id, struct dirs *dirs)
{
	*dirs = (struct dirs){
		.data_path = engine_path(engine, "workloads/%s", id),
		.run_path = text_format("%s/%s", engine->run, id),
		.data_fd = -1,
		.run_fd = -1,
	};
	dirs->data_fd = open(dirs->data_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirs->data_fd < 0)
		return -errno;
	dirs->run_fd = openat(engine->run_fd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dirs->run_fd < 0 ? -errno : 0;
}

int dirs_make(const struct engine *engine, const char *id, struct dirs *ret_dirs, struct err *err)
{
	/* The run directory first: it is what repair looks for. */
	if (mkdirat(engine->run_fd, id, 0700) < 0)
		return err_sys(err, errno, "make \"%s/%s\"", engine->run, id);
	AUTO_FREE char *data = engine_path(engine, "workloads/%s", id);
	AUTO_DONE(dirs) dirs = { .data_fd = -1, .run_fd = -1 };
	int r = mkdir(data, 0700) < 0 ? -errno : open_both(engine, id, &dirs);
	if (r == 0)
		r = fd_lock(dirs.data_fd, true, 0);
	if (r < 0) {
		(void)!dirs_remove(engine, id, true, NULL);
		return err_sys(err, -r, "make \"%s\"", data);
	}
	*ret_dirs = dirs;
	dirs = (struct dirs){ .data_fd = -1, .run_fd = -1 };
	return 0;
}

int dirs_lock(const struct engine *engine, const char *id, int lock_ms, struct dirs *ret_dirs,
	struct err *err)
{
	AUTO_DONE(dirs) dirs = { .data_fd = -1, .run_fd = -1 };
	AUTO_FREE char *data = engine_path(engine, "workloads/%s", id);
	if (access(data, F_OK) < 0)
		return -errno;
	int r = path_make_dir(engine->run_fd, id, 0700);
	if (r == 0)
		r = open_both(engine, id, &dirs);
	if (r == -ENOENT)
		return r;
	if (r < 0)
		return err_sys(err, -r, "open the directories of workload %.12s", id);
	r = fd_lock(dirs.data_fd, true, lock_ms);
	if (r == -EWOULDBLOCK && lock_ms == 0)
		return r;
	if (r < 0)
		return err_set(err, ERR_TIMEOUT,
			"workload %.12s is busy: another command holds it for more than %d s", id,
			lock_ms / 1000);
	/* It may have been removed while we waited. */
	struct stat now;
	if (fstat(dirs.data_fd, &now) < 0 || now.st_nlink == 0)
		return -ENOENT;
	*ret_dirs = dirs;
	dirs = (struct dirs){ .data_fd = -1, .run_fd = -1 };
	return 0;
}

int dirs_remove(const struct engine *engine, const char *id, bool is_gone, struct err *err)
{
	if (is_gone) {
		AUTO_FREE char *data = engine_path(engine, "workloads/%s", id);
		int r = path_remove_tree(AT_FDCWD, data, err);
		if (r < 0)
			return r;
	}
	return path_remove_tree(engine->run_fd, id, err);
}
