/* cgroup_v2 - the driver for the one unified hierarchy (cgroup-v2.rst).
 *
 * A group has a controller only where its parent hands it down (cgroup.subtree_control), and a
 * group that hands down may not have processes itself, except for the real root.  In a container
 * the mount root is no real root and has our own processes in it: they move into "init" below it
 * first, as nested engines do. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/mem.h"
#include "container/cgroup_driver.h"

#define FILE_BYTES_MAX (1 << 20)
#define FREEZE_DEADLINE_MS 2000

static const char *const controllers[] = { "cpu", "memory", "pids", "io" };

static int v2_select(struct cgroup *cgroup, const char *path, struct err *err)
{
	(void)err;
	const struct cgroup_hierarchy *h = cgroup->host.hierarchies;
	while (!h->is_v2) /* there is one: that is why this driver was chosen */
		h++;
	cgroup->dirs[0] = (struct cgroup_dir){
		.controllers = h->controllers,
		.mount_point = h->mount_point,
		.path = text_format("%s/%s", h->mount_point, path),
		.fd = -1,
		.join_fd = -1,
	};
	cgroup->dirs_len = 1;
	return 0;
}

/* Moves every process of the group at dirfd into a leaf below it. */
static int evacuate(int dirfd, struct err *err)
{
	if (mkdirat(dirfd, "init", 0755) < 0 && errno != EEXIST)
		return err_sys(err, errno, "make cgroup init");
	AUTO_CLOSE int leaf = openat(dirfd, "init", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (leaf < 0)
		return err_sys(err, errno, "open cgroup init");
	AUTO_DONE(text) procs = { 0 };
	int r = file_read_at(dirfd, "cgroup.procs", FILE_BYTES_MAX, &procs, err);
	if (r < 0)
		return r;
	for (struct view rest = view_of_text(&procs); rest.data != NULL;) {
		AUTO_FREE char *pid = view_dup(view_cut(&rest, '\n'));
		/* One that has just ended needs no moving. */
		if (pid[0] != '\0')
			(void)!file_poke_at(leaf, "cgroup.procs", pid, NULL);
	}
	return 0;
}

/* Hands our controllers down from the group at dirfd to its children. */
static int hand_down(int dirfd, const char *available, struct err *err)
{
	AUTO_DONE(text) now = { 0 };
	int r = file_read_at(dirfd, "cgroup.subtree_control", FILE_BYTES_MAX, &now, err);
	if (r < 0)
		return r;
	AUTO_FREE char *enabled = view_dup(view_trim(view_of_text(&now)));
	for (char *c = enabled; *c != '\0'; c++)
		if (*c == ' ')
			*c = ',';

	AUTO_DONE(text) wanted = { 0 };
	for (size_t i = 0; i < ARRAY_LEN(controllers); i++)
		if (cgroup_controllers_have(available, controllers[i]) &&
			!cgroup_controllers_have(enabled, controllers[i]))
			text_printf(&wanted, "+%s ", controllers[i]);
	if (wanted.len == 0)
		return 0;
	r = file_poke_at(dirfd, "cgroup.subtree_control", wanted.data, err);
	if (r != -EBUSY)
		return r;
	r = evacuate(dirfd, err);
	return r < 0 ? r : file_poke_at(dirfd, "cgroup.subtree_control", wanted.data, err);
}

static int v2_prepare(struct cgroup *cgroup, const char *path, struct err *err)
{
	const struct cgroup_dir *dir = &cgroup->dirs[0];
	AUTO_DONE(text) level = { 0 };
	text_puts(&level, dir->mount_point);
	/* Every level above the last hands down. */
	for (struct view rest = view_of(path); rest.data != NULL;) {
		if (mkdir(level.data, 0755) < 0 && errno != EEXIST)
			return err_sys(err, errno, "make cgroup %s", level.data);
		AUTO_CLOSE int fd = open(level.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return err_sys(err, errno, "open cgroup %s", level.data);
		int r = hand_down(fd, dir->controllers, err);
		if (r < 0)
			return err_wrap(err, r, "enable controllers in cgroup %s", level.data);
		struct view part = view_cut(&rest, '/');
		text_puts(&level, "/");
		text_add(&level, part.data, part.len);
	}
	return 0;
}

static int v2_set_devices(const struct cgroup *cgroup, const struct container_spec *spec,
	struct err *err)
{
	return cgroup_device_attach(cgroup->dirs[0].fd, spec, err);
}

static int v2_read_stats(const struct cgroup *cgroup, struct cgroup_stats *ret_stats)
{
	int fd = cgroup->dirs[0].fd;
	*ret_stats = (struct cgroup_stats){
		.memory_bytes = cgroup_read_number(fd, "memory.current"),
		.memory_peak_bytes = cgroup_read_number(fd, "memory.peak"), /* Linux 5.19 */
		.oom_kills = cgroup_read_key(fd, "memory.events", "oom_kill"),
		.cpu_ns = cgroup_read_key(fd, "cpu.stat", "usage_usec") * 1000,
		.pids = cgroup_read_number(fd, "pids.current"),
	};
	return 0;
}

static void v2_wait_change(int dirfd, int timeout_ms)
{
	AUTO_CLOSE int fd = openat(dirfd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	struct pollfd wait = { .fd = fd, .events = POLLPRI };
	if (fd < 0)
		return;
	/* The event is relative to the last read; one that came between our caller's look and this
	 * would be missed, hence never longer than a moment. */
	char byte;
	(void)!read(fd, &byte, 1);
	(void)poll(&wait, 1, timeout_ms < 20 ? timeout_ms : 20);
}

static int v2_freeze(const struct cgroup *cgroup, bool frozen, struct err *err)
{
	int fd = cgroup->dirs[0].fd;
	int r = file_poke_at(fd, "cgroup.freeze", frozen ? "1" : "0", err);
	if (r < 0)
		return err_wrap(err, r, "%s", frozen ? "pause" : "resume");
	for (int waited = 0; waited <= FREEZE_DEADLINE_MS; waited += 20) {
		if (cgroup_read_key(fd, "cgroup.events", "frozen") == (frozen ? 1 : 0))
			return 0;
		v2_wait_change(fd, 20);
	}
	(void)!file_poke_at(fd, "cgroup.freeze", "0", NULL);
	return err_set(err, ERR_TIMEOUT, "the container did not freeze in %d ms",
		FREEZE_DEADLINE_MS);
}

static int v2_mount_view(const struct cgroup *cgroup, int target_fd, uint64_t attributes,
	struct err *err)
{
	AUTO_CLOSE int view = -1;
	int r = cgroup_view_open(&cgroup->dirs[0], attributes, &view, err);
	if (r < 0)
		return r;
	if (move_mount(view, "", target_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) <
		0)
		return err_sys(err, errno, "mount /sys/fs/cgroup");
	return 0;
}

static int v2_kill_round(const struct cgroup *cgroup, size_t *ret_members, struct err *err)
{
	int fd = cgroup->dirs[0].fd;
	*ret_members = cgroup_read_key(fd, "cgroup.events", "populated") != 0;
	if (*ret_members == 0)
		return 0;
	/* Kills the whole subtree at once, also against a fork bomb (Linux 5.14). */
	return file_poke_at(fd, "cgroup.kill", "1", err);
}

const struct cgroup_ops cgroup_v2_ops = {
	.interface = CGROUP_V2,
	.join_file = "cgroup.procs",
	.oom_events_file = "memory.events",
	.select = v2_select,
	.prepare = v2_prepare,
	.set_devices = v2_set_devices,
	.read_stats = v2_read_stats,
	.freeze = v2_freeze,
	.mount_view = v2_mount_view,
	.kill_round = v2_kill_round,
	.wait_change = v2_wait_change,
};
