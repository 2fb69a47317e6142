/* step - see step.h. */
#include "base/step.h"

#include <stdint.h>

#include "base/clock.h"
#include "base/log.h"

int step_run(const char *what, const struct step *steps, size_t len, void *context, struct err *err)
{
	for (size_t i = 0; i < len; i++) {
		uint64_t start = clock_monotonic_ns();
		int r = steps[i].apply(context, err);
		log_trace_step(what, steps[i].name, (long)((clock_monotonic_ns() - start) / 1000));
		if (r < 0) {
			step_undo_all(steps, i, context);
			return r;
		}
	}
	return 0;
}

void step_undo_all(const struct step *steps, size_t len, void *context)
{
	for (size_t i = len; i-- > 0;) {
		if (steps[i].undo != NULL)
			steps[i].undo(context);
	}
}
