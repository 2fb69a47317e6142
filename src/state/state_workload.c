/* Workloads are run-time rows: synchronous NORMAL, so that starting one waits for no disk.  A power
 * cut may forget the newest, which has ended with the machine. */
#include "state/state.h"

#include <string.h>

#include "base/id.h"
#include "base/mem.h"
#include "state/state_db.h"

#define WORKLOAD_COLUMNS "id, name, image, image_id, created_ns, auto_remove, spec"

void state_workload_done(struct state_workload *workload)
{
	free(workload->id);
	free(workload->name);
	free(workload->spec);
	free(workload->image);
	*workload = (struct state_workload){ 0 };
}

/* ---- writing ---- */

static int read_id(void *context, sqlite3_stmt *row, struct err *err)
{
	(void)err;
	char **ret_id = context;
	free(*ret_id);
	*ret_id = state_db_string(row, 0);
	return 0;
}

static int name_refuse(struct state *state, const char *name, struct err *err)
{
	AUTO_FREE char *holder = NULL;
	int r = state_db_run(state,
		&(struct state_db_query){
			.sql = "SELECT id FROM workload WHERE name = ?1",
			DB_VALUES(DB_TEXT(name)),
			.row = read_id,
			.context = &holder,
		},
		err);
	if (r < 0)
		return r;
	return err_set(err, ERR_CONFLICT,
		"the name %s is in use by workload %s: remove or rename that one, or choose "
		"another",
		name, holder);
}

static int workload_insert(struct state *state, const struct state_workload *workload,
	struct err *err)
{
	struct err reason = { 0 };
	int r = state_db_run(state,
		&(struct state_db_query){
			.sql = "INSERT INTO workload (" WORKLOAD_COLUMNS ")"
			       " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"
			       " ON CONFLICT (id) DO UPDATE SET name = excluded.name,"
			       " image = excluded.image, image_id = excluded.image_id,"
			       " created_ns = excluded.created_ns,"
			       " auto_remove = excluded.auto_remove, spec = excluded.spec",
			DB_VALUES(DB_TEXT(workload->id), DB_TEXT(workload->name),
				DB_TEXT(workload->image == NULL ? "" : workload->image),
				DB_TEXT(digest_is_set(&workload->image_id) ? workload->image_id.hex
									   : NULL),
				DB_INT(workload->created_ns), DB_INT(workload->auto_remove),
				DB_TEXT(workload->spec)),
		},
		&reason);
	if (r >= 0)
		return 0;
	/* The one unique column besides the id is the name, the one foreign key the image. */
	if (reason.kind == ERR_CONFLICT)
		return name_refuse(state, workload->name, err);
	if (reason.kind == ERR_NOT_FOUND)
		return err_set(err, ERR_NOT_FOUND, "no such image: sha256:%s",
			workload->image_id.hex);
	return err_copy(err, &reason);
}

int state_workload_put(struct state *state, const struct state_workload *workload, struct err *err)
{
	int r = state_db_begin(state, STATE_DB_NORMAL, err);
	if (r < 0)
		return r;
	return state_db_end(state, workload_insert(state, workload, err), err);
}

static int workload_delete(struct state *state, const char *id, struct err *err)
{
	int r = state_db_run(state,
		&(struct state_db_query){
			.sql = "DELETE FROM workload WHERE id = ?1",
			DB_VALUES(DB_TEXT(id)),
		},
		err);
	if (r == 0)
		return err_set(err, ERR_NOT_FOUND, "no such workload: %s", id);
	return r < 0 ? r : 0;
}

int state_workload_remove(struct state *state, const char *id, struct err *err)
{
	int r = state_db_begin(state, STATE_DB_NORMAL, err);
	if (r < 0)
		return r;
	return state_db_end(state, workload_delete(state, id, err), err);
}

/* ---- reading ---- */

struct workload_list {
	struct state_workload *workloads; /* owned, with what they own */
	size_t len;
};

static void workload_list_done(struct workload_list *list)
{
	for (size_t i = 0; i < list->len; i++)
		state_workload_done(&list->workloads[i]);
	free(list->workloads);
}

static int list_add(void *context, sqlite3_stmt *row, struct err *err)
{
	struct workload_list *list = context;
	struct digest image_id;
	int r = state_db_digest(row, 3, &image_id, err);
	if (r < 0)
		return r;
	list->workloads = mem_grow(list->workloads, list->len + 1, sizeof(*list->workloads));
	list->workloads[list->len++] = (struct state_workload){
		.id = state_db_string(row, 0),
		.name = state_db_string(row, 1),
		.image = state_db_string(row, 2),
		.image_id = image_id,
		.created_ns = sqlite3_column_int64(row, 4),
		.auto_remove = sqlite3_column_int(row, 5) != 0,
		.spec = state_db_string(row, 6),
	};
	return 0;
}

/* How a text can mean a workload, the surest meaning first. */
static const char *const find_queries[] = {
	"SELECT " WORKLOAD_COLUMNS " FROM workload WHERE id = ?1",
	"SELECT " WORKLOAD_COLUMNS " FROM workload WHERE name = ?1",
	/* 'g' follows the last digit: the range of all ids that begin so. */
	"SELECT " WORKLOAD_COLUMNS " FROM workload WHERE id >= ?1 AND id < ?1 || 'g'"
	" AND ?1 <> '' AND ?1 NOT GLOB '*[^0-9a-f]*' LIMIT 2",
};

int state_workload_find(struct state *state, const char *name_or_id,
	struct state_workload *ret_workload, struct err *err)
{
	AUTO_DONE(workload_list) list = { 0 };
	for (size_t i = 0; list.len == 0 && i < ARRAY_LEN(find_queries); i++) {
		int r = state_db_run(state,
			&(struct state_db_query){
				.sql = find_queries[i],
				DB_VALUES(DB_TEXT(name_or_id)),
				.row = list_add,
				.context = &list,
			},
			err);
		if (r < 0)
			return r;
	}
	if (list.len == 0)
		return err_set(err, ERR_NOT_FOUND, "no such workload: %s", name_or_id);
	if (list.len > 1)
		return err_set(err, ERR_CONFLICT,
			"more than one workload has an id that begins with %s: give more digits",
			name_or_id);
	*ret_workload = list.workloads[0];
	list.len = 0;
	return 0;
}

int state_workload_each(struct state *state, state_workload_fn *fn, void *context, struct err *err)
{
	/* Gathered first, so that fn may change the database. */
	AUTO_DONE(workload_list) list = { 0 };
	int r = state_db_run(state,
		&(struct state_db_query){
			.sql = "SELECT " WORKLOAD_COLUMNS " FROM workload"
			       " ORDER BY created_ns DESC, rowid DESC",
			.row = list_add,
			.context = &list,
		},
		err);
	for (size_t i = 0; r >= 0 && i < list.len; i++)
		r = fn(context, &list.workloads[i], err);
	return r < 0 ? r : 0;
}
