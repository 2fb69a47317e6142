/* The number of a database's schema is SQLite's user_version; migrations.def lists what leads from
 * one number to the next.  All that is missing runs in one transaction: a crash leaves the old
 * schema, and of two processes that come at once the second finds nothing left to do.
 *
 * There is no way back.  A database with a newer schema is refused, since its rows may mean
 * something that this program does not know of. */
#include "state/state_schema.h"

#include <strings.h>

#include "state/state_db.h"

/* The texts: meson makes migrations_sql.c of migrations/. */
#define MIGRATION(version, sql) extern const char sql[];
#include "state/migrations.def"
#undef MIGRATION

static const struct migration {
	int version; /* of the schema after it */
	const char *sql;
} migrations[] = {
#define MIGRATION(version, sql) { version, sql },
#include "state/migrations.def"
#undef MIGRATION
};

int state_schema_newest(void)
{
	return migrations[ARRAY_LEN(migrations) - 1].version;
}

static int read_version(void *context, sqlite3_stmt *row, struct err *err)
{
	(void)err;
	*(int *)context = sqlite3_column_int(row, 0);
	return 0;
}

static int schema_version(struct state *state, int *ret_version, struct err *err)
{
	return state_db_run(state,
		&(struct state_db_query){ .sql = "PRAGMA user_version",
			.row = read_version,
			.context = ret_version },
		err);
}

static int read_mode(void *context, sqlite3_stmt *row, struct err *err)
{
	const struct state *state = context;
	const char *mode = (const char *)sqlite3_column_text(row, 0);
	if (mode != NULL && strcasecmp(mode, "wal") == 0)
		return 0;
	return err_set(err, ERR_UNSUPPORTED,
		"database %s: its file system cannot share memory maps (WAL): move it to a local "
		"disk",
		state_db_path(state));
}

/* The mode is a property of the file: set once, when the file is new. */
static int set_wal(struct state *state, struct err *err)
{
	return state_db_run(state,
		&(struct state_db_query){ .sql = "PRAGMA journal_mode = WAL",
			.row = read_mode,
			.context = state },
		err);
}

static int migrate(struct state *state, struct err *err)
{
	/* Read again: another process may have been faster. */
	int version;
	int r = schema_version(state, &version, err);
	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(migrations); i++)
		if (migrations[i].version > version)
			r = state_db_script(state, migrations[i].sql, err);
	if (r < 0)
		return r;
	if (version >= state_schema_newest())
		return 0;
	/* A PRAGMA takes no bound values. */
	AUTO_FREE char *sql = text_format("PRAGMA user_version = %d", state_schema_newest());
	return state_db_script(state, sql, err);
}

int state_schema_update(struct state *state, struct err *err)
{
	int version;
	int r = schema_version(state, &version, err);
	if (r < 0)
		return r;
	if (version == state_schema_newest())
		return 0;
	if (version > state_schema_newest())
		return err_set(err, ERR_UNSUPPORTED,
			"database %s has schema %d, this moat knows schemas up to %d: "
			"use the moat that wrote it, or a newer one",
			state_db_path(state), version, state_schema_newest());

	r = set_wal(state, err);
	if (r >= 0)
		r = state_db_begin(state, STATE_DB_FULL, err);
	if (r >= 0)
		r = state_db_end(state, migrate(state, err), err);
	if (r < 0)
		return err_wrap(err, r, "bring the schema from %d to %d", version,
			state_schema_newest());
	state_db_reserve(state);
	return 0;
}
