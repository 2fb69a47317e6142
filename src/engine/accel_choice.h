/* accel_choice - which accelerator runs a machine here.  Whether one is usable is tried out once
 * per boot (cpu/cpu.h says how) and remembered in RUN/accel.NAME: empty, or why not. */
#pragma once

#include "cpu/cpu.h"
#include "engine/handle.h"

/* name: of a row, or "auto" for the first that this host can run and its owner allows
 * (settings.def). ERR_UNSUPPORTED says why not, row by row. */
MUST_CHECK int accel_choose(struct engine *engine, const char *name,
	const struct cpu_accel **ret_accel, struct err *err);
/* For info: every row with "Name", "Available", "Boundary" and "Reason". */
json *accel_describe(struct engine *engine);

/* RUN/ID/accel: which one a machine was started on.  NULL: none is noted. */
MUST_CHECK int accel_note(const struct cpu_accel *accel, int run_fd, struct err *err);
const struct cpu_accel *accel_noted(int run_fd);
