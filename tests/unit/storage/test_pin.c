#include "world.h"

static void enter_without_a_namespace_is_enoent(void **state)
{
	int run = make_run(*state);
	struct pin_visit visit;
	assert_int_equal(pin_enter(run, &visit, NULL), -ENOENT);
	/* a plain file, as a kill -9 leaves it, is none either */
	(void)close(openat(run, "mnt", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(pin_enter(run, &visit, NULL), -ENOENT);
	assert_int_equal(pin_create(run, run, NULL), 0);
	assert_int_equal(pin_enter(run, &visit, NULL), 0);
	assert_int_equal(pin_leave(&visit, NULL), 0);
	leave_run(run);
}

static void namespace_holds_an_empty_root_and_nothing_of_the_host(void **state)
{
	int run = make_run(*state);
	struct err err = { 0 };
	assert_int_equal(pin_create(run, run, &err), 0);
	struct pin_visit visit;
	assert_int_equal(pin_enter(run, &visit, &err), 0);
	int names = count_names(AT_FDCWD, "/");
	int proc = access("/proc", F_OK);
	assert_int_equal(pin_leave(&visit, &err), 0);
	assert_int_equal(names, 0);
	assert_int_equal(proc, -1);
	assert_int_equal(access("/proc", F_OK), 0);
	leave_run(run);
	struct scratch *scratch = *state;
	assert_int_equal(faccessat(scratch->fd, "run/mnt", F_OK, 0), -1);
}

static void chrooted_caller_is_in_its_root_again(void **state)
{
	struct scratch *scratch = *state;
	int run = make_run(scratch);
	assert_int_equal(pin_create(run, run, NULL), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct pin_visit visit;
		int r = chroot(scratch->path) | chdir("/run");
		r |= pin_enter(run, &visit, NULL) | pin_leave(&visit, NULL);
		_exit(r != 0 || access("/run", F_OK) != 0 || access("mnt", F_OK) != 0);
	}
	int status = -1;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	leave_run(run);
}

/* As on a host of systemd: the mount below RUN has a peer in another namespace. */
static void shared_mount_with_a_peer_gets_a_pin_too(void **state)
{
	struct scratch *scratch = *state;
	int run = make_run(scratch);
	AUTO_FREE char *path = text_format("%s/run", scratch->path);
	assert_int_equal(mount("test", path, "tmpfs", 0, NULL), 0);
	assert_int_equal(mount(NULL, path, NULL, MS_SHARED, NULL), 0);
	(void)close(run);
	run = openat(scratch->fd, "run", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int hold[2], made[2];
	assert_int_equal(pipe2(hold, O_CLOEXEC) | pipe2(made, O_CLOEXEC), 0);
	pid_t peer = fork();
	if (peer == 0) {
		(void)close(hold[1]);
		char byte = (char)unshare(CLONE_NEWNS);
		(void)!write(made[1], &byte, 1);
		(void)!read(hold[0], &byte, 1);
		_exit(0);
	}
	char byte = 1;
	assert_int_equal(read(made[0], &byte, 1), 1);
	assert_int_equal(byte, 0);
	struct err err = { 0 };
	struct pin_visit visit;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(pin_create(run, run, &err), 0);
		assert_int_equal(pin_enter(run, &visit, &err), 0);
		assert_int_equal(pin_leave(&visit, &err), 0);
		assert_int_equal(pin_remove(run, &err), 0);
	}
	(void)close(hold[1]);
	assert_int_equal(waitpid(peer, NULL, 0), peer);
	(void)close(hold[0]);
	(void)close(made[0]);
	(void)close(made[1]);
	leave_run(run);
	assert_int_equal(umount2(path, MNT_DETACH), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SCRATCH(enter_without_a_namespace_is_enoent),
		IN_SCRATCH(namespace_holds_an_empty_root_and_nothing_of_the_host),
		IN_SCRATCH(chrooted_caller_is_in_its_root_again),
		IN_SCRATCH(shared_mount_with_a_peer_gets_a_pin_too),
	};
	int r = world_enter();
	return r != 0 ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
