/* running - what a command on a running workload finds without the database: opening that costs
 * more than all else that `exec` does.
 *
 * RUN/ID/spec is the specification as the record has it, RUN/ID/name a symbolic link whose text is
 * the name, RUN/names/NAME one whose text is the id.  They are copies and may be missing or stale:
 * whoever finds nothing here asks the database. */
#pragma once

#include "engine/handle.h"

/* Of a workload that is about to start. */
MUST_CHECK int running_publish(const struct engine *engine, const char *id,
	const struct workload_spec *spec, struct err *err);
/* Before the run directory goes. */
void running_withdraw(const struct engine *engine, const char *id);

/* A workload that surely runs, with its monitor, by id, name or the beginning of an id: id, name,
 * spec, phase and pid are filled in.  -ENOENT silently: ask the database. */
MUST_CHECK int running_find(const struct engine *engine, const char *name,
	struct workload *ret_workload);
