/* durable - see durable.h.  A file has no name until its bytes are on the disk, so a crash or a
 * failure at any point leaves the old file or nothing, and no rubbish to clean up. */
#include "base/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/proc.h"

int durable_temp(int dirfd, int *ret_fd, struct err *err)
{
	int fd = openat(dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0) {
		*ret_fd = fd;
		return 0;
	}
	/* EISDIR is a kernel or file system that does not know the flag (open(2)). */
	if (errno == EOPNOTSUPP || errno == EISDIR)
		return err_set(err, ERR_UNSUPPORTED,
			"this file system has no unnamed files (O_TMPFILE): use ext4, xfs, btrfs "
			"or tmpfs");
	return err_sys(err, errno, "create an unnamed file");
}

/* linkat of a descriptor needs CAP_DAC_READ_SEARCH in older kernels; without it the way goes
 * through /proc (open(2), O_TMPFILE). */
static int link_fd(int fd, int dirfd, const char *name)
{
	if (linkat(fd, "", dirfd, name, AT_EMPTY_PATH) == 0)
		return 0;
	if (errno != ENOENT && errno != EPERM)
		return -errno;
	int root = proc_root(NULL);
	if (root < 0)
		return root;
	AUTO_FREE char *self = text_format("self/fd/%d", fd);
	return linkat(root, self, dirfd, name, AT_SYMLINK_FOLLOW) == 0 ? 0 : -errno;
}

/* There is no link that replaces: a second name is made and renamed over the first. */
static int link_over(int fd, int dirfd, const char *name)
{
	uint64_t random = 0;
	CHECK(getrandom(&random, sizeof(random), 0) == sizeof(random));
	AUTO_FREE char *temporary = text_format(".%s.%016" PRIx64, name, random);
	int r = link_fd(fd, dirfd, temporary);
	if (r < 0)
		return r;
	if (renameat(dirfd, temporary, dirfd, name) == 0)
		return 0;
	r = -errno;
	(void)unlinkat(dirfd, temporary, 0);
	return r;
}

int durable_link(int fd, int dirfd, const char *name, bool replace, struct err *err)
{
	if (fsync(fd) < 0)
		return err_sys(err, errno, "sync the data of %s", name);
	int r = link_fd(fd, dirfd, name);
	if (r == -EEXIST)
		r = replace ? link_over(fd, dirfd, name) : 0;
	return r < 0 ? err_sys(err, -r, "give %s its name", name) : 0;
}

int durable_sync_dir(int dirfd, struct err *err)
{
	/* Opened anew: dirfd may be an O_PATH descriptor, which cannot be synced. */
	AUTO_CLOSE int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return err_sys(err, errno, "sync a directory");
	return 0;
}

int durable_sync(int fd, struct err *err)
{
	return fsync(fd) < 0 ? err_sys(err, errno, "sync a file") : 0;
}

int durable_begin(int fd, uint64_t offset, uint64_t len, struct err *err)
{
	/* ESPIPE: neither file nor block device, so there is nothing to bring anywhere. */
	if (sync_file_range(fd, (off_t)offset, (off_t)len, SYNC_FILE_RANGE_WRITE) < 0 &&
		errno != ESPIPE)
		return err_sys(err, errno, "start to sync a file");
	return 0;
}

int durable_write(int dirfd, const char *name, mode_t mode, struct view bytes, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	int r = durable_temp(dirfd, &fd, err);
	if (r < 0)
		return err_wrap(err, r, "write %s", name);
	r = fd_write_all(fd, bytes.data, bytes.len);
	if (r == 0 && fchmod(fd, mode) < 0)
		r = -errno;
	if (r < 0)
		return err_sys(err, -r, "write %s", name);
	r = durable_link(fd, dirfd, name, true, err);
	if (r == 0)
		r = durable_sync_dir(dirfd, err);
	return r < 0 ? err_wrap(err, r, "write %s", name) : 0;
}
