/* kernel_modules - which modules a guest needs, and their initramfs. */
#pragma once

#include "engine/extract.h"
#include "vm/vm.h"

/* Where a kernel's files come from: an unpacked package, or a directory. */
struct kernel_source {
	const char *release;     /* borrowed */
	struct member_list list; /* of the tar; empty with a directory */
	int tar_fd;              /* owned; -1 */
	int dir_fd;              /* owned; lib/modules/RELEASE; -1: none */
};

/* Writes lib/moat/... to cpio and the names of the modules, in the order of loading, to
 * ret_names. */
MUST_CHECK int kernel_modules_pack(const struct kernel_source *source, struct vm_cpio *cpio,
	struct strv *ret_names, struct err *err);
