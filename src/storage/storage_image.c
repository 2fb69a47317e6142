/* storage_image - one mount per image, shared by all its users and kept warm for the next one
 * (storage.h, docs/decisions/0005-warm-image-mounts.md).
 *
 *	RUN/mnt               the pinned mount namespace (pin.c)
 *	RUN/mnt: /KEY         in it, the image's mount
 *	RUN/images/KEY/       the image's users; its flock() orders what happens to KEY
 *	RUN/images/KEY/USER   an empty file: USER uses KEY
 *
 * An image without users is idle: its mount stays, since the file system's page cache goes with the
 * last mount of it, and the next run would mount it and read its program anew.  What becomes idle
 * beyond LIMIT_IDLE_IMAGE_MOUNTS is dropped, the longest idle first: a mark that comes or goes sets
 * the directory's time.  An idle mount is never wrong, as the key is made from the content.
 *
 * Invariants
 *	A mark is made under the shared lock, and the mount is made and taken away under the
 *	exclusive one: a user never finds its image half mounted, and openers of a mounted image do
 *	not wait for each other, nor for those of other images.
 *	Only what has no mark is dropped, the mount first and the directory last, under the
 *	exclusive lock; who waited for the lock of a directory that was removed meanwhile sees no
 *	link left on it and starts again.
 *	A detached clone keeps the file system alive by itself, so that unmounting /KEY hurts
 *	nobody.
 *
 * After a kill -9 there may be: a mark without its user (the sweep asks is_alive), a directory
 * without mount and mark (the sweep removes it, an open uses it as it is), one idle mount too many
 * (the next release or sweep drops it). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/text.h"
#include "storage/erofs_mount.h"
#include "storage/layer_stack.h"
#include "storage/pin.h"
#include "storage/storage.h"

#define IMAGES_DIR "images"

enum { LOCK_DEADLINE_MS = 5000, LOCK_TRIES_MAX = 1000 };

/* ---- directories ---- */

static int check_name(const char *what, const char *name, struct err *err)
{
	if (*name == 0 || *name == '.' || strchr(name, '/') != NULL)
		return err_set(err, ERR_INVALID, "%s \"%s\" is not one path component", what, name);
	return 0;
}

static int open_images(int run_fd, int *ret_fd, struct err *err)
{
	int fd = openat(run_fd, IMAGES_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT) {
		int r = path_make_dir(run_fd, IMAGES_DIR, 0700);
		if (r < 0)
			return err_sys(err, -r, "make RUN/" IMAGES_DIR);
		fd = openat(run_fd, IMAGES_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (fd < 0)
		return err_sys(err, errno, "open RUN/" IMAGES_DIR);
	*ret_fd = fd;
	return 0;
}

/* Adds the names in a directory to list, at most max. */
static int list_names(int dir_fd, size_t max, struct strv *list)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (dir == NULL) {
		int r = -errno;
		cleanup_close(&fd);
		return r;
	}
	struct dirent *entry;
	while (list->len < max && (entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.' && !strv_has(list, entry->d_name))
			strv_add(list, entry->d_name);
	(void)closedir(dir);
	return 0;
}

static bool dir_is_empty(int dir_fd)
{
	AUTO_DONE(strv) names = { 0 };
	return list_names(dir_fd, 1, &names) == 0 && names.len == 0;
}

static bool dir_is_removed(int dir_fd)
{
	struct stat st;
	return fstat(dir_fd, &st) == 0 && st.st_nlink == 0;
}

/* Opens and locks KEY's directory, made where missing. */
static int lock_key(int images_fd, const char *key, bool exclusive, int *ret_fd, struct err *err)
{
	for (int i = 0; i < LOCK_TRIES_MAX; i++) {
		AUTO_CLOSE int fd = openat(images_fd, key, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT) {
			if (mkdirat(images_fd, key, 0700) < 0 && errno != EEXIST)
				return err_sys(err, errno, "make RUN/" IMAGES_DIR "/%s", key);
			continue;
		}
		if (fd < 0)
			return err_sys(err, errno, "open RUN/" IMAGES_DIR "/%s", key);
		int r = fd_lock(fd, exclusive, LOCK_DEADLINE_MS);
		if (r < 0)
			return err_sys(err, -r, "lock image %s for %d ms", key, LOCK_DEADLINE_MS);
		if (!dir_is_removed(fd)) {
			*ret_fd = TAKE_FD(fd);
			return 0;
		}
	}
	return err_set(err, ERR_TIMEOUT, "image %s was removed again and again meanwhile", key);
}

/* ---- the mount in the pinned namespace ---- */

/* These are called inside the namespace: its root is the working directory. */

/* -ENOENT also for a directory whose mount was never attached. */
static int find_here(const char *key)
{
	struct statx st;
	if (statx(AT_FDCWD, key, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &st) < 0)
		return -errno;
	return (st.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0 ? 0 : -ENOENT;
}

static int clone_here(const char *key, int *ret_fd)
{
	int r = find_here(key);
	if (r < 0)
		return r;
	*ret_fd = open_tree(AT_FDCWD, key, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	return *ret_fd < 0 ? -errno : 0;
}

static int attach_here(const char *key, int mount_fd)
{
	if (mkdir(key, 0700) < 0 && errno != EEXIST)
		return -errno;
	if (move_mount(mount_fd, "", AT_FDCWD, key, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return -errno;
	return 0;
}

static int detach_here(const char *key)
{
	if (umount2(key, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT)
		return -errno;
	return rmdir(key) < 0 && errno != ENOENT ? -errno : 0;
}

/* 0, or -ENOENT, and err untouched, when the image is not mounted. */
static int find_mount(int run_fd, const char *key, struct err *err)
{
	struct pin_visit visit;
	int r = pin_enter(run_fd, &visit, err);
	if (r < 0)
		return r;
	int found = find_here(key);
	r = pin_leave(&visit, err);
	if (r < 0)
		return r;
	return found < 0 && found != -ENOENT ? err_sys(err, -found, "look at image %s", key)
					     : found;
}

/* A clone of the mount; -ENOENT, and err untouched, when the image is not mounted. */
static int clone_mount(int run_fd, const char *key, int *ret_fd, struct err *err)
{
	struct pin_visit visit;
	int r = pin_enter(run_fd, &visit, err);
	if (r < 0)
		return r;
	AUTO_CLOSE int fd = -1;
	int cloned = clone_here(key, &fd);
	r = pin_leave(&visit, err);
	if (r < 0)
		return r;
	if (cloned < 0 && cloned != -ENOENT)
		return err_sys(err, -cloned, "clone the mount of image %s", key);
	if (cloned == 0)
		*ret_fd = TAKE_FD(fd);
	return cloned;
}

static int open_file_system(const struct storage_image *image, int *ret_fd, struct err *err)
{
	if (image->merged == NULL)
		return layer_stack_open(image->layers, image->layers_len, ret_fd, err);
	size_t len = image->layers_len + 1;
	AUTO_FREE const char **files = mem_new(len, sizeof(*files));
	files[0] = image->merged;
	for (size_t i = 1; i < len; i++)
		files[i] = image->layers[i - 1];
	return erofs_mount_open(files, len, ret_fd, err);
}

/* Under the exclusive lock of KEY. */
static int make_mount(const struct storage_image *image, int images_fd, int *ret_fd,
	struct err *err)
{
	AUTO_CLOSE int mount_fd = -1, clone_fd = -1;
	int r = open_file_system(image, &mount_fd, err);
	if (r < 0)
		return r;
	struct pin_visit visit;
	r = pin_enter(image->run_fd, &visit, err);
	if (r == -ENOENT) {
		r = pin_create(image->run_fd, images_fd, err);
		if (r < 0)
			return r;
		r = pin_enter(image->run_fd, &visit, err);
		if (r == -ENOENT)
			return err_set(err, ERR_SYSTEM, "the mount namespace at RUN/mnt is gone");
	}
	if (r < 0)
		return r;
	int attached = attach_here(image->key, mount_fd);
	if (attached == 0)
		attached = clone_here(image->key, &clone_fd);
	r = pin_leave(&visit, err);
	if (r < 0)
		return r;
	if (attached < 0)
		return err_sys(err, -attached, "attach the mount of image %s", image->key);
	*ret_fd = TAKE_FD(clone_fd);
	return 0;
}

/* Under the exclusive lock of KEY, which has no users. */
static int drop_key(int run_fd, int images_fd, const char *key, struct err *err)
{
	struct pin_visit visit;
	int r = pin_enter(run_fd, &visit, err);
	if (r == 0) {
		int detached = detach_here(key);
		r = pin_leave(&visit, err);
		if (r == 0 && detached < 0)
			r = err_sys(err, -detached, "unmount image %s", key);
	}
	if (r < 0 && r != -ENOENT)
		return r;
	if (unlinkat(images_fd, key, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return err_sys(err, errno, "remove RUN/" IMAGES_DIR "/%s", key);
	return 0;
}

/* ---- idle images ---- */

/* Drops KEY if it is there and has no users. */
static int drop_idle(int run_fd, int images_fd, const char *key, int deadline_ms, struct err *err)
{
	AUTO_CLOSE int key_fd = openat(images_fd, key, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (key_fd < 0)
		return errno == ENOENT ? 0 : err_sys(err, errno, "open RUN/" IMAGES_DIR "/%s", key);
	if (!dir_is_empty(key_fd))
		return 0;
	int r = fd_lock(key_fd, true, deadline_ms);
	if (r == -EWOULDBLOCK && deadline_ms == 0)
		return 0; /* just being opened, or dropped by another */
	if (r < 0)
		return err_sys(err, -r, "lock image %s for %d ms", key, deadline_ms);
	if (dir_is_removed(key_fd) || !dir_is_empty(key_fd))
		return 0; /* another dropped it, or opened it */
	return drop_key(run_fd, images_fd, key, err);
}

struct idle_key {
	const char *key; /* borrowed */
	struct timespec since;
};

static int compare_since(const void *a, const void *b)
{
	const struct timespec *x = &((const struct idle_key *)a)->since;
	const struct timespec *y = &((const struct idle_key *)b)->since;
	if (x->tv_sec != y->tv_sec)
		return x->tv_sec < y->tv_sec ? -1 : 1;
	return (x->tv_nsec > y->tv_nsec) - (x->tv_nsec < y->tv_nsec);
}

static bool find_idle(int images_fd, const char *key, struct idle_key *ret_idle)
{
	struct stat st;
	AUTO_CLOSE int key_fd = openat(images_fd, key, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (key_fd < 0 || fstat(key_fd, &st) < 0 || !dir_is_empty(key_fd))
		return false;
	*ret_idle = (struct idle_key){ .key = key, .since = st.st_mtim };
	return true;
}

/* A directory has a link from each one in it, except on file systems that do not count (1). */
static bool may_be_too_many(int images_fd)
{
	struct stat st;
	return fstat(images_fd, &st) < 0 || st.st_nlink < 2 ||
	       st.st_nlink - 2 > LIMIT_IDLE_IMAGE_MOUNTS;
}

/* Drops the longest idle images beyond the bound. */
static int trim_idle(int run_fd, int images_fd, struct err *err)
{
	if (!may_be_too_many(images_fd))
		return 0;
	AUTO_DONE(strv) keys = { 0 };
	int r = list_names(images_fd, SIZE_MAX, &keys);
	if (r < 0)
		return err_sys(err, -r, "list RUN/" IMAGES_DIR);
	if (keys.len <= LIMIT_IDLE_IMAGE_MOUNTS)
		return 0;
	AUTO_FREE struct idle_key *idle = mem_new(keys.len, sizeof(*idle));
	size_t len = 0;
	for (size_t i = 0; i < keys.len; i++)
		len += find_idle(images_fd, keys.items[i], &idle[len]);
	qsort(idle, len, sizeof(*idle), compare_since);
	/* One image that cannot be dropped keeps no other. */
	int first = 0;
	for (size_t i = 0; i + LIMIT_IDLE_IMAGE_MOUNTS < len; i++) {
		r = drop_idle(run_fd, images_fd, idle[i].key, 0, first == 0 ? err : NULL);
		if (first == 0)
			first = r;
	}
	return first;
}

/* ---- exported ---- */

static int open_marked(const struct storage_image *image, int images_fd, int key_fd, int *ret_fd,
	struct err *err)
{
	int r = clone_mount(image->run_fd, image->key, ret_fd, err);
	if (r != -ENOENT)
		return r;
	/* The mark is there, so nobody removes the directory while the lock changes. */
	r = fd_lock(key_fd, true, LOCK_DEADLINE_MS);
	if (r < 0)
		return err_sys(err, -r, "lock image %s for %d ms", image->key, LOCK_DEADLINE_MS);
	r = clone_mount(image->run_fd, image->key, ret_fd, err);
	return r == -ENOENT ? make_mount(image, images_fd, ret_fd, err) : r;
}

int storage_image_open(const struct storage_image *image, const char *user, int *ret_mount_fd,
	struct err *err)
{
	AUTO_CLOSE int images_fd = -1, key_fd = -1;
	int r = check_name("image key", image->key, err);
	if (r == 0)
		r = check_name("image user", user, err);
	if (r == 0)
		r = open_images(image->run_fd, &images_fd, err);
	if (r == 0)
		r = lock_key(images_fd, image->key, false, &key_fd, err);
	if (r < 0)
		return r;

	int mark = openat(key_fd, user, O_CREAT | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (mark < 0)
		return err_sys(err, errno, "mark image %s as used by %s", image->key, user);
	(void)close(mark);
	r = open_marked(image, images_fd, key_fd, ret_mount_fd, err);
	if (r < 0) {
		(void)close(TAKE_FD(key_fd));
		int undone = storage_image_release(image->run_fd, image->key, user, NULL);
		if (undone == 0)
			undone = storage_image_drop(image->run_fd, image->key, NULL);
		(void)undone; /* what stays is the sweep's; the first error is told */
	}
	return r;
}

int storage_image_release(int run_fd, const char *key, const char *user, struct err *err)
{
	int r = check_name("image key", key, err);
	if (r == 0)
		r = check_name("image user", user, err);
	if (r < 0)
		return r;
	AUTO_CLOSE int images_fd = openat(run_fd, IMAGES_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_CLOSE int key_fd =
		images_fd < 0 ? -1 : openat(images_fd, key, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (key_fd < 0)
		return errno == ENOENT ? 0 : err_sys(err, errno, "open RUN/" IMAGES_DIR "/%s", key);
	if (unlinkat(key_fd, user, 0) < 0 && errno != ENOENT)
		return err_sys(err, errno, "remove the mark of %s from image %s", user, key);
	/* The mark is gone, which is what was asked for: an image that cannot be unmounted now is
	 * tried again by the next release, and the sweep tells why. */
	r = trim_idle(run_fd, images_fd, NULL);
	(void)r;
	return 0;
}

int storage_image_drop(int run_fd, const char *key, struct err *err)
{
	int r = check_name("image key", key, err);
	if (r < 0)
		return r;
	AUTO_CLOSE int images_fd = openat(run_fd, IMAGES_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (images_fd < 0)
		return errno == ENOENT ? 0 : err_sys(err, errno, "open RUN/" IMAGES_DIR);
	return drop_idle(run_fd, images_fd, key, LOCK_DEADLINE_MS, err);
}

/* known: RUN/images has it; else only the namespace does. */
static int sweep_key(int run_fd, int images_fd, const char *key, bool known,
	bool (*is_alive)(void *context, const char *user), void *context, struct err *err)
{
	AUTO_CLOSE int key_fd = -1;
	AUTO_DONE(strv) users = { 0 };
	int r = lock_key(images_fd, key, true, &key_fd, err);
	if (r < 0)
		return r;
	r = list_names(key_fd, SIZE_MAX, &users);
	if (r < 0)
		return err_sys(err, -r, "list the users of image %s", key);
	size_t alive = 0;
	for (size_t i = 0; i < users.len; i++) {
		if (is_alive(context, users.items[i]))
			alive++;
		else if (unlinkat(key_fd, users.items[i], 0) < 0 && errno != ENOENT)
			return err_sys(err, errno, "remove the mark of %s", users.items[i]);
	}
	if (alive > 0)
		return 0;
	r = known ? find_mount(run_fd, key, err) : -ENOENT;
	return r == -ENOENT ? drop_key(run_fd, images_fd, key, err) : r;
}

int storage_image_sweep(int run_fd, bool (*is_alive)(void *context, const char *user),
	void *context, struct err *err)
{
	AUTO_CLOSE int images_fd = -1;
	AUTO_DONE(strv) keys = { 0 };
	int r = open_images(run_fd, &images_fd, err);
	if (r < 0)
		return r;
	int listed = list_names(images_fd, SIZE_MAX, &keys);
	size_t known = keys.len;
	struct pin_visit visit;
	r = pin_enter(run_fd, &visit, err);
	if (r == 0) {
		if (listed == 0)
			listed = list_names(AT_FDCWD, SIZE_MAX, &keys);
		r = pin_leave(&visit, err);
	}
	if (r < 0 && r != -ENOENT)
		return r;
	if (listed < 0)
		return err_sys(err, -listed, "list the mounted images");
	/* One image that cannot be swept keeps no other. */
	int first = 0;
	for (size_t i = 0; i < keys.len; i++) {
		r = sweep_key(run_fd, images_fd, keys.items[i], i < known, is_alive, context,
			first == 0 ? err : NULL);
		if (first == 0)
			first = r;
	}
	r = trim_idle(run_fd, images_fd, first == 0 ? err : NULL);
	return first == 0 ? r : first;
}

int storage_unpin(int run_fd, struct err *err)
{
	int r = pin_remove(run_fd, err);
	return r < 0 ? r : path_remove_tree(run_fd, IMAGES_DIR, err);
}
