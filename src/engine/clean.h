/* clean - the end of a workload: what lived of it, and if it is to be removed, all of it. */
#pragma once

#include "engine/dirs.h"

/* Removes what a workload that has ended holds: cgroup, address, image mount, run directory; with
 * is_gone its record and data directory too.  0 when it runs (again), or is no more.  image_key may
 * be NULL (then its image is looked for). */
MUST_CHECK int clean_ended(struct engine *engine, const char *id, const char *image_key,
	bool is_gone, struct err *err);
/* The same for one whose lock the caller holds; it may be half made.  Consumes dirs. */
MUST_CHECK int clean_locked(struct engine *engine, const char *id, const char *image_key,
	bool is_gone, struct dirs *take_dirs, struct err *err);
