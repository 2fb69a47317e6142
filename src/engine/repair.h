/* repair - what killed commands, killed monitors and host restarts left, put right. */
#pragma once

#include "engine/handle.h"
#include "engine/live.h"

/* One workload without a monitor: adopts it if it runs; clears away what lives of it if it has
 * ended or was never finished; record is NULL where the database has none.  Leaves alone what a
 * running command has locked.  Updates *live. */
MUST_CHECK int repair_workload(struct engine *engine, const char *id,
	const struct state_workload *record, struct live *live, struct err *err);
