/* world - see world.h.
 *
 * Needs cgroup v1 with cpuacct.  The groups are made below the caller's own (a delegated tree stays
 * whole), at moat-bench/NAME in every v1 hierarchy.  The world's PID 1 joins them, and then makes a
 * cgroup namespace: what an engine takes for the root of the cgroup tree is the world's group, so
 * /docker/ID, /crun/ID or /moat/ID land inside and are counted.  Its /sys/fs/cgroup shows only v1:
 * some peers refuse a "hybrid" host. */
#define _GNU_SOURCE
#include "world.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GROUPS_DIR "moat-bench"
#define STATE_DIR "/run/moat-bench"
#define CGROUP_DIR "/sys/fs/cgroup"

enum { HIERARCHIES_MAX = 16, CONTROLLERS_MAX = 64, GROUP_PATH_MAX = 256, END_TRIES = 500 };

struct hierarchy {
	char controllers[CONTROLLERS_MAX]; /* as in /proc/self/cgroup: "cpuacct", "name=systemd" */
	char group[GROUP_PATH_MAX];        /* the caller's own group in it */
};

/* The v1 hierarchies; a mount point is the controllers' name below /sys/fs/cgroup. */
static int hierarchies_read(struct hierarchy *list)
{
	FILE *f = fopen("/proc/self/cgroup", "re");
	if (f == NULL)
		return -errno;
	int n = 0;
	char line[512];
	while (n < HIERARCHIES_MAX && fgets(line, sizeof(line), f) != NULL) {
		struct hierarchy *h = &list[n];
		if (sscanf(line, "%*d:%63[^:]:%255[^\n]", h->controllers, h->group) == 2)
			n++;
	}
	(void)fclose(f);
	return n > 0 ? n : -ENOTSUP;
}

static const char *hierarchy_dir(const struct hierarchy *h)
{
	return strncmp(h->controllers, "name=", 5) == 0 ? h->controllers + 5 : h->controllers;
}

static char *group_path(const struct hierarchy *h, const char *name, const char *file)
{
	const char *own = strcmp(h->group, "/") == 0 ? "" : h->group;
	char *path;
	if (asprintf(&path, CGROUP_DIR "/%s%s/" GROUPS_DIR "/%s%s", hierarchy_dir(h), own, name,
		    file) < 0)
		abort();
	return path;
}

static int file_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int r = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	(void)close(fd);
	return r;
}

static ssize_t file_read(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ssize_t n = read(fd, buf, size - 1);
	if (n < 0)
		n = -errno;
	else
		buf[n] = '\0';
	(void)close(fd);
	return n;
}

/* A new cpuset group is empty and takes no process until it has processors and memory. */
static int cpuset_fill(const struct hierarchy *h, const char *name)
{
	static const char *const files[] = { "/cpuset.cpus", "/cpuset.mems" };
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		char *from, *to = group_path(h, name, files[i]), value[128];
		if (asprintf(&from, CGROUP_DIR "/cpuset%s", files[i]) < 0)
			abort();
		ssize_t n = file_read(from, value, sizeof(value));
		int r = n < 0 ? (int)n : file_write(to, value);
		free(from);
		free(to);
		if (r < 0)
			return r;
	}
	return 0;
}

static int group_make(const struct hierarchy *h, const char *name)
{
	const char *const levels[] = { "", name };
	for (size_t i = 0; i < 2; i++) {
		char *path = group_path(h, levels[i], "");
		int r = mkdir(path, 0755) < 0 && errno != EEXIST ? -errno : 0;
		free(path);
		if (r == 0 && strcmp(h->controllers, "cpuset") == 0)
			r = cpuset_fill(h, levels[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

static int groups_join(const struct hierarchy *list, int n, const char *name)
{
	for (int i = 0; i < n; i++) {
		/* A thread moving itself by "tasks" does not wait for a grace period. */
		char *path = group_path(&list[i], name, "/tasks");
		int r = file_write(path, "0");
		free(path);
		if (r < 0)
			return r;
	}
	return 0;
}

static int mount_or_errno(const char *type, const char *dir, unsigned long flags, const char *data)
{
	return mount(type, dir, type, flags, data) < 0 ? -errno : 0;
}

static int mounts_make(const struct hierarchy *list, int n)
{
	int r;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -errno;
	/* proc and sysfs show the PID and network namespaces they were mounted in; the host's
	 * cgroup mounts go with its sysfs, or engines would find them in /proc/self/mountinfo. */
	if (umount2("/sys", MNT_DETACH) < 0)
		return -errno;
	if ((r = mount_or_errno("proc", "/proc", 0, NULL)) < 0 ||
		(r = mount_or_errno("sysfs", "/sys", 0, NULL)) < 0 ||
		(r = mount_or_errno("tmpfs", "/run", 0, "mode=755")) < 0 ||
		(r = mount_or_errno("tmpfs", CGROUP_DIR, 0, "mode=755")) < 0)
		return r;
	for (int i = 0; i < n; i++) {
		char *dir, *data;
		bool named = strncmp(list[i].controllers, "name=", 5) == 0;
		if (asprintf(&dir, CGROUP_DIR "/%s", hierarchy_dir(&list[i])) < 0 ||
			asprintf(&data, "%s%s", named ? "none," : "", list[i].controllers) < 0)
			abort();
		r = mkdir(dir, 0755) < 0 ? -errno : mount_or_errno("cgroup", dir, 0, data);
		free(dir);
		free(data);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The world's PID 1: adopts and reaps, nothing else. */
static void init_loop(void)
{
	sigset_t chld;
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &chld, NULL);
	for (;;) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		(void)sigwaitinfo(&chld, NULL);
	}
}

static char *pid_file(const char *name)
{
	char *path;
	if (asprintf(&path, STATE_DIR "/%s.pid", name) < 0)
		abort();
	return path;
}

static int pid_store(const char *name, pid_t pid)
{
	char *path = pid_file(name);
	FILE *f = fopen(path, "we");
	free(path);
	if (f == NULL)
		return -errno;
	(void)fprintf(f, "%d\n", pid);
	return fclose(f) == 0 ? 0 : -errno;
}

static int pid_load(const char *name)
{
	char *path = pid_file(name);
	FILE *f = fopen(path, "re");
	free(path);
	if (f == NULL)
		return -errno;
	int pid, found = fscanf(f, "%d", &pid);
	(void)fclose(f);
	return found == 1 && pid > 1 ? pid : -EINVAL;
}

/* Runs in the child that becomes the parent of the world's PID 1. */
static int world_found(const struct hierarchy *list, int n, const char *name, int ready)
{
	int r = groups_join(list, n, name);
	if (r < 0)
		return r;
	if (unshare(CLONE_NEWCGROUP | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |
		    CLONE_NEWPID) < 0)
		return -errno;
	pid_t init = fork();
	if (init < 0)
		return -errno;
	if (init > 0)
		return pid_store(name, init);

	r = mounts_make(list, n);
	(void)setsid();
	(void)!write(ready, &r, sizeof(r));
	(void)close(ready);
	if (r < 0)
		_exit(1);
	init_loop();
	_exit(0);
}

int world_make(const char *name)
{
	struct hierarchy list[HIERARCHIES_MAX];
	int n = hierarchies_read(list);
	if (n < 0)
		return n;
	for (int i = 0; i < n; i++) {
		int r = group_make(&list[i], name);
		if (r < 0)
			return r;
	}
	if (mkdir(STATE_DIR, 0755) < 0 && errno != EEXIST)
		return -errno;

	int ready[2];
	if (pipe2(ready, O_CLOEXEC) < 0)
		return -errno;
	pid_t child = fork();
	if (child < 0)
		return -errno;
	if (child == 0) {
		(void)close(ready[0]);
		int r = world_found(list, n, name, ready[1]);
		if (r < 0)
			(void)!write(ready[1], &r, sizeof(r));
		_exit(r < 0);
	}
	(void)close(ready[1]);
	int result = -EPIPE;
	(void)!read(ready[0], &result, sizeof(result));
	(void)close(ready[0]);
	(void)waitpid(child, NULL, 0);
	return result < 0 ? result : pid_load(name);
}

int world_enter(const char *name)
{
	static const char *const spaces[] = { "mnt", "net", "ipc", "uts", "pid", "cgroup" };
	enum { SPACES = sizeof(spaces) / sizeof(spaces[0]) };
	struct hierarchy list[HIERARCHIES_MAX];
	int n = hierarchies_read(list), pid = pid_load(name), fds[SPACES];
	if (n < 0 || pid < 0)
		return n < 0 ? n : pid;
	for (size_t i = 0; i < SPACES; i++) {
		char *path;
		if (asprintf(&path, "/proc/%d/ns/%s", pid, spaces[i]) < 0)
			abort();
		fds[i] = open(path, O_RDONLY | O_CLOEXEC);
		free(path);
		if (fds[i] < 0)
			return -errno;
	}
	int r = groups_join(list, n, name);
	for (size_t i = 0; i < SPACES; i++) {
		if (r == 0 && setns(fds[i], 0) < 0)
			r = -errno;
		(void)close(fds[i]);
	}
	return r < 0 ? r : chdir("/") < 0 ? -errno : 0;
}

/* Removes a tree of empty groups; a group whose last process is still dying says EBUSY. */
static int tree_remove(const char *path)
{
	DIR *dir = opendir(path);
	if (dir == NULL)
		return errno == ENOENT ? 0 : -errno;
	int r = 0;
	for (struct dirent *e; r == 0 && (e = readdir(dir)) != NULL;) {
		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		char *below;
		if (asprintf(&below, "%s/%s", path, e->d_name) < 0)
			abort();
		r = tree_remove(below);
		free(below);
	}
	(void)closedir(dir);
	return r < 0 ? r : rmdir(path) < 0 ? -errno : 0;
}

/* The pid file may be older than the process that has the number now: only a member is ended. */
static bool is_member(const struct hierarchy *h, const char *name, int pid)
{
	char *path = group_path(h, name, "/tasks");
	FILE *f = fopen(path, "re");
	free(path);
	if (f == NULL)
		return false;
	bool found = false;
	for (int member; !found && fscanf(f, "%d", &member) == 1;)
		found = member == pid;
	(void)fclose(f);
	return found;
}

int world_end(const char *name)
{
	static const struct timespec pause = { .tv_nsec = 10 * 1000 * 1000 };
	struct hierarchy list[HIERARCHIES_MAX];
	int n = hierarchies_read(list), pid = pid_load(name);
	if (n < 0)
		return n;
	if (pid > 0 && is_member(&list[0], name, pid) && kill(pid, SIGKILL) < 0)
		return -errno;
	int r = 0;
	for (int i = 0; i < n; i++) {
		char *path = group_path(&list[i], name, "");
		for (int tries = 0; (r = tree_remove(path)) == -EBUSY && tries < END_TRIES; tries++)
			(void)nanosleep(&pause, NULL);
		free(path);
		if (r < 0)
			return r;
		/* The last world takes the common parent with it. */
		path = group_path(&list[i], "", "");
		(void)rmdir(path);
		free(path);
	}
	char *path = pid_file(name);
	(void)unlink(path);
	free(path);
	(void)rmdir(STATE_DIR);
	return 0;
}

static int64_t usage_read(const char *path)
{
	char text[32];
	ssize_t n = file_read(path, text, sizeof(text));
	if (n < 0)
		return n;
	int64_t ns;
	return sscanf(text, "%" SCNd64, &ns) == 1 ? ns : -EINVAL;
}

int64_t world_cpu_ns(const char *name)
{
	struct hierarchy list[HIERARCHIES_MAX];
	int n = hierarchies_read(list);
	for (int i = 0; i < n; i++)
		if (strstr(list[i].controllers, "cpuacct") != NULL) {
			char *path = group_path(&list[i], name, "/cpuacct.usage");
			int64_t ns = usage_read(path);
			free(path);
			return ns;
		}
	return -ENOTSUP;
}

int64_t world_machine_cpu_ns(void)
{
	return usage_read(CGROUP_DIR "/cpuacct/cpuacct.usage");
}
