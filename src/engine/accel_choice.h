/* accel_choice - which accelerator runs a machine here.  Whether one is usable is tried out once
 * per boot (cpu/cpu.h says how) and remembered in RUN/accel.NAME: empty, or why not. */
#pragma once

#include "cpu/cpu.h"
#include "engine/handle.h"

/* name: of a row, or "auto" for the first usable one that need not be named.  ERR_UNSUPPORTED says
 * why not, row by row. */
MUST_CHECK int accel_choose(struct engine *engine, const char *name,
	const struct cpu_accel **ret_accel, struct err *err);
/* For info: every row with "Name", "Available", "Boundary", "Automatic" and "Reason". */
json *accel_describe(struct engine *engine);
