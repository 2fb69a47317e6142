/* state_db - the connection: statements, transactions, and what SQLite's refusals mean.  Private to
 * state/. */
#pragma once

#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

#include "state/state.h"

/* How long one statement waits for other processes before it gives up: a hundred commands at once
 * on a slow machine wait for each other for more than five seconds. */
#define STATE_DB_WAIT_MS 20000

/* A transaction lasts through a crash of moat (NORMAL) or also through a power cut (FULL). */
enum state_db_sync { STATE_DB_NORMAL = 1, STATE_DB_FULL = 2 }; /* the numbers are SQLite's */

struct state_db_value {
	enum { STATE_DB_NULL, STATE_DB_INT, STATE_DB_TEXT } type;
	int64_t number;
	const char *text; /* borrowed; NULL is bound as NULL */
};
#define DB_INT(n) ((struct state_db_value){ .type = STATE_DB_INT, .number = (int64_t)(n) })
#define DB_TEXT(s) ((struct state_db_value){ .type = STATE_DB_TEXT, .text = (s) })
#define DB_DIGEST(d) DB_TEXT((d)->hex)

/* What one statement is given and where its rows go. */
struct state_db_query {
	/* A literal: its address is the key under which the statement stays prepared. */
	const char *sql;
	const struct state_db_value *values; /* of ?1, ?2, ... */
	size_t values_len;
	/* Called for each row, may be NULL.  Negative stops and becomes the result.  Must run no
	 * statement itself: gather first. */
	int (*row)(void *context, sqlite3_stmt *row, struct err *err);
	void *context;
};
#define DB_VALUES(...)                                            \
	.values = (const struct state_db_value[]){ __VA_ARGS__ }, \
	.values_len =                                             \
		sizeof((struct state_db_value[]){ __VA_ARGS__ }) / sizeof(struct state_db_value)

/* A path of ":memory:" is SQLite's own. */
MUST_CHECK int state_db_open(const char *path, struct state **ret_state, struct err *err);
const char *state_db_path(const struct state *state);

/* The number of rows seen, or of rows changed by a statement that returns none; or a negative
 * errno: a broken constraint is ERR_CONFLICT (UNIQUE, PRIMARY KEY) or ERR_NOT_FOUND (FOREIGN KEY)
 * with a bare message, which the caller replaces. */
MUST_CHECK int state_db_run(struct state *state, const struct state_db_query *query,
	struct err *err);
/* Several statements without values or rows (schema, PRAGMA). */
MUST_CHECK int state_db_script(struct state *state, const char *sql, struct err *err);

/* A transaction that writes; end commits where result >= 0, else rolls back; returns result, or
 * what made the commit fail. */
MUST_CHECK int state_db_begin(struct state *state, enum state_db_sync sync, struct err *err);
MUST_CHECK int state_db_end(struct state *state, int result, struct err *err);
/* One that reads: all its statements see the same database.  Ends with state_db_end. */
MUST_CHECK int state_db_begin_read(struct state *state, struct err *err);

/* Columns of a row. */
uint64_t state_db_uint(sqlite3_stmt *row, int column);
char *state_db_string(sqlite3_stmt *row, int column); /* caller owns; "" for NULL */
/* '' and NULL are no digest; other text that is none is ERR_DAMAGED. */
MUST_CHECK int state_db_digest(sqlite3_stmt *row, int column, struct digest *ret_digest,
	struct err *err);
