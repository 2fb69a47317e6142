/* cgroup_driver - what the drivers of the two kernel interfaces share; private to this folder. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"
#include "container/container.h"

/* ---- the host's hierarchies ---- */

struct cgroup_hierarchy {
	char *mount_point; /* owned */
	char *controllers; /* owned; "cpu,cpuacct"; of v2: those of its root, "memory,pids" */
	bool is_v2;
};

#define CGROUP_HIERARCHIES_MAX 32
struct cgroup_host {
	struct cgroup_hierarchy hierarchies[CGROUP_HIERARCHIES_MAX];
	size_t len;
};

/* From the texts of /proc/self/mountinfo and /proc/self/cgroup (proc(5), cgroups(7)): a hierarchy
 * is used when the one names it and the other shows where it is mounted. */
MUST_CHECK int cgroup_host_parse(struct view mountinfo, struct view self_cgroup,
	struct cgroup_host *ret_host, struct err *err);
MUST_CHECK int cgroup_host_read(struct cgroup_host *ret_host, struct err *err);
void cgroup_host_done(struct cgroup_host *host);

/* "memory" in "cpu,memory". */
bool cgroup_controllers_have(const char *controllers, const char *controller);

/* ---- one group ---- */

#define CGROUP_DIRS_MAX 8
struct cgroup_dir {
	const char *controllers; /* owned by cgroup->host */
	const char *mount_point; /* the same */
	char *path;              /* owned; absolute, on the host */
	int fd;                  /* owned; the directory */
	int join_fd;             /* owned; where a process writes itself in */
};

struct cgroup_ops;
struct cgroup {
	const struct cgroup_ops *ops;
	struct cgroup_host host;
	struct cgroup_dir dirs[CGROUP_DIRS_MAX];
	size_t dirs_len;
};

enum cgroup_interface { CGROUP_V1, CGROUP_V2, CGROUP_INTERFACES };

struct cgroup_ops {
	enum cgroup_interface interface;
	const char *join_file;
	const char *oom_events_file;
	/* Fills cgroup->dirs with the hierarchies this driver uses (fds -1). */
	int (*select)(struct cgroup *cgroup, const char *path, struct err *err);
	/* Before the directory is made: hands controllers down to it. */
	int (*prepare)(struct cgroup *cgroup, const char *path, struct err *err);
	int (*set_devices)(const struct cgroup *cgroup, const struct container_spec *spec,
		struct err *err);
	int (*read_stats)(const struct cgroup *cgroup, struct cgroup_stats *ret_stats);
	int (*freeze)(const struct cgroup *cgroup, bool frozen, struct err *err);
	/* Shows the group below the directory at target_fd, with these MOUNT_ATTR_*. */
	int (*mount_view)(const struct cgroup *cgroup, int target_fd, uint64_t attributes,
		struct err *err);
	/* One round of SIGKILL to every member; *ret_members: how many were there. */
	int (*kill_round)(const struct cgroup *cgroup, size_t *ret_members, struct err *err);
	/* Until something may have changed, at most timeout_ms. */
	void (*wait_change)(int dirfd, int timeout_ms);
};

extern const struct cgroup_ops cgroup_v1_ops, cgroup_v2_ops;

/* The driver for a host, or NULL when it has no hierarchy at all. */
const struct cgroup_ops *cgroup_host_driver(const struct cgroup_host *host);

/* The same as the public functions, on a given host; takes what host holds. */
MUST_CHECK int cgroup_create_on(struct cgroup_host *take_host, const char *path,
	const struct cgroup_limits *limits, const struct container_spec *spec,
	struct cgroup **ret_cgroup, struct err *err);
MUST_CHECK int cgroup_open_on(struct cgroup_host *take_host, const char *path,
	struct cgroup **ret_cgroup, struct err *err);
MUST_CHECK int cgroup_remove_on(struct cgroup_host *take_host, const char *path, int deadline_ms,
	struct err *err);

/* A detached mount of one hierarchy with the group as its root; in a cgroup namespace whose root
 * the group is, this is what mount(2) of the file system would give, at a fraction of the cost. */
MUST_CHECK int cgroup_view_open(const struct cgroup_dir *dir, uint64_t attributes, int *ret_fd,
	struct err *err);
/* The directory whose hierarchy has this controller, or NULL. */
const struct cgroup_dir *cgroup_dir_find(const struct cgroup *cgroup, const char *controller);
/* A number from a file, or from the line "KEY NUMBER" of it; 0 where there is none ("max", too). */
uint64_t cgroup_read_number(int dirfd, const char *file);
uint64_t cgroup_read_key(int dirfd, const char *file, const char *key);
/* Writes the limits' files by cgroup_limits.def. */
MUST_CHECK int cgroup_limits_apply(const struct cgroup *cgroup, const struct cgroup_limits *limits,
	struct err *err);
/* v2 has no file for devices but a BPF program: compiled from the rules and attached. */
MUST_CHECK int cgroup_device_attach(int cgroup_fd, const struct container_spec *spec,
	struct err *err);
