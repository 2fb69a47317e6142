/* world - what the storage tests share: a private mount namespace, small EROFS images, and a look
 * at what is left. */
#pragma once

#include "test.h"

#include <dirent.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "storage/pin.h"
#include "storage/storage.h"

enum { TEST_SKIPPED = 77 }; /* meson's exit status for it */

/* The whole test program moves; its mounts go with it. */
static inline int world_enter(void)
{
	if (geteuid() != 0) {
		puts("1..0 # SKIP mounts need root");
		return TEST_SKIPPED;
	}
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		printf("1..0 # SKIP no mount namespace: %s\n", strerror(errno));
		return TEST_SKIPPED;
	}
	return 0;
}

static inline int run_program(const char *const argv[])
{
	pid_t pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);
		(void)dup2(null, 1);
		(void)dup2(null, 2);
		(void)execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	int status = -1;
	(void)waitpid(pid, &status, 0);
	return status;
}

/* DIR/NAME.erofs with one file NAME that holds NAME, and a set-uid program "prog". */
static inline char *make_image(const struct scratch *scratch, const char *name)
{
	AUTO_FREE char *tree = text_format("%s/%s", scratch->path, name);
	AUTO_FREE char *file = text_format("%s/%s", tree, name);
	AUTO_FREE char *program = text_format("%s/prog", tree);
	char *image = text_format("%s/%s.erofs", scratch->path, name);
	assert_int_equal(mkdir(tree, 0755), 0);
	int fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	assert_int_equal(write(fd, name, strlen(name)), strlen(name));
	(void)close(fd);
	const char *const copy[] = { "cp", "/bin/busybox", program, NULL };
	const char *const build[] = { "mkfs.erofs", image, tree, NULL };
	assert_int_equal(run_program(copy), 0);
	assert_int_equal(chmod(program, 04755), 0);
	assert_int_equal(run_program(build), 0);
	return image;
}

static inline int make_run(const struct scratch *scratch)
{
	assert_int_equal(mkdirat(scratch->fd, "run", 0700), 0);
	return openat(scratch->fd, "run", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static inline int count_names(int dir_fd, const char *path)
{
	int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	DIR *dir = fdopendir(fd);
	int n = 0;
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
		n += entry->d_name[0] != '.';
	(void)closedir(dir);
	return n;
}

/* Images mounted in the pinned namespace. */
static inline int count_mounted(int run_fd)
{
	struct pin_visit visit;
	if (pin_enter(run_fd, &visit, NULL) < 0)
		return 0;
	int n = count_names(AT_FDCWD, ".");
	return pin_leave(&visit, NULL) < 0 ? -1 : n;
}

static inline void leave_run(int run_fd)
{
	assert_int_equal(storage_unpin(run_fd, NULL), 0);
	(void)close(run_fd);
}
