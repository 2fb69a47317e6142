/* storage - root file systems of workloads: image mounts, overlays. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/err.h"

/* Image mounts.  Each image is mounted once, in a mount namespace of moat's own, pinned at
 * RUN/mnt, whose root is an empty tmpfs: nothing of it is seen in the host's mount table, and no
 * host file system is held by it.  RUN/images/KEY/USER is the mark that USER uses image KEY; the
 * last mark removed unmounts.  All calls leave the caller's mount namespace and directory as they
 * were. */
struct storage_image {
	int run_fd;         /* borrowed; the run directory */
	const char *key;    /* one path component: the image's id in hex */
	const char *merged; /* absolute path of the merged metadata file; NULL: overlay of layers */
	const char *const *layers; /* absolute paths of layer files, lowest first = device 1 */
	size_t layers_len;
};

/* Marks user and returns a detached clone of the mount (open_tree).  Mounts where needed: merged
 * with its devices file-backed (Linux 6.12), else through loop devices (autoclear). */
MUST_CHECK int storage_image_open(const struct storage_image *image, const char *user,
	int *ret_mount_fd, struct err *err);
/* Removes the mark; unmounts when it was the last.  Idempotent. */
MUST_CHECK int storage_image_release(int run_fd, const char *key, const char *user,
	struct err *err);
/* Keys that are mounted now, and unmounts of keys whose users are all gone by is_alive. */
MUST_CHECK int storage_image_sweep(int run_fd, bool (*is_alive)(void *context, const char *user),
	void *context, struct err *err);

/* A container's root: an overlay of take_lower (a detached mount) and data_fd's "upper" and "work"
 * directories (created where missing).  lower_dir is an empty directory where the lower layer is
 * attached in the calling mount namespace, which must be private to the container.
 * is_volatile: no sync at unmount (for --rm).  Returns a detached mount. */
MUST_CHECK int storage_overlay_open(int take_lower, const char *lower_dir, const char *data_dir,
	bool is_volatile, int *ret_mount_fd, struct err *err);
