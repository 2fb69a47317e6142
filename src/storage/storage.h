/* storage - root file systems of workloads: image mounts, overlays. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

/* Image mounts.  Each image is mounted once, in a mount namespace of moat's own, pinned at
 * RUN/mnt, whose root is an empty tmpfs: nothing of it is seen in the host's mount table, and no
 * host file system is held by it.  RUN/images/KEY/USER is the mark that USER uses image KEY.
 * When the last mark goes the mount stays for the next user, with the page cache that belongs to
 * it; of such idle mounts LIMIT_IDLE_IMAGE_MOUNTS stay, the last used.  All calls leave the
 * caller's mount namespace, root and directory as they were, and belong in a process of one thread,
 * in the mount namespace of the host: RUN/mnt is not seen in namespaces that were copied from it
 * later. */
struct storage_image {
	int run_fd;         /* borrowed; the run directory */
	const char *key;    /* one path component: the image's id in hex */
	const char *merged; /* absolute path of the merged metadata file; NULL: overlay of layers */
	const char *const *layers; /* absolute paths of layer files, lowest first = device 1 */
	size_t layers_len;
};

/* Marks user and returns a detached clone of the mount (open_tree).  Mounts where needed: merged
 * with its devices file-backed (Linux 6.12), else through loop devices (autoclear).  The mount is
 * read-only and without device nodes. */
MUST_CHECK int storage_image_open(const struct storage_image *image, const char *user,
	int *ret_mount_fd, struct err *err);
/* Removes the mark.  The mount stays; the longest idle ones beyond the bound go.  Idempotent. */
MUST_CHECK int storage_image_release(int run_fd, const char *key, const char *user,
	struct err *err);
/* Unmounts an image that has no users, so that its removed files' blocks are given back; 0 also
 * when it has users, which are left alone, and when it is not mounted. */
MUST_CHECK int storage_image_drop(int run_fd, const char *key, struct err *err);
/* Removes the marks of users that are gone by is_alive and idle mounts beyond the bound; repairs
 * what a kill -9 left behind.  A user must count as alive before it opens its image. */
MUST_CHECK int storage_image_sweep(int run_fd, bool (*is_alive)(void *context, const char *user),
	void *context, struct err *err);

/* Unmounts all images and removes the pinned namespace and all marks: what is open stays usable. */
MUST_CHECK int storage_unpin(int run_fd, struct err *err);

/* A container's root: an overlay of take_lower (a detached mount) and data_dir's "upper" and "work"
 * directories (created where missing).  lower_dir is an empty directory where the lower layer is
 * attached in the calling mount namespace, which must be private to the container, on kernels that
 * do not take a detached one (before 6.15).  is_volatile: no sync at unmount (for --rm).  Returns a
 * detached mount. */
MUST_CHECK int storage_overlay_open(int take_lower, const char *lower_dir, const char *data_dir,
	bool is_volatile, int *ret_mount_fd, struct err *err);

/* A new ext4 file system (owner root, 0600) in a sparse file of that size, a multiple of 4096 from
 * 256 MiB to 16 TiB, which needs a MiB of the disk at most.  The file has its name when it is whole
 * and on the disk, before that none; one that has the name already stays as it is.  Loads
 * libext2fs.so.2: ERR_UNSUPPORTED where it is not installed. */
MUST_CHECK int storage_ext4_make(int dir_fd, const char *name, uint64_t size, struct err *err);
