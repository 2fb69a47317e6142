/* erofs_mount - see erofs_mount.h.
 *
 * Every file is opened first and named to the kernel as /proc/self/fd/N: paths may be longer than
 * the 255 bytes an option may have, and may hold what option parsers treat specially.  Linux 6.12
 * mounts plain files (CONFIG_EROFS_FS_BACKED_BY_FILE); older kernels, and files on file systems
 * without a page cache of the common kind (tmpfs), say ENOTBLK and get loop devices.
 *
 * The mount allows no device nodes but does allow set-uid: both are decided again by the overlay
 * mount above, yet an image may also be a root by itself. */
#include "storage/erofs_mount.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"
#include "storage/fs_context.h"
#include "storage/loop_device.h"

struct backing {
	int fds[LIMIT_LAYERS + 1]; /* owned */
	size_t len;
	struct strv names; /* as the kernel is told */
};

static void backing_done(struct backing *backing)
{
	for (size_t i = 0; i < backing->len; i++)
		(void)close(backing->fds[i]);
	backing->len = 0;
	strv_done(&backing->names);
}

static int open_files(const char *const *files, size_t len, struct backing *backing,
	struct err *err)
{
	if (len == 0 || len > ARRAY_LEN(backing->fds))
		return err_set(err, ERR_LIMIT, "an image of %zu files: at most %zu are possible",
			len, ARRAY_LEN(backing->fds));
	for (size_t i = 0; i < len; i++) {
		int fd = open(files[i], O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0)
			return err_sys(err, errno, "open image file %s", files[i]);
		backing->fds[backing->len++] = fd;
		strv_printf(&backing->names, "/proc/self/fd/%d", fd);
	}
	return 0;
}

static int attach_files(const struct backing *files, struct backing *devices, struct err *err)
{
	for (size_t i = 0; i < files->len; i++) {
		char *path = NULL;
		int r = loop_device_attach(files->fds[i], &devices->fds[devices->len], &path, err);
		if (r < 0)
			return r;
		devices->len++;
		strv_take(&devices->names, path);
	}
	return 0;
}

static int mount_backing(const struct backing *backing, int *ret_mount_fd, struct err *err)
{
	CHECK(backing->names.len > 0); /* open_files() refuses none */
	AUTO_DONE(fs_context) context = { 0 };
	int r = fs_context_open("erofs", &context, err);
	if (r == 0) /* else a read-only loop device is refused */
		r = fs_context_set(&context, "ro", NULL, err);
	if (r == 0)
		r = fs_context_set(&context, "source", backing->names.items[0], err);
	for (size_t i = 1; r == 0 && i < backing->len; i++)
		r = fs_context_set(&context, "device", backing->names.items[i], err);
	if (r < 0)
		return r;
	return fs_context_mount(&context, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV, ret_mount_fd, err);
}

static int mount_by_loop(const struct backing *files, int *ret_mount_fd, struct err *err)
{
	AUTO_DONE(backing) devices = { 0 };
	int r = attach_files(files, &devices, err);
	return r < 0 ? r : mount_backing(&devices, ret_mount_fd, err);
}

int erofs_mount_open(const char *const *files, size_t len, int *ret_mount_fd, struct err *err)
{
	AUTO_DONE(backing) backing = { 0 };
	int r = open_files(files, len, &backing, err);
	if (r < 0)
		return r;
	r = mount_backing(&backing, ret_mount_fd, err);
	/* EINVAL: a kernel that mounts one file, but not files with extra devices; or a damaged
	 * image, of which the second attempt says the same. */
	if (r == -ENOTBLK || r == -EINVAL)
		r = mount_by_loop(&backing, ret_mount_fd, err);
	return r < 0 ? err_wrap(err, r, "image file %s", files[0]) : 0;
}

int erofs_mount_open_loop(const char *const *files, size_t len, int *ret_mount_fd, struct err *err)
{
	AUTO_DONE(backing) backing = { 0 };
	int r = open_files(files, len, &backing, err);
	return r < 0 ? r : mount_by_loop(&backing, ret_mount_fd, err);
}
