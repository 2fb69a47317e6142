/* path_tree - whole trees below a directory: removing and measuring (path.h).
 *
 * Trees come from workloads, so they may be thousands of levels deep, change while we look, and
 * hold mounts.  The walk therefore keeps no descriptor per level and does not recurse: one
 * directory is open at a time, each level remembers which subdirectories are still to be visited,
 * and the way up is "..", believed only if device and inode are those of the directory we came down
 * through.  The way down is openat2 without symlinks and without crossing a mount; only what stands
 * before the last name of an absolute path may be reached by either. */
#include "base/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdalign.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/mem.h"
#include "base/text.h"

#define REMOVE_TRIES 8

/* What is done at each entry: return 1 to go down into it, 0 to go on, or a negative errno.  leave
 * is called after its contents; entry and leave get the directory that holds name.  type is the
 * DT_* that the directory has for it, DT_UNKNOWN included. */
struct visitor {
	int (*entry)(void *context, int dirfd, const char *name, unsigned char type);
	int (*leave)(void *context, int dirfd, const char *name);
	void *context;
};

struct level {
	dev_t dev;
	ino_t ino;
	struct strv pending; /* subdirectories still to visit; the last one is being visited */
};

struct walk {
	const struct visitor *visitor;
	struct level *levels; /* owned */
	size_t len, capacity;
	int fd; /* owned; the directory of the last level */
};

static void walk_done(struct walk *walk)
{
	for (size_t i = 0; i < walk->len; i++)
		strv_done(&walk->levels[i].pending);
	free(walk->levels);
	if (walk->fd >= 0)
		(void)close(walk->fd);
}

static int open_dir(int dirfd, const char *name)
{
	struct open_how how = { .flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS };
	int fd = (int)syscall(SYS_openat2, dirfd, name, &how, sizeof(how));
	return fd >= 0 ? fd : -errno;
}

/* The way to the top of the tree is the caller's and may cross mounts: a data root is often one. */
static int open_top(int dirfd, const char *path)
{
	const char *slash = strrchr(path, '/');
	if (slash == NULL)
		return open_dir(dirfd, path);
	AUTO_FREE char *above = text_format("%.*s", (int)(slash - path) + 1, path);
	AUTO_CLOSE int fd = openat(dirfd, above, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : open_dir(fd, slash + 1);
}

static bool is_dot(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Visits every entry of the directory fd; those to go down into are listed in pending.  Straight
 * getdents64(2): readdir would want a descriptor of its own, opened, asked and closed again. */
static int scan(int fd, const struct visitor *visitor, struct strv *pending)
{
	alignas(struct dirent64) char buffer[8192];
	for (;;) {
		ssize_t n = getdents64(fd, buffer, sizeof(buffer));
		if (n <= 0)
			return n < 0 ? -errno : 0;
		for (ssize_t at = 0; at < n;) {
			const struct dirent64 *entry = (const struct dirent64 *)(buffer + at);
			at += entry->d_reclen;
			if (is_dot(entry->d_name))
				continue;
			int r = visitor->entry(visitor->context, fd, entry->d_name, entry->d_type);
			if (r < 0)
				return r;
			if (r > 0)
				strv_add(pending, entry->d_name);
		}
	}
}

/* take_fd becomes the walk's directory, one level deeper. */
static int enter(struct walk *walk, int take_fd)
{
	if (walk->fd >= 0)
		(void)close(walk->fd);
	walk->fd = take_fd;
	struct stat st;
	if (fstat(walk->fd, &st) < 0)
		return -errno;
	if (walk->len == walk->capacity) {
		walk->capacity = walk->capacity > 0 ? walk->capacity * 2 : 16;
		walk->levels = mem_grow(walk->levels, walk->capacity, sizeof(walk->levels[0]));
	}
	struct level *level = &walk->levels[walk->len++];
	*level = (struct level){ .dev = st.st_dev, .ino = st.st_ino };
	return scan(walk->fd, walk->visitor, &level->pending);
}

/* Back to the directory above the last level. */
static int go_up(struct walk *walk)
{
	const struct level *above = &walk->levels[walk->len - 2];
	int fd = open_dir(walk->fd, "..");
	if (fd < 0)
		return fd;
	(void)close(walk->fd);
	walk->fd = fd;
	struct stat st;
	if (fstat(fd, &st) < 0)
		return -errno;
	/* Someone moved the directory while we were in it: we are not where we think. */
	if (st.st_dev != above->dev || st.st_ino != above->ino)
		return -ESTALE;
	walk->len--;
	strv_done(&walk->levels[walk->len].pending);
	return 0;
}

/* The subdirectory that was visited, off the list; caller owns. */
static char *take_last(struct strv *pending)
{
	CHECK(pending->items != NULL && pending->len > 0);
	char *name = pending->items[--pending->len];
	pending->items[pending->len] = NULL;
	return name;
}

/* Visits all below the directory name of dirfd, but not name itself. */
static int walk_tree(int dirfd, const char *name, const struct visitor *visitor)
{
	__attribute__((cleanup(walk_done))) struct walk walk = { .visitor = visitor, .fd = -1 };
	int fd = open_top(dirfd, name);
	if (fd < 0)
		return fd;
	int r = enter(&walk, fd);
	while (r >= 0) {
		CHECK(walk.levels != NULL && walk.len > 0);
		struct strv *pending = &walk.levels[walk.len - 1].pending;
		if (pending->len > 0) {
			fd = open_dir(walk.fd, pending->items[pending->len - 1]);
			if (fd == -ENOENT) /* its owner was quicker */
				free(take_last(pending));
			else
				r = fd < 0 ? fd : enter(&walk, fd);
			continue;
		}
		if (walk.len == 1)
			return 0;
		r = go_up(&walk);
		if (r < 0)
			break;
		AUTO_FREE char *left = take_last(&walk.levels[walk.len - 1].pending);
		r = visitor->leave(visitor->context, walk.fd, left);
	}
	return r;
}

/* Removing tries the simplest first: most entries are files, then empty directories. */
static int remove_entry(void *context, int dirfd, const char *name, unsigned char type)
{
	(void)context;
	if (type != DT_DIR) {
		if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
			return 0;
		if (errno != EISDIR)
			return -errno;
	}
	if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	return errno == ENOTEMPTY || errno == EEXIST ? 1 : -errno;
}

static int remove_left(void *context, int dirfd, const char *name)
{
	(void)context;
	return unlinkat(dirfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT ? 0 : -errno;
}

static int remove_once(int dirfd, const char *name)
{
	static const struct visitor remover = { .entry = remove_entry, .leave = remove_left };
	int r = remove_entry(NULL, dirfd, name, DT_UNKNOWN);
	if (r > 0)
		r = walk_tree(dirfd, name, &remover);
	else if (r == 0)
		return 0;
	return r == 0 ? remove_left(NULL, dirfd, name) : r;
}

int path_remove_tree(int dirfd, const char *name, struct err *err)
{
	int r = -ENOENT;
	/* What another removes at the same time vanishes below us; gone is gone. */
	for (int i = 0; r == -ENOENT && i < REMOVE_TRIES; i++) {
		r = remove_once(dirfd, name);
		if (r == -ENOENT && faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
			errno == ENOENT)
			return 0;
	}
	if (r == -EXDEV || r == -EBUSY)
		return err_sys(err, -r, "remove %s: something is mounted in it, unmount that first",
			name);
	return r < 0 ? err_sys(err, -r, "remove %s", name) : 0;
}

/* Measuring: an inode with several names is kept in a list and counted once at the end. */
struct linked {
	dev_t dev;
	ino_t ino;
	uint64_t bytes;
};

struct usage {
	uint64_t bytes;
	struct linked *linked; /* owned */
	size_t len, capacity;
};

static int measure_entry(void *context, int dirfd, const char *name, unsigned char type)
{
	(void)type;
	struct usage *usage = context;
	struct stat st;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	uint64_t bytes = (uint64_t)st.st_blocks * 512;
	if (S_ISDIR(st.st_mode) || st.st_nlink < 2) {
		usage->bytes += bytes;
		return S_ISDIR(st.st_mode);
	}
	if (usage->len == usage->capacity) {
		usage->capacity = usage->capacity > 0 ? usage->capacity * 2 : 64;
		usage->linked = mem_grow(usage->linked, usage->capacity, sizeof(struct linked));
	}
	usage->linked[usage->len++] = (struct linked){ st.st_dev, st.st_ino, bytes };
	return 0;
}

static int measure_left(void *context, int dirfd, const char *name)
{
	(void)context;
	(void)dirfd;
	(void)name;
	return 0;
}

static int compare_linked(const void *left, const void *right)
{
	const struct linked *a = left, *b = right;
	if (a->dev != b->dev)
		return a->dev < b->dev ? -1 : 1;
	return a->ino < b->ino ? -1 : a->ino > b->ino;
}

int path_disk_usage(int dirfd, const char *name, uint64_t *ret_bytes)
{
	struct usage usage = { 0 };
	const struct visitor measurer = { .entry = measure_entry,
		.leave = measure_left,
		.context = &usage };
	int r = measure_entry(&usage, dirfd, name, DT_UNKNOWN);
	if (r > 0)
		r = walk_tree(dirfd, name, &measurer);
	if (usage.len > 0)
		qsort(usage.linked, usage.len, sizeof(struct linked), compare_linked);
	for (size_t i = 0; i < usage.len; i++) {
		if (i == 0 || compare_linked(&usage.linked[i - 1], &usage.linked[i]) != 0)
			usage.bytes += usage.linked[i].bytes;
	}
	free(usage.linked);
	if (r < 0)
		return r;
	*ret_bytes = usage.bytes;
	return 0;
}
