/* mount_tree - the mounts of a container's root, by descriptors only (THREATS rule 1). */
#pragma once

#include "base/cleanup.h"
#include "base/err.h"

struct cgroup;
struct container_spec;
struct spec_mount;

struct mount_tree {
	const struct container_spec *spec;
	const struct cgroup *cgroup; /* NULL: no view of it is mounted */
	const int *ready_mounts;     /* by index of spec->mounts; NULL: none */
	int root_fd;                 /* owned; the root's mount, attached */
	int proc_fd;                 /* owned; the procfs at /proc, or -1 */
	int dev_fd;                  /* owned; the directory /dev, or -1 */
};

void mount_tree_done(struct mount_tree *tree);

/* A detached clone of a bind mount's source as the calling process sees it. */
MUST_CHECK int mount_source_open(const struct spec_mount *mount, int *ret_fd, struct err *err);
/* All of spec->mounts, in order. */
MUST_CHECK int mount_tree_fill(struct mount_tree *tree, struct err *err);
/* Nodes and links of /dev. */
MUST_CHECK int mount_tree_add_devices(struct mount_tree *tree, struct err *err);
/* Masked and read-only paths. */
MUST_CHECK int mount_tree_guard(struct mount_tree *tree, struct err *err);

/* Attaches a detached mount onto what target_fd refers to. */
MUST_CHECK int mount_attach(int mount_fd, int target_fd, const char *what, struct err *err);
