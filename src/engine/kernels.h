/* kernels - the kernels that virtual machines start with.
 *
 * ROOT/kernels/NAME/  vmlinuz       the kernel, as it came
 *                     vmlinux       what a bzImage decompresses at each start, ready to be started;
 *                                   only if it is there and known
 *                     modules.cpio  its modules as an initramfs (guest_boot.c reads it)
 *                     config.json   name, kind, imported_ns, modules, size_bytes
 * ROOT/kernels/default              a link to the chosen NAME
 * NAME is the kernel's release.  A directory appears complete, by rename; changes hold the lock of
 * ROOT/kernels, and what a killed one left (".new-...") is removed by the next. */
#pragma once

#include "engine/handle.h"

struct kernel {
	char *name;               /* owned, as all here */
	int image_fd, modules_fd; /* for reading */
};
void kernel_done(struct kernel *kernel);
/* name NULL: the default one.  ERR_NOT_FOUND says what to do. */
MUST_CHECK int kernels_open(struct engine *engine, const char *name, struct kernel *ret_kernel,
	struct err *err);
/* The initramfs with moat-guest as /init; made once for each version of that program. */
MUST_CHECK int kernels_open_guest(struct engine *engine, int *ret_fd, struct err *err);

/* The directory, locked for changes and without rubbish. */
MUST_CHECK int kernels_lock(struct engine *engine, int *ret_dir_fd, struct err *err);
/* The kernel at ROOT/kernels/NAME has no default beside it yet: it becomes the one. */
MUST_CHECK int kernels_choose(int dir_fd, const char *name, bool replace, struct err *err);
