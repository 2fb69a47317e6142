/* guest_root - the workload's root file system: the image's EROFS metadata with its layers as
 * further devices, below an overlay whose upper part is a disk or memory. */
#pragma once

#include "base/cleanup.h"
#include "base/err.h"
#include "guest/guest.h"
#include "guest/guest_order.h"

struct guest_root {
	char *image_dir, *upper_dir; /* owned; where they are mounted; NULL: not */
	char *upper_device;          /* owned; NULL: memory */
	int mount_fd;                /* owned; the overlay, detached; -1: none, or attached */
};

/* In place; what was mounted by a failed call is in ret_root too. */
MUST_CHECK int guest_root_mount(const struct guest_platform *platform,
	const struct guest_order *order, struct guest_root *ret_root, struct err *err);
/* After the workload's last process: what it wrote is on the disk, and the disk is no file
 * system's any more, or err says why. */
MUST_CHECK int guest_root_unmount(struct guest_root *root, struct err *err);
void guest_root_done(struct guest_root *root); /* releases memory, not mounts */
