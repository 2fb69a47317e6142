/* cgroup - one group per container in every hierarchy it needs; the shared part.
 *
 * The two kernel interfaces are two drivers behind struct cgroup_ops (cgroup_v1.c, cgroup_v2.c);
 * here is what they have in common: directories, the limits' table, kill, remove.
 *
 * Joining is the expensive part: writing a pid to cgroup.procs waits for an RCU grace period (7-14
 * ms), because the kernel takes cgroup_threadgroup_rwsem for writing.  A process that moves only
 * itself as a single thread needs no such wait: on v1 by "0" into `tasks` (0.15 ms for all
 * hierarchies), on v2 by being cloned into the group.  That is why a group keeps descriptors of
 * those files: the init joins by itself before it gives up the host. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/path.h"
#include "container/cgroup_driver.h"
#include "container/cgroup_view.h"
#include "container/container_clone.h"
#include "container/container_spec.h"

#define CGROUP_FILE_BYTES_MAX 65536
#define CGROUP_DEPTH_MAX 16
#define NS_PER_MS UINT64_C(1000000)

/* ---- the limits' table ---- */

typedef bool cgroup_format_fn(const struct cgroup_limits *limits, struct text *out);

static bool format_number(int64_t value, struct text *out)
{
	if (value <= 0)
		return false;
	text_printf(out, "%jd", (intmax_t)value);
	return true;
}

static int64_t cpu_period(const struct cgroup_limits *limits)
{
	return limits->cpu_period_us > 0 ? limits->cpu_period_us : 100000; /* the kernel's own */
}

static bool format_cpu_period(const struct cgroup_limits *limits, struct text *out)
{
	return limits->cpu_quota_us > 0 && format_number(cpu_period(limits), out);
}

static bool format_cpu_quota(const struct cgroup_limits *limits, struct text *out)
{
	return format_number(limits->cpu_quota_us, out);
}

static bool format_cpu_max(const struct cgroup_limits *limits, struct text *out)
{
	if (!format_number(limits->cpu_quota_us, out))
		return false;
	text_printf(out, " %jd", (intmax_t)cpu_period(limits));
	return true;
}

static bool format_cpu_shares(const struct cgroup_limits *limits, struct text *out)
{
	return format_number(limits->cpu_shares, out);
}

static bool format_cpu_weight(const struct cgroup_limits *limits, struct text *out)
{
	/* Shares 2..262144 to weight 1..10000, as the runtimes agreed on. */
	int64_t shares = limits->cpu_shares;
	if (shares <= 0)
		return false;
	shares = shares < 2 ? 2 : shares > 262144 ? 262144 : shares;
	return format_number(1 + ((shares - 2) * 9999) / 262142, out);
}

static bool format_memory(const struct cgroup_limits *limits, struct text *out)
{
	if (limits->memory_bytes == 0)
		return false;
	text_printf(out, "%ju", (uintmax_t)limits->memory_bytes);
	return true;
}

static bool format_memory_and_swap(const struct cgroup_limits *limits, struct text *out)
{
	uint64_t both;
	if (limits->memory_bytes == 0 ||
		__builtin_mul_overflow(limits->memory_bytes, UINT64_C(2), &both) ||
		both > INT64_MAX)
		return false;
	text_printf(out, "%ju", (uintmax_t)both);
	return true;
}

static bool format_pids(const struct cgroup_limits *limits, struct text *out)
{
	return format_number(limits->pids, out);
}

struct cgroup_limit_row {
	const char *controller;
	const char *file[CGROUP_INTERFACES];
	cgroup_format_fn *format[CGROUP_INTERFACES];
	bool may_be_missing;
};

static const struct cgroup_limit_row limit_rows[] = {
#define CGROUP_LIMIT(controller, v1_file, v1_format, v2_file, v2_format, may_be_missing) \
	{ controller, { v1_file, v2_file }, { v1_format, v2_format }, may_be_missing },
#include "container/cgroup_limits.def"
#undef CGROUP_LIMIT
};

static int limit_apply(const struct cgroup *cgroup, const struct cgroup_limit_row *row,
	const struct cgroup_limits *limits, struct err *err)
{
	const char *file = row->file[cgroup->ops->interface];
	AUTO_DONE(text) value = { 0 };
	if (file == NULL || !row->format[cgroup->ops->interface](limits, &value))
		return 0;
	const struct cgroup_dir *dir = cgroup_dir_find(cgroup, row->controller);
	if (dir == NULL)
		return err_set(err, ERR_UNSUPPORTED,
			"this host has no cgroup controller \"%s\", which the limit %s = %s needs; "
			"enable it or leave the limit out",
			row->controller, file, value.data);
	int r = file_poke_at(dir->fd, file, value.data, err);
	if (r == -ENOENT && row->may_be_missing)
		return 0;
	return r < 0 ? err_wrap(err, r, "limit %s = %s", file, value.data) : 0;
}

int cgroup_limits_apply(const struct cgroup *cgroup, const struct cgroup_limits *limits,
	struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(limit_rows); i++) {
		int r = limit_apply(cgroup, &limit_rows[i], limits, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- reading ---- */

uint64_t cgroup_read_number(int dirfd, const char *file)
{
	AUTO_DONE(text) text = { 0 };
	uint64_t number;
	if (file_read_at(dirfd, file, CGROUP_FILE_BYTES_MAX, &text, NULL) < 0 ||
		num_parse_u64(view_trim(view_of_text(&text)), UINT64_MAX, &number) < 0)
		return 0;
	return number;
}

uint64_t cgroup_read_key(int dirfd, const char *file, const char *key)
{
	AUTO_DONE(text) text = { 0 };
	if (file_read_at(dirfd, file, CGROUP_FILE_BYTES_MAX, &text, NULL) < 0)
		return 0;
	for (struct view rest = view_of_text(&text); rest.data != NULL;) {
		struct view value = view_cut(&rest, '\n');
		struct view name = view_cut(&value, ' ');
		uint64_t number;
		if (view_is(name, key) && num_parse_u64(value, UINT64_MAX, &number) == 0)
			return number;
	}
	return 0;
}

/* ---- one group ---- */

static int path_check(const char *path, struct err *err)
{
	for (struct view rest = view_of(path); rest.data != NULL;) {
		struct view part = view_cut(&rest, '/');
		if (part.len == 0 || view_is(part, ".") || view_is(part, ".."))
			return err_set(err, ERR_INVALID,
				"cgroup path \"%.200s\" is not of the form name/name", path);
	}
	return 0;
}

const struct cgroup_dir *cgroup_dir_find(const struct cgroup *cgroup, const char *controller)
{
	for (size_t i = 0; i < cgroup->dirs_len; i++)
		if (cgroup_controllers_have(cgroup->dirs[i].controllers, controller))
			return &cgroup->dirs[i];
	return NULL;
}

static int cgroup_new(struct cgroup_host *take_host, const char *path, struct cgroup **ret_cgroup,
	struct err *err)
{
	AUTO(cgroup) cgroup = NEW(cgroup);
	cgroup->host = *take_host;
	*take_host = (struct cgroup_host){ 0 };
	int r = path_check(path, err);
	if (r < 0)
		return r;
	cgroup->ops = cgroup_host_driver(&cgroup->host);
	if (cgroup->ops == NULL)
		return err_set(err, ERR_UNSUPPORTED,
			"no cgroup hierarchy is mounted; mount cgroup2 at /sys/fs/cgroup");
	r = cgroup->ops->select(cgroup, path, err);
	if (r < 0)
		return r;
	*ret_cgroup = TAKE(cgroup);
	return 0;
}

void cgroup_free(struct cgroup *cgroup)
{
	if (cgroup == NULL)
		return;
	for (size_t i = 0; i < cgroup->dirs_len; i++) {
		struct cgroup_dir *dir = &cgroup->dirs[i];
		free(dir->path);
		cleanup_close(&dir->fd);
		cleanup_close(&dir->join_fd);
	}
	cgroup_host_done(&cgroup->host);
	free(cgroup);
}

static int dir_open(struct cgroup *cgroup, struct cgroup_dir *dir, struct err *err)
{
	dir->fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir->fd < 0)
		return err_sys(err, errno, "open cgroup %s", dir->path);
	dir->join_fd = openat(dir->fd, cgroup->ops->join_file, O_WRONLY | O_CLOEXEC);
	if (dir->join_fd < 0)
		return err_sys(err, errno, "open %s/%s", dir->path, cgroup->ops->join_file);
	return 0;
}

static int dir_make(const char *path, struct err *err)
{
	/* Usually only the last part is missing: one call. */
	if (mkdir(path, 0755) == 0 || errno == EEXIST)
		return 0;
	if (errno != ENOENT)
		return err_sys(err, errno, "make cgroup %s", path);
	return path_make_dirs(path, 0755, err);
}

/* After a failure; the kernel keeps a group that has members. */
static void remove_made(const struct cgroup *cgroup, size_t made)
{
	for (size_t i = 0; i < made; i++)
		(void)rmdir(cgroup->dirs[i].path);
}

static int create_filled(struct cgroup *cgroup, const struct cgroup_limits *limits,
	const struct container_spec *spec, struct err *err)
{
	for (size_t i = 0; i < cgroup->dirs_len; i++) {
		int r = dir_open(cgroup, &cgroup->dirs[i], err);
		if (r < 0)
			return r;
	}
	int r = cgroup_limits_apply(cgroup, limits != NULL ? limits : &spec->limits, err);
	return r < 0 ? r : cgroup->ops->set_devices(cgroup, spec, err);
}

int cgroup_create_on(struct cgroup_host *take_host, const char *path,
	const struct cgroup_limits *limits, const struct container_spec *spec,
	struct cgroup **ret_cgroup, struct err *err)
{
	AUTO(cgroup) cgroup = NULL;
	int r = cgroup_new(take_host, path, &cgroup, err);
	if (r == 0 && cgroup != NULL)
		r = cgroup->ops->prepare(cgroup, path, err);
	if (r != 0 || cgroup == NULL)
		return r;
	for (size_t i = 0; i < cgroup->dirs_len; i++) {
		r = dir_make(cgroup->dirs[i].path, err);
		if (r < 0) {
			remove_made(cgroup, i);
			return r;
		}
	}
	r = create_filled(cgroup, limits, spec, err);
	if (r < 0) {
		remove_made(cgroup, cgroup->dirs_len);
		return r;
	}
	*ret_cgroup = TAKE(cgroup);
	return 0;
}

int cgroup_open_on(struct cgroup_host *take_host, const char *path, struct cgroup **ret_cgroup,
	struct err *err)
{
	AUTO(cgroup) cgroup = NULL;
	int r = cgroup_new(take_host, path, &cgroup, err);
	for (size_t i = 0; r == 0 && cgroup != NULL && i < cgroup->dirs_len; i++)
		r = dir_open(cgroup, &cgroup->dirs[i], err);
	if (r != 0)
		return r;
	*ret_cgroup = TAKE(cgroup);
	return 0;
}

int cgroup_create(const char *path, const struct cgroup_limits *limits,
	const struct container_spec *spec, struct cgroup **ret_cgroup, struct err *err)
{
	AUTO_DONE(cgroup_host) host = { 0 };
	int r = cgroup_host_read(&host, err);
	return r < 0 ? r : cgroup_create_on(&host, path, limits, spec, ret_cgroup, err);
}

int cgroup_open(const char *path, struct cgroup **ret_cgroup, struct err *err)
{
	AUTO_DONE(cgroup_host) host = { 0 };
	int r = cgroup_host_read(&host, err);
	return r < 0 ? r : cgroup_open_on(&host, path, ret_cgroup, err);
}

int cgroup_join_self(const struct cgroup *cgroup, struct err *err)
{
	for (size_t i = 0; i < cgroup->dirs_len; i++) {
		int r = fd_write_all(cgroup->dirs[i].join_fd, "0", 1);
		if (r < 0)
			return err_sys(err, -r, "join cgroup %s", cgroup->dirs[i].path);
	}
	return 0;
}

int cgroup_oom_events_open(const struct cgroup *cgroup, int *ret_fd, struct err *err)
{
	const struct cgroup_dir *dir = cgroup_dir_find(cgroup, "memory");
	*ret_fd = -1;
	if (dir == NULL)
		return 0;
	*ret_fd = openat(dir->fd, cgroup->ops->oom_events_file, O_RDONLY | O_CLOEXEC);
	return *ret_fd < 0
		       ? err_sys(err, errno, "open %s/%s", dir->path, cgroup->ops->oom_events_file)
		       : 0;
}

int cgroup_view_open(const struct cgroup_dir *dir, uint64_t attributes, int *ret_fd,
	struct err *err)
{
	AUTO_CLOSE int fd = open_tree(AT_FDCWD, dir->path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "clone the mount of %s", dir->path);
	struct mount_attr attr = { .attr_set = attributes, .propagation = MS_PRIVATE };
	if (mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return err_sys(err, errno, "restrict the mount of %s", dir->path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int cgroup_view_mount(const struct cgroup *cgroup, int target_fd, uint64_t attributes,
	struct err *err)
{
	return cgroup->ops->mount_view(cgroup, target_fd, attributes, err);
}

int cgroup_v2_fd(const struct cgroup *cgroup)
{
	return cgroup->ops->interface == CGROUP_V2 ? cgroup->dirs[0].fd : -1;
}

int cgroup_stats_read(const struct cgroup *cgroup, struct cgroup_stats *ret_stats)
{
	return cgroup->ops->read_stats(cgroup, ret_stats);
}

int cgroup_freeze(const struct cgroup *cgroup, bool frozen, struct err *err)
{
	return cgroup->ops->freeze(cgroup, frozen, err);
}

int cgroup_kill(const struct cgroup *cgroup, int deadline_ms, struct err *err)
{
	uint64_t end = clock_monotonic_ns() + (uint64_t)deadline_ms * NS_PER_MS;
	for (;;) {
		size_t members = 0;
		int r = cgroup->ops->kill_round(cgroup, &members, err);
		if (r < 0 || members == 0)
			return r;
		uint64_t now = clock_monotonic_ns();
		if (now >= end)
			return err_set(err, ERR_TIMEOUT,
				"%zu processes in cgroup %s did not die in %d ms", members,
				cgroup->dirs[0].path, deadline_ms);
		cgroup->ops->wait_change(cgroup->dirs[0].fd, (int)((end - now) / NS_PER_MS) + 1);
	}
}

/* ---- removing ---- */

static int remove_below(int dirfd, int depth);

static int remove_one(int parent, const char *name, int depth)
{
	if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	if (errno != EBUSY && errno != ENOTEMPTY)
		return -errno;
	/* Busy with members, or with groups that the container made below its own. */
	AUTO_CLOSE int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	int r = remove_below(fd, depth + 1);
	if (r < 0)
		return r;
	return unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT ? 0 : -errno;
}

static int remove_below(int dirfd, int depth)
{
	if (depth > CGROUP_DEPTH_MAX)
		return -ELOOP;
	DIR *dir = fdopendir(fcntl(dirfd, F_DUPFD_CLOEXEC, 0));
	if (dir == NULL)
		return -errno;
	int result = 0;
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		int r = remove_one(dirfd, entry->d_name, depth);
		if (r < 0)
			result = r;
	}
	(void)closedir(dir);
	return result;
}

static int remove_until(const struct cgroup *cgroup, const struct cgroup_dir *dir, uint64_t end,
	struct err *err)
{
	for (;;) {
		int r = remove_one(AT_FDCWD, dir->path, 0);
		if (r == 0)
			return 0;
		uint64_t now = clock_monotonic_ns();
		if (r != -EBUSY || now >= end)
			return err_sys(err, -r, "remove cgroup %s", dir->path);
		AUTO_CLOSE int fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0)
			cgroup->ops->wait_change(fd, (int)((end - now) / NS_PER_MS) + 1);
	}
}

int cgroup_remove_on(struct cgroup_host *take_host, const char *path, int deadline_ms,
	struct err *err)
{
	AUTO(cgroup) cgroup = NULL;
	int r = cgroup_new(take_host, path, &cgroup, err);
	if (r != 0 || cgroup == NULL)
		return r;
	uint64_t end = clock_monotonic_ns() + (uint64_t)deadline_ms * NS_PER_MS;
	int result = 0;
	/* All are tried: one that stays must not keep the others. */
	for (size_t i = 0; i < cgroup->dirs_len; i++) {
		r = remove_until(cgroup, &cgroup->dirs[i], end, err);
		if (r < 0)
			result = r;
	}
	return result;
}

int cgroup_remove(const char *path, int deadline_ms, struct err *err)
{
	AUTO_DONE(cgroup_host) host = { 0 };
	int r = cgroup_host_read(&host, err);
	return r < 0 ? r : cgroup_remove_on(&host, path, deadline_ms, err);
}

pid_t cgroup_fork(const struct cgroup *cgroup, int *ret_pidfd, struct err *err)
{
	const struct container_clone clone = { .pid_namespace = -1, .cgroup = cgroup };
	return container_clone(&clone, ret_pidfd, err);
}
