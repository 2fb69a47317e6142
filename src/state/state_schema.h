/* state_schema - brings a database to the schema this program knows.  Private to state/. */
#pragma once

#include "state/state.h"

/* Nothing but one read when it is there already.  A newer schema is ERR_UNSUPPORTED. */
MUST_CHECK int state_schema_update(struct state *state, struct err *err);
/* The number of the newest schema known here. */
int state_schema_newest(void);
