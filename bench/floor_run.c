/* floor_run - the least that any engine must do to run one container: the floor `moat run --rm` is
 * measured against.
 *
 * usage: floor_run [--bridge] ROOTFS WORKDIR SECCOMP.bpf CMD ARG...
 *
 * Straight calls, nothing parsed, looked up or recorded: cgroup v1 groups with limits and device
 * list, all namespaces but user and time, overlay over a plain directory, Docker's default mounts,
 * devices, masks, capabilities and (compiled) seccomp filter; with --bridge a veth on a bridge with
 * address and default route.  Then everything is removed again, but for the veth: it goes with its
 * network namespace.  Static, so that loading costs nothing. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "floor_link.h"

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))
#define CGROUP_DIR "/sys/fs/cgroup"
#define BRIDGE "floor0"

enum { FILTER_MAX = 4096, CAP_LAST = 40 };

/* 10.201.0.1/16, inside a world only. */
enum { GATEWAY = 0x0ac90001, PREFIX = 16 };

/* 14 of 41, as Docker's default. */
static const uint64_t capabilities = 0x00000000a80425fb;

static const char *const hierarchies[] = { "blkio", "cpu", "cpuacct", "cpuset", "devices",
	"freezer", "memory", "pids", "systemd" };

struct setting {
	const char *hierarchy, *file, *value;
};

static const struct setting settings[] = {
	{ "cpuset", "cpuset.cpus", NULL }, /* NULL: the parent's */
	{ "cpuset", "cpuset.mems", NULL },
	{ "cpu", "cpu.cfs_period_us", "100000" },
	{ "cpu", "cpu.cfs_quota_us", "100000" },
	{ "memory", "memory.limit_in_bytes", "134217728" },
	{ "pids", "pids.max", "64" },
	{ "devices", "devices.deny", "a" },
	{ "devices", "devices.allow", "c *:* m" },
	{ "devices", "devices.allow", "b *:* m" },
	{ "devices", "devices.allow", "c 1:3 rwm" },
	{ "devices", "devices.allow", "c 1:5 rwm" },
	{ "devices", "devices.allow", "c 1:7 rwm" },
	{ "devices", "devices.allow", "c 1:8 rwm" },
	{ "devices", "devices.allow", "c 1:9 rwm" },
	{ "devices", "devices.allow", "c 5:0 rwm" },
	{ "devices", "devices.allow", "c 5:2 rwm" },
	{ "devices", "devices.allow", "c 136:* rwm" },
};

struct node {
	const char *name;
	unsigned major, minor;
};

static const struct node nodes[] = { { "null", 1, 3 }, { "zero", 1, 5 }, { "full", 1, 7 },
	{ "random", 1, 8 }, { "urandom", 1, 9 }, { "tty", 5, 0 } };

struct alias {
	const char *name, *target;
};

static const struct alias aliases[] = { { "dev/fd", "/proc/self/fd" },
	{ "dev/stdin", "/proc/self/fd/0" }, { "dev/stdout", "/proc/self/fd/1" },
	{ "dev/stderr", "/proc/self/fd/2" }, { "dev/ptmx", "pts/ptmx" } };

struct mounted {
	const char *dir, *type;
	unsigned long flags;
	const char *data;
};

enum { SAFE = MS_NOSUID | MS_NOEXEC | MS_NODEV };

static const struct mounted mounts[] = {
	{ "proc", "proc", SAFE, NULL },
	{ "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k" },
	{ "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5" },
	{ "dev/mqueue", "mqueue", SAFE, NULL },
	{ "dev/shm", "tmpfs", SAFE, "mode=1777,size=65536k" },
	{ "sys", "sysfs", SAFE | MS_RDONLY, NULL },
	{ "sys/fs/cgroup", "tmpfs", SAFE, "mode=755" },
};

static const char *const masked[] = { "proc/acpi", "proc/asound", "proc/kcore", "proc/keys",
	"proc/latency_stats", "proc/sched_debug", "proc/scsi", "proc/timer_list",
	"proc/timer_stats", "sys/firmware" };

static const char *const read_only[] = { "proc/bus", "proc/fs", "proc/irq", "proc/sys",
	"proc/sysrq-trigger" };

static void die(const char *what, const char *name)
{
	(void)fprintf(stderr, "floor_run: %s %s: %s\n", what, name, strerror(errno));
	exit(125);
}

static char *text(const char *format, const char *a, const char *b, const char *c)
{
	char *out;
	/* NOLINTNEXTLINE: the formats are the literals below */
	if (asprintf(&out, format, a, b, c) < 0)
		abort();
	return out;
}

static void file_write(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		die("write", path);
	(void)close(fd);
}

/* ---- cgroups ---- */

static void groups_make(const char *id)
{
	for (size_t i = 0; i < LENGTH(hierarchies); i++) {
		char *path = text(CGROUP_DIR "/%s/%s%s", hierarchies[i], id, "");
		if (mkdir(path, 0755) < 0)
			die("make", path);
		free(path);
	}
	for (size_t i = 0; i < LENGTH(settings); i++) {
		const struct setting *s = &settings[i];
		char inherited[64] = "";
		if (s->value == NULL) {
			char *from = text(CGROUP_DIR "/%s/%s%s", s->hierarchy, s->file, "");
			int fd = open(from, O_RDONLY | O_CLOEXEC);
			if (fd < 0 || read(fd, inherited, sizeof(inherited) - 1) < 0)
				die("read", from);
			(void)close(fd);
			free(from);
		}
		char *path = text(CGROUP_DIR "/%s/%s/%s", s->hierarchy, id, s->file);
		file_write(path, s->value != NULL ? s->value : inherited);
		free(path);
	}
}

/* A thread that moves itself by "tasks" waits for no grace period. */
static void groups_join(const char *id)
{
	for (size_t i = 0; i < LENGTH(hierarchies); i++) {
		char *path = text(CGROUP_DIR "/%s/%s/%s", hierarchies[i], id, "tasks");
		file_write(path, "0");
		free(path);
	}
}

static void groups_remove(const char *id)
{
	for (size_t i = 0; i < LENGTH(hierarchies); i++) {
		char *path = text(CGROUP_DIR "/%s/%s%s", hierarchies[i], id, "");
		while (rmdir(path) < 0)
			if (errno != EBUSY)
				die("remove", path);
		free(path);
	}
}

/* ---- the child ---- */

static void mounts_make(void)
{
	for (size_t i = 0; i < LENGTH(mounts); i++) {
		const struct mounted *m = &mounts[i];
		if (mkdir(m->dir, 0755) < 0 && errno != EEXIST && errno != EPERM)
			die("make", m->dir);
		if (mount(m->type, m->dir, m->type, m->flags, m->data) < 0)
			die("mount", m->dir);
	}
	for (size_t i = 0; i < LENGTH(hierarchies); i++) {
		const char *name = hierarchies[i];
		char *dir = text("sys/fs/cgroup/%s%s%s", name, "", "");
		const char *data = strcmp(name, "systemd") == 0 ? "none,name=systemd" : name;
		if (mkdir(dir, 0755) < 0 ||
			mount("cgroup", dir, "cgroup", SAFE | MS_RDONLY, data) < 0)
			die("mount", dir);
		free(dir);
	}
	if (mount(NULL, "sys/fs/cgroup", NULL, MS_REMOUNT | MS_RDONLY | SAFE, "mode=755") < 0)
		die("remount", "sys/fs/cgroup");
}

static void devices_make(void)
{
	(void)umask(0);
	for (size_t i = 0; i < LENGTH(nodes); i++) {
		char *path = text("dev/%s%s%s", nodes[i].name, "", "");
		if (mknod(path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)) < 0)
			die("make", path);
		free(path);
	}
	(void)umask(022);
	for (size_t i = 0; i < LENGTH(aliases); i++)
		if (symlink(aliases[i].target, aliases[i].name) < 0)
			die("make", aliases[i].name);
}

static void paths_hide(void)
{
	for (size_t i = 0; i < LENGTH(masked); i++) {
		const char *path = masked[i];
		struct stat st;
		if (stat(path, &st) < 0)
			continue;
		int r = S_ISDIR(st.st_mode) ? mount("tmpfs", path, "tmpfs", MS_RDONLY, "size=0")
					    : mount("dev/null", path, NULL, MS_BIND, NULL);
		if (r < 0)
			die("mask", path);
	}
	for (size_t i = 0; i < LENGTH(read_only); i++) {
		const char *path = read_only[i];
		if (mount(path, path, NULL, MS_BIND | MS_REC, NULL) < 0) {
			if (errno == ENOENT)
				continue;
			die("bind", path);
		}
		if (mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | SAFE, NULL) < 0)
			die("remount", path);
	}
}

static void root_enter(const char *rootfs, const char *dir)
{
	char *merged = text("%s/merged%s%s", dir, "", "");
	char *data = text("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", rootfs, dir, dir);
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("overlay", merged, "overlay", 0, data) < 0 || chdir(merged) < 0)
		die("mount", merged);
	mounts_make();
	devices_make();
	paths_hide();
	/* The old root is stacked onto the new one and taken away from there. */
	if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		die("enter", merged);
	free(data);
	free(merged);
}

static struct sock_fprog filter_load(const char *path)
{
	static struct sock_filter rows[FILTER_MAX];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, rows, sizeof(rows));
	if (n <= 0 || (size_t)n % sizeof(rows[0]) != 0)
		die("read the filter", path);
	(void)close(fd);
	return (struct sock_fprog){ .len = (unsigned short)((size_t)n / sizeof(rows[0])),
		.filter = rows };
}

static void rights_drop(const struct sock_fprog *filter)
{
	/* Without no_new_privs (Docker does not set it) the filter needs CAP_SYS_ADMIN: first. */
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, filter) < 0)
		die("load", "the filter");
	for (int cap = 0; cap <= CAP_LAST; cap++)
		if ((capabilities >> cap & 1) == 0 && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			die("drop", "a capability");
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	for (int i = 0; i < 2; i++) {
		uint32_t word = (uint32_t)(capabilities >> 32 * i);
		data[i] = (struct __user_cap_data_struct){ .effective = word, .permitted = word };
	}
	if (syscall(SYS_capset, &head, data) < 0)
		die("set", "the capabilities");
}

struct job {
	const char *id, *rootfs, *dir, *filter;
	bool bridge;
	uint32_t address; /* network byte order */
	char **argv;
	int go[2]; /* pipe: the veth is there */
};

static _Noreturn void container_main(const struct job *job)
{
	struct sock_fprog filter = filter_load(job->filter);
	groups_join(job->id);
	if (unshare(CLONE_NEWCGROUP) < 0)
		die("unshare", "cgroup");
	if (sethostname(job->id, strlen(job->id)) < 0)
		die("name", job->id);
	root_enter(job->rootfs, job->dir);
	int r = link_loopback_up();
	if (r == 0 && job->bridge) {
		char byte;
		(void)close(job->go[1]);
		if (read(job->go[0], &byte, 1) != 1)
			die("wait for", "the veth");
		r = link_eth0_up(job->address, PREFIX, htonl(GATEWAY));
	}
	if (r < 0) {
		errno = -r;
		die("configure", "the network");
	}
	rights_drop(&filter);
	(void)execvp(job->argv[0], job->argv);
	die("execute", job->argv[0]);
	_exit(127);
}

/* ---- the parent ---- */

static pid_t container_clone(const struct job *job)
{
	int flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
	long pid = syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid < 0)
		die("clone", job->id);
	if (pid == 0)
		container_main(job);
	return (pid_t)pid;
}

static void dirs_make(const char *dir)
{
	static const char *const names[] = { "", "/upper", "/work", "/merged" };
	for (size_t i = 0; i < LENGTH(names); i++) {
		char *path = text("%s%s%s", dir, names[i], "");
		if (mkdir(path, 0755) < 0)
			die("make", path);
		free(path);
	}
}

static void dirs_remove(const char *dir)
{
	/* overlayfs made work/work; the command is one that writes nothing. */
	static const char *const names[] = { "/work/work", "/work", "/merged", "/upper", "" };
	for (size_t i = 0; i < LENGTH(names); i++) {
		char *path = text("%s%s%s", dir, names[i], "");
		if (rmdir(path) < 0)
			die("remove", path);
		free(path);
	}
}

int main(int argc, char **argv)
{
	bool bridge = argc > 1 && strcmp(argv[1], "--bridge") == 0;
	argv += bridge;
	if (argc - bridge < 5) {
		(void)fprintf(stderr, "usage: floor_run [--bridge] ROOTFS WORKDIR FILTER CMD...\n");
		return 125;
	}
	char *id;
	if (asprintf(&id, "floor%d", getpid()) < 0)
		abort();
	struct job job = { .id = id,
		.rootfs = argv[1],
		.dir = text("%s/%s%s", argv[2], id, ""),
		.filter = argv[3],
		.bridge = bridge,
		/* Unlike its neighbours' while they run; a floor keeps no records. */
		.address = htonl(GATEWAY + 1 + (uint32_t)getpid() % 60000),
		.argv = argv + 4 };
	int r = 0;
	if (pipe2(job.go, O_CLOEXEC) < 0)
		die("make", "a pipe");
	if (bridge)
		r = link_bridge_ensure(BRIDGE, htonl(GATEWAY), PREFIX);
	dirs_make(job.dir);
	groups_make(id);
	pid_t pid = container_clone(&job);
	(void)close(job.go[0]);
	if (r == 0 && bridge)
		r = link_veth_make(id, BRIDGE, pid);
	if (r == 0 && bridge && write(job.go[1], "", 1) != 1)
		r = -errno;
	if (r < 0) {
		errno = -r;
		die("make", "the veth");
	}
	int status;
	if (waitpid(pid, &status, 0) < 0)
		die("wait for", id);
	groups_remove(id);
	dirs_remove(job.dir);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
