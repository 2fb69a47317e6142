#include "test.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/path.h"

static void assert_gone(const struct scratch *scratch, const char *name)
{
	assert_int_equal(faccessat(scratch->fd, name, F_OK, AT_SYMLINK_NOFOLLOW), -1);
	assert_int_equal(errno, ENOENT);
}

static void a_tree_is_removed_and_links_are_not_followed(void **state)
{
	const struct scratch *scratch = *state;
	struct err err = { 0 };
	assert_int_equal(mkdirat(scratch->fd, "kept", 0755), 0);
	assert_int_equal(file_write_at(scratch->fd, "kept/file", 0600, V("x"), &err), 0);
	for (int i = 0; i < 300; i++) {
		AUTO_FREE char *dir = text_format("%s/tree/%d/b/c", scratch->path, i);
		assert_int_equal(path_make_dirs(dir, 0755, &err), 0);
		AUTO_FREE char *file = text_format("tree/%d/b/f", i);
		assert_int_equal(file_write_at(scratch->fd, file, 0600, V("x"), &err), 0);
	}
	assert_int_equal(symlinkat("../kept", scratch->fd, "tree/link"), 0);
	assert_int_equal(mkfifoat(scratch->fd, "tree/fifo", 0600), 0);
	assert_int_equal(path_remove_tree(scratch->fd, "tree", &err), 0);
	assert_gone(scratch, "tree");
	assert_int_equal(symlinkat("kept", scratch->fd, "link"), 0);
	assert_int_equal(path_remove_tree(scratch->fd, "link", &err), 0);
	assert_int_equal(faccessat(scratch->fd, "kept/file", F_OK, 0), 0);
	assert_int_equal(path_remove_tree(scratch->fd, "nothing", &err), 0);
	assert_error(path_remove_tree(-1, "x", &err), ERR_SYSTEM, "remove x: Bad file");
}

static void a_tree_of_5000_levels_is_removed_and_measured(void **state)
{
	const struct scratch *scratch = *state;
	struct err err = { 0 };
	int dir = fcntl(scratch->fd, F_DUPFD_CLOEXEC, 3);
	for (int i = 0; i < 5000; i++) {
		assert_int_equal(mkdirat(dir, "d", 0755), 0);
		int next = openat(dir, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		assert_int_equal(close(dir), 0);
		dir = next;
	}
	assert_int_equal(file_write_at(dir, "f", 0600, V("x"), &err), 0);
	assert_int_equal(close(dir), 0);
	uint64_t bytes = 0;
	assert_int_equal(path_disk_usage(scratch->fd, "d", &bytes), 0);
	assert_int_equal(path_remove_tree(scratch->fd, "d", &err), 0);
	assert_gone(scratch, "d");
}

/* Exit status of the child: 0, or the line that failed. */
#define CHILD_CHECK(condition)                  \
	do {                                    \
		if (!(condition))               \
			_exit(__LINE__ & 0xff); \
	} while (0)

static void assert_child_is_good(pid_t pid)
{
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(status, 0);
}

static void the_way_to_the_tree_may_cross_mounts(void **state)
{
	const struct scratch *scratch = *state;
	pid_t pid = fork();
	if (pid == 0) {
		struct err err = { 0 };
		uint64_t bytes;
		if (unshare(CLONE_NEWNS) < 0)
			_exit(77);
		CHILD_CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
		AUTO_FREE char *mnt = text_format("%s/mnt", scratch->path);
		AUTO_FREE char *tree = text_format("%s/tree", mnt);
		AUTO_FREE char *deep = text_format("%s/tree/a/b", mnt);
		CHILD_CHECK(path_make_dirs(mnt, 0755, &err) == 0);
		CHILD_CHECK(mount("none", mnt, "tmpfs", 0, NULL) == 0);
		CHILD_CHECK(path_make_dirs(deep, 0755, &err) == 0);
		CHILD_CHECK(path_disk_usage(AT_FDCWD, tree, &bytes) == 0);
		CHILD_CHECK(path_remove_tree(scratch->fd, "mnt/tree/a", &err) == 0);
		CHILD_CHECK(path_make_dirs(deep, 0755, &err) == 0);
		CHILD_CHECK(path_remove_tree(AT_FDCWD, tree, &err) == 0);
		CHILD_CHECK(access(tree, F_OK) < 0);
		_exit(0);
	}
	assert_child_is_good(pid);
}

static void a_mount_in_the_tree_is_refused(void **state)
{
	const struct scratch *scratch = *state;
	pid_t pid = fork();
	if (pid == 0) {
		struct err err = { 0 };
		if (unshare(CLONE_NEWNS) < 0)
			_exit(77);
		CHILD_CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
		AUTO_FREE char *mnt = text_format("%s/tree/mnt", scratch->path);
		AUTO_FREE char *mnt_full = text_format("%s/tree/full", scratch->path);
		CHILD_CHECK(path_make_dirs(mnt, 0755, &err) == 0);
		CHILD_CHECK(path_make_dirs(mnt_full, 0755, &err) == 0);
		CHILD_CHECK(mount("none", mnt, "tmpfs", 0, NULL) == 0);
		/* The way to a tree may lead over a mount and a link, as a data root does. */
		AUTO_FREE char *below = text_format("%s/below/it", mnt);
		CHILD_CHECK(path_make_dirs(below, 0755, &err) == 0);
		AUTO_FREE char *link = text_format("%s/link", scratch->path);
		CHILD_CHECK(symlink("tree/mnt", link) == 0);
		AUTO_FREE char *over = text_format("%s/below", link);
		uint64_t bytes;
		CHILD_CHECK(path_disk_usage(AT_FDCWD, over, &bytes) == 0);
		CHILD_CHECK(path_remove_tree(AT_FDCWD, over, &err) == 0);
		CHILD_CHECK(access(over, F_OK) < 0 && unlink(link) == 0);
		CHILD_CHECK(mount(scratch->path, mnt_full, NULL, MS_BIND, NULL) == 0);
		CHILD_CHECK(path_remove_tree(scratch->fd, "tree", &err) == -EBUSY);
		CHILD_CHECK(strstr(err.message, "something is mounted in it") != NULL);
		CHILD_CHECK(umount(mnt) == 0);
		CHILD_CHECK(path_remove_tree(scratch->fd, "tree", &err) == -EBUSY);
		CHILD_CHECK(umount(mnt_full) == 0);
		CHILD_CHECK(path_remove_tree(scratch->fd, "tree", &err) == 0);
		_exit(0);
	}
	assert_child_is_good(pid);
}

static void disk_usage_counts_each_inode_once(void **state)
{
	const struct scratch *scratch = *state;
	struct err err = { 0 };
	static const char block[65536] = "x";
	uint64_t empty = 0, one = 0, linked = 0, file = 0;
	assert_int_equal(mkdirat(scratch->fd, "t", 0755), 0);
	assert_int_equal(mkdirat(scratch->fd, "t/d", 0755), 0);
	assert_int_equal(path_disk_usage(scratch->fd, "t", &empty), 0);
	assert_int_equal(file_write_at(scratch->fd, "t/f", 0600,
				 (struct view){ block, sizeof(block) }, &err),
		0);
	sync();
	assert_int_equal(path_disk_usage(scratch->fd, "t", &one), 0);
	assert_true(one >= empty + sizeof(block));
	assert_int_equal(linkat(scratch->fd, "t/f", scratch->fd, "t/d/g", 0), 0);
	assert_int_equal(path_disk_usage(scratch->fd, "t", &linked), 0);
	assert_int_equal(linked, one);
	assert_int_equal(path_disk_usage(scratch->fd, "t/f", &file), 0);
	assert_true(file >= sizeof(block));
	assert_int_equal(path_disk_usage(scratch->fd, "none", &file), 0);
	assert_int_equal(file, 0);
	assert_int_equal(path_disk_usage(-1, "x", &file), -EBADF);
}

/* Two that remove one tree at once are both content, whoever is quicker. */
static void path_remove_tree_races_with_another(void **state)
{
	const struct scratch *scratch = *state;
	for (int round = 0; round < 200; round++) {
		AUTO_FREE char *deep = text_format("%s/tree/a/b/c", scratch->path);
		assert_int_equal(path_make_dirs(deep, 0700, NULL), 0);
		for (int i = 0; i < 20; i++) {
			AUTO_FREE char *file = text_format("tree/a/%d", i);
			AUTO_CLOSE int fd = openat(scratch->fd, file, O_CREAT | O_CLOEXEC, 0600);
			assert_true(fd >= 0);
		}
		pid_t other = fork();
		if (other == 0)
			_exit(path_remove_tree(scratch->fd, "tree", NULL) == 0 ? 0 : 1);
		struct err err = { 0 };
		assert_int_equal(path_remove_tree(scratch->fd, "tree", &err), 0);
		int status;
		assert_int_equal(waitpid(other, &status, 0), other);
		assert_int_equal(status, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SCRATCH(a_tree_is_removed_and_links_are_not_followed),
		IN_SCRATCH(a_tree_of_5000_levels_is_removed_and_measured),
		IN_SCRATCH(the_way_to_the_tree_may_cross_mounts),
		IN_SCRATCH(a_mount_in_the_tree_is_refused),
		IN_SCRATCH(disk_usage_counts_each_inode_once),
		IN_SCRATCH(path_remove_tree_races_with_another),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
