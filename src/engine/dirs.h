/* dirs - the two directories of a workload, and its lock.
 *
 * RUN/ID is a workload's first trace and its last: it is made before anything else and removed
 * after everything else, so what a killed command left is found by listing RUN (repair.c).
 * ROOT/workloads/ ID holds what lasts; a flock on it serialises the operations that change the
 * workload. */
#pragma once

#include "engine/handle.h"

#define DIRS_LOCK_MS 10000 /* a killed or stopped command must not block another for longer */

struct dirs {
	char *data_path, *run_path; /* owned */
	int data_fd, run_fd;        /* owned; data_fd carries the lock */
};

void dirs_done(struct dirs *dirs);
/* Makes both and takes the lock. */
MUST_CHECK int dirs_make(const struct engine *engine, const char *id, struct dirs *ret_dirs,
	struct err *err);
/* Opens both (making the run directory where it is missing) and waits for the lock at most lock_ms;
 * -EWOULDBLOCK silently where lock_ms is 0 and it is held, -ENOENT silently when there is no data
 * directory. */
MUST_CHECK int dirs_lock(const struct engine *engine, const char *id, int lock_ms,
	struct dirs *ret_dirs, struct err *err);
/* Removes the run directory of a workload whose maker was killed before it had a data directory. */
MUST_CHECK int dirs_remove_unmade(const struct engine *engine, const char *id, struct err *err);
/* Whether somebody is between the two and the lock, of any workload. */
MUST_CHECK bool dirs_are_being_made(const struct engine *engine);
/* Removes the run directory; the data directory with it where is_gone. */
MUST_CHECK int dirs_remove(const struct engine *engine, const char *id, bool is_gone,
	struct err *err);
