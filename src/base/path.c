/* path - see path.h.  The kernel resolves: openat2 takes the whole path at once and keeps it inside
 * the root, so there is no moment between a check and a use.  Only what does not exist yet is made
 * piece by piece here, each piece below the descriptor of the one before it. */
#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/text.h"

enum {
	/* The kernel's own limit of symlinks in one path (path_resolution(7)). */
	LINKS_MAX = 40,
	/* openat2 says EAGAIN when something was renamed during a "..": a rename loop of an
	 * attacker must not hold us for ever. */
	TRIES_MAX = 64,
};

static int open2(int root, const char *path, int flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = { .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
		.mode = (flags & (O_CREAT | __O_TMPFILE)) != 0 ? mode & 07777 : 0,
		.resolve = resolve };
	int fd;
	for (int tries = 0; tries < TRIES_MAX; tries++) {
		fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
		if (fd >= 0)
			return fd;
		if (errno != EAGAIN && errno != EINTR)
			break;
	}
	return -errno;
}

int path_at_open(int root, const char *path, int flags, mode_t mode)
{
	return open2(root, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

static bool has_dotdot(const char *path)
{
	struct view rest = view_of(path);
	while (rest.data != NULL) {
		if (view_is(view_cut(&rest, '/'), ".."))
			return true;
	}
	return false;
}

int path_at_open_beneath(int root, const char *path, int flags, mode_t mode)
{
	/* RESOLVE_BENEATH allows a ".." that stays inside. */
	if (has_dotdot(path))
		return -EXDEV;
	return open2(root, path, flags, mode,
		RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
}

int path_read_link(int dirfd, const char *name, char **ret_target)
{
	for (size_t size = 256;; size *= 2) {
		AUTO_FREE char *target = mem_new(1, size);
		ssize_t len = readlinkat(dirfd, name, target, size);
		if (len < 0)
			return -errno;
		if ((size_t)len < size) {
			*ret_target = TAKE(target);
			return 0;
		}
		if (size > 65536)
			return -ENAMETOOLONG;
	}
}

/* What a missing piece of a path becomes. */
struct creation {
	bool file; /* the last piece is an empty regular file */
	mode_t dir_mode;
	mode_t file_mode;
	uid_t uid;
	gid_t gid;
};

/* Makes name in dir and returns it opened.  Its mode and owner are set through the descriptor: by
 * name they could hit what was put there in the meantime. */
static int create_piece(int dir, const char *name, bool file, const struct creation *creation)
{
	int flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC;
	if (file)
		flags |= O_CREAT | O_EXCL;
	else if (mkdirat(dir, name, 0700) < 0)
		return -errno;
	AUTO_CLOSE int fd = openat(dir, name, flags | (file ? 0 : O_DIRECTORY), 0600);
	if (fd < 0)
		return -errno;
	/* -1 leaves an owner as it is, as chown(2) has it. */
	if (fchown(fd, creation->uid, creation->gid) < 0)
		return -errno;
	mode_t mode = file ? creation->file_mode : creation->dir_mode;
	if (fchmod(fd, mode & 07777) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* One pass over path: opens each longer prefix, making the last piece of it where it is missing.
 * Where a piece is a symlink to nothing, *ret_path is the path with that link's target put in its
 * place, and the result is -EAGAIN. */
static int make_pass(int root, char *path, const struct creation *creation, char **ret_path)
{
	AUTO_CLOSE int dir = path_at_open(root, ".", O_PATH | O_DIRECTORY, 0);
	if (dir < 0)
		return dir;
	for (char *name = path + strspn(path, "/"), *end; *name != '\0';
		name = end + strspn(end, "/")) {
		end = name + strcspn(name, "/");
		bool last = end[strspn(end, "/")] == '\0';
		bool file = last && creation->file;
		char saved = *end;
		*end = '\0';
		int fd = path_at_open(root, path, O_PATH | (file ? 0 : O_DIRECTORY), 0);
		AUTO_FREE char *target = NULL;
		if (fd == -ENOENT && path_read_link(dir, name, &target) == 0 && target != NULL) {
			*end = saved;
			bool absolute = target[0] == '/';
			*ret_path = text_format("%.*s%s%s", absolute ? 0 : (int)(name - path), path,
				target, end);
			return -EAGAIN;
		}
		if (fd == -ENOENT)
			fd = create_piece(dir, name, file, creation);
		*end = saved;
		if (fd < 0)
			return fd;
		(void)close(dir);
		dir = fd;
	}
	/* Callers get O_PATH whether it was made or found. */
	return creation->file ? TAKE_FD(dir) : path_at_open(dir, ".", O_PATH | O_DIRECTORY, 0);
}

static int make(int root, const char *path, const struct creation *creation)
{
	AUTO_FREE char *current = mem_strdup(path);
	for (int links = 0; links < LINKS_MAX; links++) {
		AUTO_FREE char *next = NULL;
		int r = make_pass(root, current, creation, &next);
		/* Someone else made the same piece in between: look again. */
		if (r == -EEXIST)
			continue;
		if (r != -EAGAIN || next == NULL)
			return r;
		free(current);
		current = TAKE(next);
	}
	return -ELOOP;
}

int path_at_make_dirs(int root, const char *path, mode_t mode, uid_t uid, gid_t gid)
{
	struct creation creation = { .dir_mode = mode, .uid = uid, .gid = gid };
	return make(root, path, &creation);
}

int path_at_make_file(int root, const char *path, mode_t mode)
{
	struct creation creation = { .file = true,
		.dir_mode = 0755,
		.file_mode = mode,
		.uid = (uid_t)-1,
		.gid = (gid_t)-1 };
	return make(root, path, &creation);
}

int path_at_read(int root, const char *path, uint64_t max_bytes, struct text *text)
{
	/* Without O_NONBLOCK a FIFO put there would hold us; it is refused below. */
	AUTO_CLOSE int fd = path_at_open(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	if (fd < 0)
		return fd;
	struct stat st;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	return fd_read_text(fd, max_bytes, path, text, NULL);
}

int path_make_dir(int dirfd, const char *path, mode_t mode)
{
	struct stat st;
	if (mkdirat(dirfd, path, mode) == 0)
		/* What was asked for, not what the umask leaves of it. */
		return fchmodat(dirfd, path, mode, 0) == 0 ? 0 : -errno;
	if (errno != EEXIST)
		return -errno;
	if (fstatat(dirfd, path, &st, 0) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int path_make_dirs(const char *absolute, mode_t mode, struct err *err)
{
	AUTO_FREE char *path = mem_strdup(absolute);
	for (char *name = path + strspn(path, "/"), *end; *name != '\0';
		name = end + strspn(end, "/")) {
		end = name + strcspn(name, "/");
		char saved = *end;
		*end = '\0';
		int r = path_make_dir(AT_FDCWD, path, mode);
		if (r < 0)
			return err_sys(err, -r, "create directory %s", path);
		*end = saved;
	}
	return 0;
}
