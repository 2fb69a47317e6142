#include "test.h"

#include <sys/stat.h>

#include "base/fd.h"
#include "base/path.h"

/* A root directory "root" beside a secret, with links that lead out of it. */
static int make_root(const struct scratch *scratch)
{
	struct err err = { 0 };
	assert_int_equal(file_write_at(scratch->fd, "secret", 0600, V("outside"), &err), 0);
	assert_int_equal(mkdirat(scratch->fd, "root", 0755), 0);
	int root = openat(scratch->fd, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(root >= 0);
	assert_int_equal(mkdirat(root, "etc", 0755), 0);
	assert_int_equal(file_write_at(root, "etc/passwd", 0644, V("inside"), &err), 0);
	assert_int_equal(file_write_at(root, "secret", 0644, V("decoy"), &err), 0);
	assert_int_equal(symlinkat("../../../secret", root, "etc/up"), 0);
	assert_int_equal(symlinkat("/etc/passwd", root, "absolute"), 0);
	assert_int_equal(symlinkat("/proc/self/exe", root, "magic"), 0);
	assert_int_equal(symlinkat("loop", root, "loop"), 0);
	assert_int_equal(symlinkat("/var/log", root, "dangling"), 0);
	return root;
}

static void links_and_dots_stay_inside_the_root(void **state)
{
	AUTO_CLOSE int root = make_root(*state);
	static const struct {
		const char *path, *content;
	} rows[] = { { "etc/passwd", "inside" }, { "/etc/passwd", "inside" },
		{ "../../etc/passwd", "inside" }, { "absolute", "inside" }, { "etc/up", "decoy" } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_DONE(text) text = { 0 };
		assert_int_equal(path_at_read(root, rows[i].path, 100, &text), 0);
		assert_string_equal(text.data, rows[i].content);
	}
	assert_int_equal(path_at_open(root, "loop", O_RDONLY, 0), -ELOOP);
	assert_int_equal(path_at_open(root, "magic", O_RDONLY, 0), -ENOENT);
	AUTO_CLOSE int fd = path_at_open(root, "made", O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
}

static void magic_links_are_refused(void **state)
{
	(void)state;
	AUTO_CLOSE int slash = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(path_at_open(slash, "proc/self/exe", O_RDONLY, 0), -ELOOP);
	assert_int_equal(path_at_open_beneath(slash, "proc/1/root", O_RDONLY, 0), -ELOOP);
}

static void beneath_takes_no_link_and_no_dotdot(void **state)
{
	AUTO_CLOSE int root = make_root(*state);
	static const struct {
		const char *path;
		int r;
	} rows[] = { { "absolute", -ELOOP }, { "etc/up", -ELOOP }, { "etc/../secret", -EXDEV },
		{ "..", -EXDEV }, { "etc/..", -EXDEV }, { "/etc", -EXDEV }, { "none", -ENOENT } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(path_at_open_beneath(root, rows[i].path, O_PATH, 0), rows[i].r);
	AUTO_CLOSE int fd = path_at_open_beneath(root, "etc/passwd", O_RDONLY, 0);
	assert_true(fd >= 0);
	AUTO_CLOSE int dots = path_at_open_beneath(root, "made..x", O_WRONLY | O_CREAT, 0600);
	assert_true(dots >= 0);
}

static void path_at_read_takes_small_regular_files_only(void **state)
{
	AUTO_CLOSE int root = make_root(*state);
	AUTO_DONE(text) text = { 0 };
	assert_int_equal(mkfifoat(root, "fifo", 0600), 0);
	assert_int_equal(path_at_read(root, "fifo", 100, &text), -EINVAL);
	assert_int_equal(path_at_read(root, "etc", 100, &text), -EISDIR);
	assert_int_equal(path_at_read(root, "etc/passwd", 5, &text), -E2BIG);
	assert_int_equal(path_at_read(root, "none", 100, &text), -ENOENT);
	assert_int_equal(text.len, 0);
}

static struct stat stat_at(int dirfd, const char *path)
{
	struct stat st;
	assert_int_equal(fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW), 0);
	return st;
}

static void directories_are_made_with_their_owner_and_mode(void **state)
{
	AUTO_CLOSE int root = make_root(*state);
	bool can_chown = geteuid() == 0;
	uid_t uid = can_chown ? 12 : geteuid();
	gid_t gid = can_chown ? 34 : getegid();
	mode_t old = umask(077);
	AUTO_CLOSE int fd = path_at_make_dirs(root, "/etc//a/b/", 0775, uid, gid);
	(void)umask(old);
	assert_true(fd >= 0);
	assert_true((fcntl(fd, F_GETFL) & O_PATH) != 0);
	static const char *const made[] = { "etc/a", "etc/a/b" };
	for (size_t i = 0; i < ARRAY_LEN(made); i++) {
		struct stat st = stat_at(root, made[i]);
		assert_int_equal(st.st_mode, S_IFDIR | 0775);
		assert_int_equal(st.st_uid, uid);
		assert_int_equal(st.st_gid, gid);
	}
	assert_int_equal(stat_at(root, "etc").st_mode & 07777, 0755);
	AUTO_CLOSE int again = path_at_make_dirs(root, "etc/a/b", 0700, uid, gid);
	assert_true(again >= 0);
	assert_int_equal(stat_at(root, "etc/a/b").st_mode, S_IFDIR | 0775);
	AUTO_CLOSE int itself = path_at_make_dirs(root, "/", 0700, uid, gid);
	assert_true(itself >= 0);
}

static void dangling_links_are_completed_inside_the_root(void **state)
{
	const struct scratch *scratch = *state;
	AUTO_CLOSE int root = make_root(scratch);
	AUTO_CLOSE int fd = path_at_make_dirs(root, "dangling/app", 0755, (uid_t)-1, (gid_t)-1);
	assert_true(fd >= 0);
	assert_int_equal(stat_at(root, "var/log/app").st_mode, S_IFDIR | 0755);
	/* Ubuntu's resolv.conf, for one. */
	assert_int_equal(symlinkat("../run/resolve/stub.conf", root, "etc/resolv.conf"), 0);
	AUTO_CLOSE int file = path_at_make_file(root, "etc/resolv.conf", 0644);
	assert_true(file >= 0);
	assert_int_equal(stat_at(root, "run/resolve/stub.conf").st_mode, S_IFREG | 0644);
	assert_int_equal(symlinkat("../../../escaped", root, "etc/out"), 0);
	AUTO_CLOSE int out = path_at_make_file(root, "etc/out", 0600);
	assert_true(out >= 0);
	assert_int_equal(stat_at(root, "escaped").st_mode, S_IFREG | 0600);
	assert_int_equal(faccessat(scratch->fd, "escaped", F_OK, 0), -1);
	assert_int_equal(path_at_make_dirs(root, "loop/x", 0755, 0, 0), -ELOOP);
	assert_int_equal(symlinkat("a2", root, "a1"), 0);
	assert_int_equal(symlinkat("a1/x", root, "a2"), 0);
	assert_int_equal(path_at_make_dirs(root, "a1/y", 0755, 0, 0), -ELOOP);
}

static void files_are_made_and_found(void **state)
{
	AUTO_CLOSE int root = make_root(*state);
	AUTO_CLOSE int fd = path_at_make_file(root, "new/dir/file", 0640);
	assert_true(fd >= 0);
	assert_int_equal(stat_at(root, "new/dir/file").st_mode, S_IFREG | 0640);
	assert_int_equal(stat_at(root, "new/dir").st_mode, S_IFDIR | 0755);
	AUTO_CLOSE int found = path_at_make_file(root, "etc/passwd", 0600);
	assert_true((fcntl(found, F_GETFL) & O_PATH) != 0);
	assert_int_equal(stat_at(root, "etc/passwd").st_mode, S_IFREG | 0644);
	assert_int_equal(path_at_make_file(root, "etc/passwd/x", 0600), -ENOTDIR);
	assert_int_equal(path_at_make_dirs(root, "etc/passwd/x", 0755, 0, 0), -ENOTDIR);
}

static void links_are_read_whole(void **state)
{
	const struct scratch *scratch = *state;
	char target[4000];
	memset(target, 't', sizeof(target) - 1);
	target[sizeof(target) - 1] = '\0';
	assert_int_equal(symlinkat(target, scratch->fd, "link"), 0);
	AUTO_FREE char *read = NULL;
	assert_int_equal(path_read_link(scratch->fd, "link", &read), 0);
	assert_string_equal(read, target);
	assert_int_equal(path_read_link(scratch->fd, "none", &read), -ENOENT);
}

static void own_directories_are_made_once(void **state)
{
	const struct scratch *scratch = *state;
	struct err err = { 0 };
	assert_int_equal(path_make_dir(scratch->fd, "d", 0711), 0);
	assert_int_equal(path_make_dir(scratch->fd, "d", 0755), 0);
	assert_int_equal(stat_at(scratch->fd, "d").st_mode, S_IFDIR | 0711);
	assert_int_equal(file_write_at(scratch->fd, "f", 0600, V(""), &err), 0);
	assert_int_equal(path_make_dir(scratch->fd, "f", 0755), -ENOTDIR);
	assert_int_equal(path_make_dir(scratch->fd, "none/d", 0755), -ENOENT);
	AUTO_FREE char *deep = text_format("%s/a//b/c/", scratch->path);
	assert_int_equal(path_make_dirs(deep, 0700, &err), 0);
	assert_int_equal(path_make_dirs(deep, 0700, &err), 0);
	assert_int_equal(stat_at(scratch->fd, "a/b/c").st_mode, S_IFDIR | 0700);
	AUTO_FREE char *below_file = text_format("%s/f/x", scratch->path);
	assert_error(path_make_dirs(below_file, 0700, &err), ERR_SYSTEM, "create directory");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SCRATCH(links_and_dots_stay_inside_the_root),
		cmocka_unit_test(magic_links_are_refused),
		IN_SCRATCH(beneath_takes_no_link_and_no_dotdot),
		IN_SCRATCH(path_at_read_takes_small_regular_files_only),
		IN_SCRATCH(directories_are_made_with_their_owner_and_mode),
		IN_SCRATCH(dangling_links_are_completed_inside_the_root),
		IN_SCRATCH(files_are_made_and_found),
		IN_SCRATCH(links_are_read_whole),
		IN_SCRATCH(own_directories_are_made_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
