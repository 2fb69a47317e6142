#include "engine/dirs.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "engine/running.h"

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

static int open_data(const struct engine *engine, const char *id, struct dirs *dirs)
{
	*dirs = (struct dirs){
		.data_path = engine_path(engine, "workloads/%s", id),
		.run_path = text_format("%s/%s", engine->run, id),
		.data_fd = -1,
		.run_fd = -1,
	};
	dirs->data_fd = open(dirs->data_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dirs->data_fd < 0 ? -errno : 0;
}

/* Only with the lock: whoever repairs takes a run directory without one for a killed command's. */
static int open_run(const struct engine *engine, const char *id, struct dirs *dirs)
{
	int r = path_make_dir(engine->run_fd, id, 0700);
	if (r < 0)
		return r;
	dirs->run_fd = openat(engine->run_fd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dirs->run_fd < 0 ? -errno : 0;
}

/* Held shared while a workload's directories appear and are locked, exclusively to remove what has
 * not come so far: whether its maker was killed or is about to go on cannot be seen. */
static int lock_making(const struct engine *engine, bool exclusive, int lock_ms, int *ret_fd)
{
	AUTO_CLOSE int fd = openat(engine->run_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = fd < 0 ? -errno : fd_lock(fd, exclusive, lock_ms);
	if (r == 0)
		*ret_fd = TAKE_FD(fd);
	return r;
}

int dirs_make(const struct engine *engine, const char *id, struct dirs *ret_dirs, struct err *err)
{
	AUTO_CLOSE int making_fd = -1;
	int r = lock_making(engine, false, DIRS_LOCK_MS, &making_fd);
	if (r < 0)
		return err_sys(err, -r, "lock \"%s\"", engine->run);
	/* The run directory first: it is what repair looks for. */
	if (mkdirat(engine->run_fd, id, 0700) < 0)
		return err_sys(err, errno, "make \"%s/%s\"", engine->run, id);
	AUTO_FREE char *data = engine_path(engine, "workloads/%s", id);
	AUTO_DONE(dirs) dirs = { .data_fd = -1, .run_fd = -1 };
	r = mkdir(data, 0700) < 0 ? -errno : open_data(engine, id, &dirs);
	/* Who repairs may have taken it, and gives it back when it sees that it is being made. */
	if (r == 0)
		r = fd_lock(dirs.data_fd, true, DIRS_LOCK_MS);
	if (r == 0)
		r = open_run(engine, id, &dirs);
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
	int r = open_data(engine, id, &dirs);
	if (r == -ENOENT)
		return r;
	if (r < 0)
		return err_sys(err, -r, "open \"%s\"", dirs.data_path);
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
	r = open_run(engine, id, &dirs);
	if (r < 0)
		return err_sys(err, -r, "open \"%s\"", dirs.run_path);
	*ret_dirs = dirs;
	dirs = (struct dirs){ .data_fd = -1, .run_fd = -1 };
	return 0;
}

bool dirs_are_being_made(const struct engine *engine)
{
	AUTO_CLOSE int making_fd = -1;
	return lock_making(engine, true, 0, &making_fd) < 0;
}

int dirs_remove(const struct engine *engine, const char *id, bool is_gone, struct err *err)
{
	if (is_gone) {
		AUTO_FREE char *data = engine_path(engine, "workloads/%s", id);
		int r = path_remove_tree(AT_FDCWD, data, err);
		if (r < 0)
			return r;
	}
	running_withdraw(engine, id);
	return path_remove_tree(engine->run_fd, id, err);
}

int dirs_remove_unmade(const struct engine *engine, const char *id, struct err *err)
{
	AUTO_CLOSE int making_fd = -1;
	if (lock_making(engine, true, 0, &making_fd) < 0)
		return 0; /* someone is making one: the next repair looks again */
	AUTO_FREE char *data = engine_path(engine, "workloads/%s", id);
	return access(data, F_OK) == 0 ? 0 : dirs_remove(engine, id, false, err);
}
