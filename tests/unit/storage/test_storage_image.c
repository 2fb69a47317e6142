#include "world.h"

#include <linux/magic.h>
#include <signal.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <time.h>

#include "base/fd.h"
#include "base/limits.h"

#define KEY "0123abcd"

static struct storage_image image_of(int run_fd, const char *merged)
{
	return (struct storage_image){ .run_fd = run_fd, .key = KEY, .merged = merged };
}

static bool nobody(void *context, const char *user)
{
	(void)context;
	(void)user;
	return false;
}

static bool only_alice(void *context, const char *user)
{
	(void)context;
	return strcmp(user, "alice") == 0;
}

static void assert_holds(int mount_fd, const char *name)
{
	AUTO_DONE(text) text = { 0 };
	assert_int_equal(file_read_at(mount_fd, name, 100, &text, NULL), 0);
	assert_string_equal(text_string(&text), name);
}

static void open_returns_a_read_only_mount_that_keeps_set_uid(void **state)
{
	AUTO_FREE char *file = make_image(*state, "one");
	int run = make_run(*state), fd = -1;
	struct storage_image image = image_of(run, file);
	struct err err = { 0 };
	assert_int_equal(storage_image_open(&image, "alice", &fd, &err), 0);
	assert_holds(fd, "one");
	struct statfs fs;
	struct statvfs flags;
	assert_int_equal(fstatfs(fd, &fs), 0);
	assert_int_equal(fs.f_type, EROFS_SUPER_MAGIC_V1);
	assert_int_equal(fstatvfs(fd, &flags), 0);
	assert_true((flags.f_flag & (ST_RDONLY | ST_NODEV)) == (ST_RDONLY | ST_NODEV));
	assert_true((flags.f_flag & ST_NOSUID) == 0);
	(void)close(fd);
	assert_int_equal(storage_image_release(run, KEY, "alice", &err), 0);
	leave_run(run);
}

static void calls_leave_namespace_and_directory_as_they_were(void **state)
{
	const struct scratch *scratch = *state;
	AUTO_FREE char *file = make_image(scratch, "one");
	int run = make_run(scratch), fd = -1;
	struct storage_image image = image_of(run, file);
	assert_int_equal(chdir(scratch->path), 0);
	struct stat ns, ns_after;
	assert_int_equal(stat("/proc/self/ns/mnt", &ns), 0);
	for (int i = 0; i < 2; i++) { /* cold and warm */
		assert_int_equal(storage_image_open(&image, i ? "bob" : "alice", &fd, NULL), 0);
		(void)close(fd);
	}
	AUTO_FREE char *cwd = getcwd(NULL, 0);
	assert_string_equal(cwd, scratch->path);
	assert_int_equal(stat("/proc/self/ns/mnt", &ns_after), 0);
	assert_true(ns.st_ino == ns_after.st_ino);
	AUTO_DONE(text) mounts = { 0 };
	assert_int_equal(file_read_at(AT_FDCWD, "/proc/self/mountinfo", 1 << 20, &mounts, NULL), 0);
	assert_null(strstr(text_string(&mounts), " erofs "));
	assert_int_equal(chdir("/"), 0);
	leave_run(run);
}

static void two_users_share_one_file_system(void **state)
{
	AUTO_FREE char *file = make_image(*state, "one");
	int run = make_run(*state), a = -1, b = -1;
	struct storage_image image = image_of(run, file);
	assert_int_equal(storage_image_open(&image, "alice", &a, NULL), 0);
	assert_int_equal(storage_image_open(&image, "bob", &b, NULL), 0);
	struct stat sa, sb;
	assert_int_equal(fstat(a, &sa) | fstat(b, &sb), 0);
	assert_true(sa.st_dev == sb.st_dev);
	assert_int_equal(storage_image_release(run, KEY, "alice", NULL), 0);
	assert_int_equal(storage_image_release(run, KEY, "alice", NULL), 0);
	assert_int_equal(count_names(run, "images/" KEY), 1);
	assert_int_equal(storage_image_release(run, KEY, "bob", NULL), 0);
	assert_int_equal(storage_image_release(run, KEY, "bob", NULL), 0);
	assert_int_equal(count_names(run, "images/" KEY), 0);
	(void)close(a);
	(void)close(b);
	leave_run(run);
}

static void mount_stays_for_the_next_user(void **state)
{
	AUTO_FREE char *file = make_image(*state, "one");
	int run = make_run(*state), fd = -1;
	struct storage_image image = image_of(run, file);
	assert_int_equal(storage_image_open(&image, "alice", &fd, NULL), 0);
	(void)close(fd);
	assert_int_equal(storage_image_release(run, KEY, "alice", NULL), 0);
	assert_int_equal(count_mounted(run), 1);
	/* a mount made anew would need the file */
	assert_int_equal(unlink(file), 0);
	assert_int_equal(storage_image_sweep(run, nobody, NULL, NULL), 0);
	assert_int_equal(storage_image_open(&image, "bob", &fd, NULL), 0);
	assert_holds(fd, "one");
	(void)close(fd);
	leave_run(run);
}

static void drop_unmounts_an_idle_image_only(void **state)
{
	AUTO_FREE char *file = make_image(*state, "one");
	int run = make_run(*state), fd = -1;
	struct storage_image image = image_of(run, file);
	struct err err = { 0 };
	assert_int_equal(storage_image_drop(run, KEY, &err), 0); /* no RUN/images yet */
	assert_int_equal(storage_image_open(&image, "alice", &fd, NULL), 0);
	assert_int_equal(storage_image_drop(run, KEY, &err), 0);
	assert_int_equal(count_mounted(run), 1);
	assert_int_equal(count_names(run, "images/" KEY), 1);
	assert_int_equal(storage_image_release(run, KEY, "alice", NULL), 0);
	assert_int_equal(storage_image_drop(run, KEY, &err), 0);
	assert_int_equal(count_mounted(run), 0);
	assert_int_equal(count_names(run, "images"), 0);
	assert_holds(fd, "one"); /* what is open stays */
	(void)close(fd);
	assert_int_equal(storage_image_drop(run, KEY, &err), 0);
	assert_error(storage_image_drop(run, "a/b", &err), ERR_INVALID, "a/b");
	leave_run(run);
}

/* Opens and releases image NUMBER, a key of its own for the same file. */
static void use_once(int run, const char *file, int number)
{
	AUTO_FREE char *key = text_format("key%d", number);
	struct storage_image image = image_of(run, file);
	image.key = key;
	int fd = -1;
	assert_int_equal(storage_image_open(&image, "alice", &fd, NULL), 0);
	(void)close(fd);
	assert_int_equal(storage_image_release(run, key, "alice", NULL), 0);
}

static void set_idle_since(int run, int number, time_t seconds)
{
	AUTO_FREE char *path = text_format("images/key%d", number);
	const struct timespec times[] = { { .tv_sec = seconds }, { .tv_sec = seconds } };
	assert_int_equal(utimensat(run, path, times, 0), 0);
}

static bool is_kept(int run, int number)
{
	AUTO_FREE char *path = text_format("images/key%d", number);
	return faccessat(run, path, F_OK, 0) == 0;
}

static void longest_idle_image_goes_beyond_the_bound(void **state)
{
	enum { MAX = LIMIT_IDLE_IMAGE_MOUNTS };
	AUTO_FREE char *file = make_image(*state, "one");
	int run = make_run(*state), fd = -1;
	struct storage_image used = image_of(run, file);
	assert_int_equal(storage_image_open(&used, "bob", &fd, NULL), 0);
	(void)close(fd);
	for (int i = 0; i < MAX; i++)
		use_once(run, file, i);
	for (int i = 0; i < MAX; i++)
		set_idle_since(run, i, 1000 + (i + 5) % MAX); /* key11 is the oldest */
	assert_int_equal(count_mounted(run), MAX + 1);        /* one in use does not count */
	use_once(run, file, MAX);
	assert_int_equal(count_mounted(run), MAX + 1);
	assert_false(is_kept(run, MAX - 5));
	assert_true(is_kept(run, MAX));
	/* the marks that a sweep removes make idle images too */
	assert_int_equal(storage_image_sweep(run, nobody, NULL, NULL), 0);
	assert_int_equal(count_mounted(run), MAX);
	assert_int_equal(count_names(run, "images"), MAX);
	assert_false(is_kept(run, MAX - 4));
	assert_int_equal(faccessat(run, "images/" KEY, F_OK, 0), 0);
	leave_run(run);
}

static void layers_without_merged_metadata_are_stacked(void **state)
{
	AUTO_FREE char *low = make_image(*state, "low");
	AUTO_FREE char *high = make_image(*state, "high");
	int run = make_run(*state), fd = -1;
	const char *layers[] = { low, high };
	struct storage_image image = image_of(run, NULL);
	image.layers = layers;
	struct err err = { 0 };
	for (image.layers_len = 1; image.layers_len <= 2; image.layers_len++) {
		int r = storage_image_open(&image, "alice", &fd, &err);
		if (r < 0)
			fail_msg("%s", err.message);
		assert_holds(fd, "low");
		assert_int_equal(faccessat(fd, "high", F_OK, 0), image.layers_len == 2 ? 0 : -1);
		(void)close(fd);
		assert_int_equal(storage_image_release(run, KEY, "alice", &err), 0);
		assert_int_equal(storage_image_drop(run, KEY, &err), 0);
	}
	assert_int_equal(count_mounted(run), 0);
	leave_run(run);
}

static void failing_open_leaves_nothing(void **state)
{
	const struct scratch *scratch = *state;
	AUTO_FREE char *missing = text_format("%s/missing", scratch->path);
	int run = make_run(scratch), fd = -1;
	struct storage_image image = image_of(run, missing);
	struct err err = { 0 };
	assert_error(storage_image_open(&image, "alice", &fd, &err), ERR_SYSTEM, "missing");
	assert_int_equal(fd, -1);
	assert_int_equal(count_names(run, "images"), 0);
	assert_error(storage_image_open(&image, "../x", &fd, &err), ERR_INVALID, "../x");
	image.key = "a/b";
	assert_error(storage_image_open(&image, "alice", &fd, &err), ERR_INVALID, "a/b");
	leave_run(run);
}

static void mount_point_without_its_mount_is_no_image(void **state)
{
	AUTO_FREE char *file = make_image(*state, "one");
	int run = make_run(*state), fd = -1;
	struct storage_image image = image_of(run, file);
	assert_int_equal(storage_image_open(&image, "alice", &fd, NULL), 0);
	(void)close(fd);
	/* as a kill -9 between mkdir and move_mount leaves it */
	struct pin_visit visit;
	assert_int_equal(pin_enter(run, &visit, NULL), 0);
	int unmounted = umount2(KEY, MNT_DETACH);
	assert_int_equal(pin_leave(&visit, NULL), 0);
	assert_int_equal(unmounted, 0);
	assert_int_equal(storage_image_open(&image, "bob", &fd, NULL), 0);
	assert_holds(fd, "one");
	(void)close(fd);
	leave_run(run);
}

static void sweep_drops_the_dead_and_keeps_the_living(void **state)
{
	AUTO_FREE char *file = make_image(*state, "one");
	int run = make_run(*state), fd = -1;
	struct storage_image image = image_of(run, file);
	assert_int_equal(storage_image_open(&image, "alice", &fd, NULL), 0);
	(void)close(fd);
	assert_int_equal(storage_image_open(&image, "bob", &fd, NULL), 0);
	(void)close(fd);
	assert_int_equal(storage_image_sweep(run, only_alice, NULL, NULL), 0);
	assert_int_equal(count_names(run, "images/" KEY), 1);
	assert_int_equal(storage_image_sweep(run, nobody, NULL, NULL), 0);
	assert_int_equal(count_names(run, "images/" KEY), 0);
	assert_int_equal(count_mounted(run), 1);
	leave_run(run);
}

static void sweep_removes_half_an_image(void **state)
{
	AUTO_FREE char *file = make_image(*state, "one");
	int run = make_run(*state);
	/* a mount whose directory was lost */
	use_once(run, file, 1);
	assert_int_equal(unlinkat(run, "images/key1", AT_REMOVEDIR), 0);
	assert_int_equal(storage_image_sweep(run, nobody, NULL, NULL), 0);
	assert_int_equal(count_mounted(run), 0);
	assert_int_equal(count_names(run, "images"), 0);
	/* a directory without a mount, as after a kill -9 between mkdir and mount */
	assert_int_equal(mkdirat(run, "images/key2", 0700), 0);
	assert_int_equal(storage_image_sweep(run, nobody, NULL, NULL), 0);
	assert_int_equal(count_names(run, "images"), 0);
	leave_run(run);
}

/* ---- many processes ---- */

/* Uses KEYS images in turn; drops each image now and then. */
_Noreturn static void open_and_release(int run, const char *file, int number, int rounds, int keys)
{
	AUTO_FREE char *user = text_format("user%d", number);
	struct err err = { 0 };
	for (int i = 0; i < rounds; i++) {
		AUTO_FREE char *key = text_format("key%d", (number + i) % keys);
		struct storage_image image = image_of(run, file);
		image.key = key;
		int fd = -1;
		int r = storage_image_open(&image, user, &fd, &err);
		struct statfs fs;
		if (r == 0 && (fstatfs(fd, &fs) < 0 || fs.f_type != EROFS_SUPER_MAGIC_V1))
			r = -1;
		if (r == 0)
			r = close(fd);
		if (r == 0)
			r = storage_image_release(run, key, user, &err);
		if (r == 0 && (number + i) % 3 == 0)
			r = storage_image_drop(run, key, &err);
		if (r < 0) {
			(void)fprintf(stderr, "%s: %s\n", user, err.message);
			_exit(1);
		}
	}
	_exit(0);
}

static void assert_all_is_whole(int run, int mounts_max)
{
	int mounted = count_mounted(run);
	assert_in_range(mounted, 0, mounts_max);
	assert_int_equal(count_names(run, "images"), mounted);
}

static void use_in_parallel(const struct scratch *scratch, int keys)
{
	enum { PROCESSES = 50, ROUNDS = 8 };
	AUTO_FREE char *file = make_image(scratch, "one");
	int run = make_run(scratch);
	pid_t pids[PROCESSES];
	for (int i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			open_and_release(run, file, i, ROUNDS, keys);
	}
	for (int i = 0; i < PROCESSES; i++) {
		int status = -1;
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	assert_all_is_whole(run, keys < LIMIT_IDLE_IMAGE_MOUNTS ? keys : LIMIT_IDLE_IMAGE_MOUNTS);
	leave_run(run);
}

static void fifty_processes_open_release_and_drop_one_image(void **state)
{
	use_in_parallel(*state, 1);
}

static void fifty_processes_keep_the_bound_of_idle_images(void **state)
{
	use_in_parallel(*state, LIMIT_IDLE_IMAGE_MOUNTS + 9);
}

static void kill_at_any_moment_leaves_what_the_sweep_repairs(void **state)
{
	enum { KILLS = 150, KEYS = 2 };
	AUTO_FREE char *file = make_image(*state, "one");
	int run = make_run(*state);
	struct err err = { 0 };
	for (int i = 0; i < KILLS; i++) {
		/* now and then the making of the namespace itself is what is cut */
		if (i % 10 == 0)
			assert_int_equal(storage_unpin(run, &err), 0);
		pid_t pid = fork();
		if (pid == 0)
			open_and_release(run, file, i, 1000, KEYS);
		/* different moments are wanted, not a certain one */
		(void)nanosleep(&(struct timespec){ .tv_nsec = 100000 + i * 37000 % 4000000 },
			NULL);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		if (i % 3 == 0) {
			assert_int_equal(storage_image_sweep(run, nobody, NULL, &err), 0);
			assert_all_is_whole(run, KEYS);
			for (int k = 0; k < KEYS; k++) {
				AUTO_FREE char *users = text_format("images/key%d", k);
				assert_int_equal(count_names(run, users), 0);
			}
		}
	}
	assert_int_equal(storage_image_sweep(run, nobody, NULL, &err), 0);
	for (int k = 0; k < KEYS; k++) {
		AUTO_FREE char *key = text_format("key%d", k);
		use_once(run, file, k);
		assert_int_equal(storage_image_drop(run, key, &err), 0);
	}
	assert_all_is_whole(run, 0);
	leave_run(run);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SCRATCH(open_returns_a_read_only_mount_that_keeps_set_uid),
		IN_SCRATCH(calls_leave_namespace_and_directory_as_they_were),
		IN_SCRATCH(two_users_share_one_file_system),
		IN_SCRATCH(mount_stays_for_the_next_user),
		IN_SCRATCH(drop_unmounts_an_idle_image_only),
		IN_SCRATCH(longest_idle_image_goes_beyond_the_bound),
		IN_SCRATCH(layers_without_merged_metadata_are_stacked),
		IN_SCRATCH(failing_open_leaves_nothing),
		IN_SCRATCH(mount_point_without_its_mount_is_no_image),
		IN_SCRATCH(sweep_drops_the_dead_and_keeps_the_living),
		IN_SCRATCH(sweep_removes_half_an_image),
		IN_SCRATCH(fifty_processes_open_release_and_drop_one_image),
		IN_SCRATCH(fifty_processes_keep_the_bound_of_idle_images),
		IN_SCRATCH(kill_at_any_moment_leaves_what_the_sweep_repairs),
	};
	int r = world_enter();
	return r != 0 ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
