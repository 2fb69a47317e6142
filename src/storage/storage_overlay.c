/* storage_overlay - the writable root of a container (storage.h).
 *
 * Newer kernels take descriptors: upper and work directory and even a lower mount that is attached
 * nowhere (Linux 6.13, 6.15), which saves the attaching and frees paths from the option parser's
 * colons and limits.  Else lower_dir and /proc/self/fd/N are used, which are short.
 *
 * Options, as Docker's driver chooses them and for the same reasons:
 *	index=off         an upper directory may meet a new mount of its image (after a restart)
 *	metacopy=off      an upper file is a whole file: what is committed or copied out is complete
 *	redirect_dir=nofollow
 *	                  a renamed directory is copied, and a redirect forged in a layer is ignored
 *	volatile          (--rm only) no sync: what would be kept is thrown away anyway */
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/path.h"
#include "base/text.h"
#include "storage/fs_context.h"
#include "storage/storage.h"

struct overlay_dirs {
	int upper, work; /* owned */
};

static void overlay_dirs_done(struct overlay_dirs *dirs)
{
	cleanup_close(&dirs->upper);
	cleanup_close(&dirs->work);
}

static int open_dir(int data_fd, const char *name, mode_t mode, int *ret_fd)
{
	int r = path_make_dir(data_fd, name, mode);
	if (r < 0)
		return r;
	*ret_fd = openat(data_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return *ret_fd < 0 ? -errno : 0;
}

/* The kernel marks the work directory of a volatile overlay and refuses it the next time, as it
 * may have outlived a crash of the host.  Run directories do not, so here the mark says nothing. */
static int forget_volatile(int work)
{
	return faccessat(work, "work/incompat", F_OK, AT_SYMLINK_NOFOLLOW) == 0
		       ? path_remove_tree(work, "work/incompat", NULL)
		       : 0;
}

static int open_dirs(const char *data_dir, bool is_volatile, struct overlay_dirs *dirs,
	struct err *err)
{
	AUTO_CLOSE int data = open(data_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (data < 0)
		return err_sys(err, errno, "open %s", data_dir);
	int r = open_dir(data, "upper", 0755, &dirs->upper);
	if (r == 0)
		r = open_dir(data, "work", 0700, &dirs->work);
	if (r == 0 && is_volatile)
		r = forget_volatile(dirs->work);
	return r < 0 ? err_sys(err, -r, "make upper and work directory in %s", data_dir) : 0;
}

static int set_common(const struct fs_context *context, bool is_volatile, struct err *err)
{
	static const char *const options[][2] = { { "source", "moat" }, { "index", "off" },
		{ "metacopy", "off" }, { "redirect_dir", "nofollow" } };
	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		int r = fs_context_set(context, options[i][0], options[i][1], err);
		if (r < 0)
			return r;
	}
	return is_volatile ? fs_context_set(context, "volatile", NULL, err) : 0;
}

/* -EINVAL or the like, silently: not with this kernel. */
static int mount_by_fds(int lower, const struct overlay_dirs *dirs, bool is_volatile,
	int *ret_mount_fd)
{
	AUTO_DONE(fs_context) context = { 0 };
	int r = fs_context_open("overlay", &context, NULL);
	if (r == 0)
		r = fs_context_set_fd(&context, "lowerdir+", lower);
	if (r == 0)
		r = fs_context_set_fd(&context, "upperdir", dirs->upper);
	if (r == 0)
		r = fs_context_set_fd(&context, "workdir", dirs->work);
	if (r == 0)
		r = set_common(&context, is_volatile, NULL);
	return r < 0 ? r : fs_context_mount(&context, 0, ret_mount_fd, NULL);
}

static int set_fd_path(const struct fs_context *context, const char *key, int fd, struct err *err)
{
	AUTO_FREE char *path = text_format("/proc/self/fd/%d", fd);
	return fs_context_set(context, key, path, err);
}

static int mount_by_paths(int lower, const char *lower_dir, const struct overlay_dirs *dirs,
	bool is_volatile, int *ret_mount_fd, struct err *err)
{
	if (move_mount(lower, "", AT_FDCWD, lower_dir, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_sys(err, errno, "attach the image at %s", lower_dir);
	AUTO_DONE(fs_context) context = { 0 };
	int r = fs_context_open("overlay", &context, err);
	if (r == 0) /* once attached, lower stands for lower_dir */
		r = set_fd_path(&context, "lowerdir", lower, err);
	if (r == 0)
		r = set_fd_path(&context, "upperdir", dirs->upper, err);
	if (r == 0)
		r = set_fd_path(&context, "workdir", dirs->work, err);
	if (r == 0)
		r = set_common(&context, is_volatile, err);
	return r < 0 ? r : fs_context_mount(&context, 0, ret_mount_fd, err);
}

int storage_overlay_open(int take_lower, const char *lower_dir, const char *data_dir,
	bool is_volatile, int *ret_mount_fd, struct err *err)
{
	AUTO_CLOSE int lower = take_lower;
	AUTO_DONE(overlay_dirs) dirs = { .upper = -1, .work = -1 };
	int r = open_dirs(data_dir, is_volatile, &dirs, err);
	if (r < 0)
		return r;
	if (mount_by_fds(lower, &dirs, is_volatile, ret_mount_fd) == 0)
		return 0;
	r = mount_by_paths(lower, lower_dir, &dirs, is_volatile, ret_mount_fd, err);
	return r < 0 ? err_wrap(err, r, "overlay of %s", data_dir) : 0;
}
