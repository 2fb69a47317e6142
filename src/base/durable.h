/* durable - the only place that makes bytes last (THREATS rule 18): data, fsync, link or rename,
 * fsync of the directory.  A failed fsync is a failed operation. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/text.h"

/* An unnamed file in the file system of dirfd (O_TMPFILE, read and write). */
MUST_CHECK int durable_temp(int dirfd, int *ret_fd, struct err *err);
/* Syncs fd's data and gives it its name in dirfd; an existing name is replaced where replace is
 * set, else kept and reported as 0 (content-addressed files are equal).  Does not sync the
 * directory. */
MUST_CHECK int durable_link(int fd, int dirfd, const char *name, bool replace, struct err *err);
MUST_CHECK int durable_sync_dir(int dirfd, struct err *err);
/* The data of a file that gets its name later, by durable_link(), which then has nothing to wait
 * for: whoever wrote the file syncs it while others still write. */
MUST_CHECK int durable_sync(int fd, struct err *err);
#define DURABLE_STEP ((uint64_t)8 << 20) /* how much to write between two of the next */
/* Starts to bring [offset, offset + len) of fd to the disk and waits for nothing, so that a long
 * file is there soon after its last byte.  Promises nothing: durable_sync() or durable_link() does.
 */
MUST_CHECK int durable_begin(int fd, uint64_t offset, uint64_t len, struct err *err);
/* Whole file: temp, write, sync, link with replace, sync of the directory. */
MUST_CHECK int durable_write(int dirfd, const char *name, mode_t mode, struct view bytes,
	struct err *err);
