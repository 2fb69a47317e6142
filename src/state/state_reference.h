/* state_reference - names of images.  Private to state/. */
#pragma once

#include "state/state.h"

/* Within the caller's transaction: the reference stands at image_id from now on. */
MUST_CHECK int state_reference_put(struct state *state, const char *reference,
	const struct digest *image_id, struct err *err);
