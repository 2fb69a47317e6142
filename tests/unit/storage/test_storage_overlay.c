#include "world.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "storage/erofs_mount.h"

struct fixture {
	char *file, *data, *lower; /* owned */
};

static struct fixture fixture_make(const struct scratch *scratch)
{
	struct fixture f = {
		.file = make_image(scratch, "one"),
		/* longer than the 255 bytes an option string may have */
		.data = text_format("%s/%0200d/%0200d", scratch->path, 1, 2),
		.lower = text_format("%s/lower", scratch->path),
	};
	assert_int_equal(path_make_dirs(f.data, 0700, NULL), 0);
	assert_int_equal(mkdir(f.lower, 0700), 0);
	return f;
}

static void fixture_done(struct fixture *f)
{
	free(f->file);
	free(f->data);
	free(f->lower);
}

static int overlay_open(const struct fixture *f, bool is_volatile, int *ret_fd, struct err *err)
{
	const char *files[] = { f->file };
	int lower = -1;
	int r = erofs_mount_open(files, 1, &lower, err);
	return r < 0 ? r : storage_overlay_open(lower, f->lower, f->data, is_volatile, ret_fd, err);
}

static void overlay_is_writable_and_keeps_what_was_written(void **state)
{
	struct fixture f = fixture_make(*state);
	struct err err = { 0 };
	for (int i = 0; i < 4; i++) {
		int fd = -1;
		assert_int_equal(overlay_open(&f, i >= 2, &fd, &err), 0);
		assert_int_equal(faccessat(fd, "one", F_OK, 0), 0);
		assert_int_equal(faccessat(fd, "new", F_OK, 0), i == 0 ? -1 : 0);
		(void)close(openat(fd, "new", O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
		assert_int_equal(faccessat(fd, "new", F_OK, 0), 0);
		(void)close(fd);
	}
	fixture_done(&f);
}

/* The lower mount's nodev and read-only are not the overlay's. */
static void set_uid_program_of_the_image_is_set_uid(void **state)
{
	struct fixture f = fixture_make(*state);
	int fd = -1;
	assert_int_equal(overlay_open(&f, true, &fd, NULL), 0);
	int program = openat(fd, "prog", O_PATH | O_CLOEXEC);
	pid_t pid = fork();
	if (pid == 0) {
		/* busybox drops set-uid for its applets but for a few, so the shell is asked what
		 * it may still do: only root may write here. */
		if (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0)
			_exit(1);
		struct stat st;
		if (fstatat(program, "", &st, AT_EMPTY_PATH) < 0 || (st.st_mode & S_ISUID) == 0)
			_exit(2);
		(void)dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 2);
		char *const argv[] = { (char[]){ "su" }, (char[]){ "--help" }, NULL };
		char *const envp[] = { NULL };
		(void)syscall(SYS_execveat, program, "", argv, envp, AT_EMPTY_PATH);
		_exit(3);
	}
	int status = -1;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
	(void)close(program);
	(void)close(fd);
	fixture_done(&f);
}

/* fsconfig(FSCONFIG_SET_FD) fails as on kernels before 6.13. */
static int forbid_set_fd(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fsconfig, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FSCONFIG_SET_FD, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = ARRAY_LEN(filter), .filter = filter };
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) |
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static void older_kernels_get_short_paths(void **state)
{
	struct fixture f = fixture_make(*state);
	pid_t pid = fork();
	if (pid == 0) {
		int fd = -1;
		struct err err = { 0 };
		if (unshare(CLONE_NEWNS) < 0 || forbid_set_fd() != 0)
			_exit(1);
		if (overlay_open(&f, false, &fd, &err) < 0) {
			(void)fprintf(stderr, "%s\n", err.message);
			_exit(2);
		}
		if (mkdirat(fd, "new", 0755) < 0 || faccessat(fd, "one", F_OK, 0) < 0)
			_exit(3);
		AUTO_FREE char *new = text_format("%s/upper/new", f.data);
		_exit(access(new, F_OK) == 0 ? 0 : 4);
	}
	int status = -1;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	fixture_done(&f);
}

static void missing_data_directory_is_named(void **state)
{
	struct fixture f = fixture_make(*state);
	struct err err = { 0 };
	int fd = -1;
	assert_error(storage_overlay_open(-1, f.lower, "/nowhere", false, &fd, &err), ERR_SYSTEM,
		"/nowhere");
	fixture_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SCRATCH(overlay_is_writable_and_keeps_what_was_written),
		IN_SCRATCH(set_uid_program_of_the_image_is_set_uid),
		IN_SCRATCH(older_kernels_get_short_paths),
		IN_SCRATCH(missing_data_directory_is_named),
	};
	int r = world_enter();
	return r != 0 ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
