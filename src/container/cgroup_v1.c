/* cgroup_v1 - the driver for one hierarchy per controller (cgroups(7), "cgroups version 1").
 *
 * Joined are only the hierarchies below.  cpuset is left out: a new cpuset group has no CPUs until
 * some are copied from its parent, and no limit of ours needs it.  A v2 mount beside v1 ("hybrid")
 * has none of these controllers and is left alone. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/proc.h"
#include "container/cgroup_driver.h"
#include "container/container_spec.h"

#define PROCS_BYTES_MAX (4 << 20)
#define FREEZE_DEADLINE_MS 2000
#define FREEZE_NAP_MS 2

static const char *const controllers[] = { "memory", "pids", "cpu", "cpuacct", "devices", "freezer",
	"blkio" };

static int v1_select(struct cgroup *cgroup, const char *path, struct err *err)
{
	const struct cgroup_host *host = &cgroup->host;
	for (size_t i = 0; i < host->len; i++) {
		const struct cgroup_hierarchy *h = &host->hierarchies[i];
		bool is_wanted = false;
		for (size_t c = 0; c < ARRAY_LEN(controllers) && !h->is_v2; c++)
			is_wanted |= cgroup_controllers_have(h->controllers, controllers[c]);
		if (!is_wanted)
			continue;
		if (cgroup->dirs_len == CGROUP_DIRS_MAX)
			return err_set(err, ERR_LIMIT, "more than %d cgroup hierarchies",
				CGROUP_DIRS_MAX);
		cgroup->dirs[cgroup->dirs_len++] = (struct cgroup_dir){
			.controllers = h->controllers,
			.mount_point = h->mount_point,
			.path = text_format("%s/%s", h->mount_point, path),
			.fd = -1,
			.join_fd = -1,
		};
	}
	if (cgroup->dirs_len == 0)
		return err_set(err, ERR_UNSUPPORTED,
			"no cgroup hierarchy with a controller for containers is mounted");
	return 0;
}

static int v1_prepare(struct cgroup *cgroup, const char *path, struct err *err)
{
	/* Every controller is active in every group of its hierarchy. */
	(void)cgroup, (void)path, (void)err;
	return 0;
}

static void rule_format(const struct spec_device_rule *rule, struct text *out)
{
	text_printf(out, "%c ", rule->type);
	if (rule->major < 0)
		text_puts(out, "*:");
	else
		text_printf(out, "%jd:", (intmax_t)rule->major);
	if (rule->minor < 0)
		text_puts(out, "* ");
	else
		text_printf(out, "%jd ", (intmax_t)rule->minor);
	if (rule->access & DEVICE_READ)
		text_puts(out, "r");
	if (rule->access & DEVICE_WRITE)
		text_puts(out, "w");
	if (rule->access & DEVICE_MKNOD)
		text_puts(out, "m");
}

static int v1_set_devices(const struct cgroup *cgroup, const struct container_spec *spec,
	struct err *err)
{
	if (spec->device_rules_len == 0)
		return 0;
	const struct cgroup_dir *dir = cgroup_dir_find(cgroup, "devices");
	if (dir == NULL)
		return err_set(err, ERR_UNSUPPORTED,
			"this host has no cgroup controller \"devices\": a container could open "
			"the "
			"host's disks");
	AUTO_DONE(text) line = { 0 };
	for (size_t i = 0; i < spec->device_rules_len; i++) {
		const struct spec_device_rule *rule = &spec->device_rules[i];
		text_clear(&line);
		/* "a" alone resets the whole list, with numbers behind it the kernel refuses. */
		if (rule->type == 'a')
			text_puts(&line, "a");
		else
			rule_format(rule, &line);
		int r = file_poke_at(dir->fd, rule->is_allowed ? "devices.allow" : "devices.deny",
			line.data, err);
		if (r < 0)
			return err_wrap(err, r, "device rule \"%s\"", line.data);
	}
	return 0;
}

static int dir_fd(const struct cgroup *cgroup, const char *controller)
{
	const struct cgroup_dir *dir = cgroup_dir_find(cgroup, controller);
	return dir != NULL ? dir->fd : -1;
}

static int v1_read_stats(const struct cgroup *cgroup, struct cgroup_stats *ret_stats)
{
	int memory = dir_fd(cgroup, "memory");
	*ret_stats = (struct cgroup_stats){
		.memory_bytes = cgroup_read_number(memory, "memory.usage_in_bytes"),
		.memory_peak_bytes = cgroup_read_number(memory, "memory.max_usage_in_bytes"),
		.oom_kills = cgroup_read_key(memory, "memory.oom_control", "oom_kill"),
		.cpu_ns = cgroup_read_number(dir_fd(cgroup, "cpuacct"), "cpuacct.usage"),
		.pids = cgroup_read_number(dir_fd(cgroup, "pids"), "pids.current"),
	};
	return 0;
}

static int v1_freeze(const struct cgroup *cgroup, bool frozen, struct err *err)
{
	const char *state = frozen ? "FROZEN" : "THAWED";
	int fd = dir_fd(cgroup, "freezer");
	if (fd < 0)
		return err_set(err, ERR_UNSUPPORTED,
			"this host has no cgroup controller \"freezer\", which pausing needs");
	/* The kernel reports FREEZING until each task has stopped, and only looks again when asked
	 * (freezer-subsystem.rst). */
	for (int waited = 0; waited <= FREEZE_DEADLINE_MS; waited += FREEZE_NAP_MS) {
		int r = file_poke_at(fd, "freezer.state", state, err);
		if (r < 0)
			return err_wrap(err, r, "%s", frozen ? "pause" : "resume");
		AUTO_DONE(text) now = { 0 };
		r = file_read_at(fd, "freezer.state", 64, &now, err);
		if (r < 0)
			return r;
		if (view_is(view_trim(view_of_text(&now)), state))
			return 0;
		(void)poll(NULL, 0, FREEZE_NAP_MS);
	}
	(void)!file_poke_at(fd, "freezer.state", "THAWED", NULL);
	return err_set(err, ERR_TIMEOUT, "the container did not freeze in %d ms",
		FREEZE_DEADLINE_MS);
}

/* What a container sees at /sys/fs/cgroup: a directory per hierarchy, and for "cpu,cpuacct" a link
 * of each name, as every distribution has it. */
static int view_add(int tmpfs, const struct cgroup_dir *dir, uint64_t attributes, struct err *err)
{
	const char *name = dir->controllers;
	AUTO_CLOSE int view = -1;
	int r = cgroup_view_open(dir, attributes, &view, err);
	if (r < 0)
		return r;
	if (mkdirat(tmpfs, name, 0755) < 0)
		return err_sys(err, errno, "make /sys/fs/cgroup/%s", name);
	AUTO_CLOSE int target = openat(tmpfs, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (target < 0 || move_mount(view, "", target, "",
				  MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return err_sys(err, errno, "mount /sys/fs/cgroup/%s", name);
	if (strchr(name, ',') == NULL)
		return 0;
	for (struct view rest = view_of(name); rest.data != NULL;) {
		AUTO_FREE char *part = view_dup(view_cut(&rest, ','));
		if (symlinkat(name, tmpfs, part) < 0)
			return err_sys(err, errno, "link /sys/fs/cgroup/%s", part);
	}
	return 0;
}

static int v1_mount_view(const struct cgroup *cgroup, int target_fd, uint64_t attributes,
	struct err *err)
{
	AUTO_CLOSE int context = fsopen("tmpfs", FSOPEN_CLOEXEC);
	if (context < 0 || fsconfig(context, FSCONFIG_SET_STRING, "mode", "755", 0) < 0 ||
		fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return err_sys(err, errno, "make a tmpfs for /sys/fs/cgroup");
	AUTO_CLOSE int tmpfs = fsmount(context, FSMOUNT_CLOEXEC,
		(unsigned)(attributes & ~(uint64_t)MOUNT_ATTR_RDONLY));
	/* Attached first: mounts go only onto what is attached (before Linux 6.15). */
	if (tmpfs < 0 || move_mount(tmpfs, "", target_fd, "",
				 MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return err_sys(err, errno, "mount a tmpfs at /sys/fs/cgroup");
	for (size_t i = 0; i < cgroup->dirs_len; i++) {
		int r = view_add(tmpfs, &cgroup->dirs[i], attributes, err);
		if (r < 0)
			return r;
	}
	struct mount_attr attr = { .attr_set = attributes };
	if (mount_setattr(tmpfs, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return err_sys(err, errno, "restrict /sys/fs/cgroup");
	return 0;
}

struct member {
	int pid, pidfd;
};

static size_t members_read(int dirfd, struct member **ret_members)
{
	AUTO_DONE(text) text = { 0 };
	*ret_members = NULL;
	if (file_read_at(dirfd, "cgroup.procs", PROCS_BYTES_MAX, &text, NULL) < 0)
		return 0;
	size_t len = 0;
	struct member *members = NULL;
	for (struct view rest = view_of_text(&text); rest.data != NULL;) {
		int64_t pid;
		if (num_parse(view_cut(&rest, '\n'), 1, INT32_MAX, &pid) < 0)
			continue;
		members = mem_grow(members, len + 1, sizeof(*members));
		members[len++] = (struct member){ .pid = (int)pid, .pidfd = -1 };
	}
	*ret_members = members;
	return len;
}

static bool members_have(const struct member *members, size_t len, int pid)
{
	for (size_t i = 0; i < len; i++)
		if (members[i].pid == pid)
			return true;
	return false;
}

static int v1_kill_round(const struct cgroup *cgroup, size_t *ret_members, struct err *err)
{
	(void)err;
	int freezer = dir_fd(cgroup, "freezer");
	if (freezer >= 0)
		(void)!file_poke_at(freezer, "freezer.state", "THAWED", NULL);

	/* A number read from cgroup.procs may belong to a stranger a moment later.  So: pidfds
	 * first, then read again; who is still listed and whose pidfd still lives is the one. */
	int dirfd = cgroup->dirs[0].fd;
	AUTO_FREE struct member *members = NULL;
	size_t len = members_read(dirfd, &members);
	for (size_t i = 0; i < len; i++)
		members[i].pidfd = pidfd_open(members[i].pid, 0);
	AUTO_FREE struct member *again = NULL;
	size_t again_len = len > 0 ? members_read(dirfd, &again) : 0;
	for (size_t i = 0; i < len; i++) {
		if (members[i].pidfd < 0)
			continue;
		if (members_have(again, again_len, members[i].pid))
			(void)!proc_signal(members[i].pidfd, SIGKILL);
		(void)close(members[i].pidfd);
	}
	*ret_members = len;
	return 0;
}

static void v1_wait_change(int dirfd, int timeout_ms)
{
	/* v1 has no event for "empty now"; the end of any one member is as good. */
	AUTO_FREE struct member *members = NULL;
	size_t len = members_read(dirfd, &members);
	AUTO_CLOSE int pidfd = len > 0 ? pidfd_open(members[0].pid, 0) : -1;
	if (pidfd < 0 || proc_wait_end(pidfd, timeout_ms < 50 ? timeout_ms : 50) == 0)
		(void)poll(NULL, 0, 1); /* a zombie leaves its group a little later */
}

const struct cgroup_ops cgroup_v1_ops = {
	.interface = CGROUP_V1,
	.join_file = "tasks",
	.oom_events_file = "memory.oom_control",
	.select = v1_select,
	.prepare = v1_prepare,
	.set_devices = v1_set_devices,
	.read_stats = v1_read_stats,
	.freeze = v1_freeze,
	.mount_view = v1_mount_view,
	.kill_round = v1_kill_round,
	.wait_change = v1_wait_change,
};
