/* step - a table of steps with undo.  A step that fails undoes the ones before it, last first; its
 * own undo is not called, so a step cleans up what it did by half. */
#pragma once

#include <stddef.h>

#include "base/cleanup.h"
#include "base/err.h"

struct step {
	const char *name;
	int (*apply)(void *context, struct err *err);
	void (*undo)(void *context); /* NULL: nothing to undo */
};

MUST_CHECK int step_run(const char *what, const struct step *steps, size_t len, void *context,
	struct err *err);
/* Undoes all, last first (for a failure after the table has run). */
void step_undo_all(const struct step *steps, size_t len, void *context);
