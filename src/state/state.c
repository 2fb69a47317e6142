/* One SQLite file, opened by each process for itself.  What makes that cheap and safe stands in
 * state_db.c, the schema in migrations/, the records in state_image.c, state_layer.c,
 * state_reference.c and state_workload.c. */
#include "state/state.h"

#include "state/state_db.h"
#include "state/state_schema.h"

int state_open(const char *dir, struct state **ret_state, struct err *err)
{
	AUTO_FREE char *path = text_format("%s/moat.db", dir);
	AUTO(state) state = NULL;
	int r = state_db_open(path, &state, err);
	if (r >= 0)
		r = state_schema_update(state, err);
	if (r < 0)
		return r;
	*ret_state = TAKE(state);
	return 0;
}
