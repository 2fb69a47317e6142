/* A reference is a full name with a tag, and stands at one image at a time. */
#include "state/state_reference.h"
#include "state/state_db.h"

int state_reference_put(struct state *state, const char *reference, const struct digest *image_id,
	struct err *err)
{
	struct err reason = { 0 };
	int r = state_db_run(state,
		&(struct state_db_query){
			.sql = "INSERT INTO reference (name, image) VALUES (?1, ?2)"
			       " ON CONFLICT DO UPDATE SET image = excluded.image",
			DB_VALUES(DB_TEXT(reference), DB_DIGEST(image_id)),
		},
		&reason);
	if (r >= 0)
		return 0;
	if (reason.kind == ERR_NOT_FOUND)
		return err_set(err, ERR_NOT_FOUND, "no such image: sha256:%s", image_id->hex);
	return err_copy(err, &reason);
}

int state_reference_set(struct state *state, const char *reference, const struct digest *image_id,
	struct err *err)
{
	int r = state_db_begin(state, STATE_DB_FULL, err);
	if (r < 0)
		return r;
	return state_db_end(state, state_reference_put(state, reference, image_id, err), err);
}

static int reference_delete(struct state *state, const char *reference, struct err *err)
{
	int r = state_db_run(state,
		&(struct state_db_query){
			.sql = "DELETE FROM reference WHERE name = ?1",
			DB_VALUES(DB_TEXT(reference)),
		},
		err);
	if (r == 0)
		return err_set(err, ERR_NOT_FOUND, "no such image: %s", reference);
	return r < 0 ? r : 0;
}

int state_reference_remove(struct state *state, const char *reference, struct err *err)
{
	int r = state_db_begin(state, STATE_DB_FULL, err);
	if (r < 0)
		return r;
	return state_db_end(state, reference_delete(state, reference, err), err);
}

static int add_name(void *context, sqlite3_stmt *row, struct err *err)
{
	(void)err;
	strv_take(context, state_db_string(row, 0));
	return 0;
}

int state_references(struct state *state, const struct digest *image_id, struct strv *references,
	struct err *err)
{
	int r = state_db_run(state,
		&(struct state_db_query){
			.sql = "SELECT name FROM reference WHERE image = ?1 ORDER BY name",
			DB_VALUES(DB_DIGEST(image_id)),
			.row = add_name,
			.context = references,
		},
		err);
	return r < 0 ? r : 0;
}
