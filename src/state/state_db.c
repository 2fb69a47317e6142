/* Many short-lived processes open the database at once, so opening and the first statement must
 * cost little, and no statement may fail only because another process is writing:
 *
 * - Every wait is SQLite's busy handler with one deadline.  A few refusals bypass that handler (a
 *   recovery of the log by another process, a log that was reset at that moment); they come before
 *   the first row, and the statement is simply run again until the same deadline.
 * - Whoever writes says so at the start (BEGIN IMMEDIATE): a reader that turns writer could find
 *   its snapshot outdated, and waiting would not help it.
 * - Closing does not checkpoint.  The write that fills the log to CHECKPOINT_PAGES does, and begins
 *   the log anew; the number is low since the first process to open the database reads the whole
 *   log (README.md has the figures).
 * - The log has its blocks from the start: removing a workload from a full disk is a write, too.
 * - synchronous is set before a transaction, and only when it differs from what is set.
 *
 * Statements stay prepared in a small table keyed by the address of their SQL. */
#include "state/state_db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"

enum {
	STATEMENTS_MAX = 32,
	CHECKPOINT_PAGES = 64,
	/* Twice that, with their headers: the write that reaches it needs room for its own pages.
	 */
	RESERVED_BYTES = 2 * CHECKPOINT_PAGES * (4096 + 24),
	RETRY_PAUSE_US = 500,
	PAUSE_MIN_US = 50,
	PAUSE_MAX_US = 20000,
};

struct statement {
	const char *sql;    /* borrowed, a literal */
	sqlite3_stmt *stmt; /* owned */
};

struct state {
	sqlite3 *db;   /* owned */
	char *path;    /* owned */
	int sync;      /* what PRAGMA synchronous was set to; 0: not set yet */
	int log_pages; /* after the last commit */
	struct statement statements[STATEMENTS_MAX];
	size_t statements_len;
	uint64_t wait_began_ns; /* for the lock that is waited for */
};

/* What a refusal of SQLite means to the caller, by its extended or primary code. */
static const struct meaning {
	int code;
	enum err_kind kind;
	const char *advice;
} meanings[] = {
	{ SQLITE_BUSY, ERR_TIMEOUT, "another process holds it too long" },
	{ SQLITE_CONSTRAINT_FOREIGNKEY, ERR_NOT_FOUND, "a row it needs is not there" },
	{ SQLITE_CONSTRAINT_PRIMARYKEY, ERR_CONFLICT, "such a row is there" },
	{ SQLITE_CONSTRAINT_UNIQUE, ERR_CONFLICT, "such a row is there" },
	{ SQLITE_CORRUPT, ERR_DAMAGED, "the file is damaged: restore it from a copy" },
	{ SQLITE_FULL, ERR_NO_SPACE, "the disk is full" },
	{ SQLITE_NOTADB, ERR_DAMAGED,
		"the file is damaged or no database: restore it from a copy" },
	{ SQLITE_PERM, ERR_DENIED, "permission denied" },
	{ SQLITE_PROTOCOL, ERR_TIMEOUT, "other processes hold it too long" },
	{ SQLITE_READONLY, ERR_DENIED, "it can only be read" },
	{ SQLITE_TOOBIG, ERR_LIMIT, "a value is too large" },
};

static int db_fail(const struct state *state, int code, const char *what, struct err *err)
{
	/* The kernel's reason says more than SQLite's, where there is one. */
	int errnum = sqlite3_system_errno(state->db);
	int primary = code & 0xff;
	if ((primary == SQLITE_CANTOPEN || primary == SQLITE_IOERR) && errnum != 0)
		return err_sys(err, errnum, "database %s: %s", state->path, what);
	for (size_t i = 0; i < ARRAY_LEN(meanings); i++)
		if (meanings[i].code == code || meanings[i].code == primary)
			return err_set(err, meanings[i].kind, "database %s: %s: %s (%s)",
				state->path, what, meanings[i].advice, sqlite3_errstr(code));
	return err_set(err, ERR_SYSTEM, "database %s: %s: %s", state->path, what,
		sqlite3_errmsg(state->db));
}

/* These go away when the other process has finished, and the busy handler is not asked for all of
 * them. */
static bool is_passing(int code)
{
	return (code & 0xff) == SQLITE_BUSY || code == SQLITE_PROTOCOL;
}

static uint64_t deadline_ns(void)
{
	return clock_monotonic_ns() + STATE_DB_WAIT_MS * UINT64_C(1000000);
}

static void pause_us(long us)
{
	struct timespec time = { .tv_nsec = us * 1000 };
	(void)nanosleep(&time, NULL);
}

/* SQLite asks this before it gives up on a lock.  Its own handler sleeps up to 100 ms at a time,
 * a transaction here lasts 0.1 ms (NORMAL) or 3 ms (FULL).  The pause grows with the wait: a
 * hundred that look every millisecond would keep a slow processor from the one that has the lock.
 */
static int wait_for_others(void *context, int count)
{
	struct state *state = context;
	uint64_t now = clock_monotonic_ns();
	if (count == 0)
		state->wait_began_ns = now;
	uint64_t waited_us = (now - state->wait_began_ns) / 1000;
	if (waited_us >= STATE_DB_WAIT_MS * UINT64_C(1000))
		return 0;
	uint64_t pause = waited_us / 8;
	pause_us(pause < PAUSE_MIN_US   ? PAUSE_MIN_US
		 : pause > PAUSE_MAX_US ? PAUSE_MAX_US
					: (long)pause);
	return 1;
}

/* Made here with 0600: SQLite gives its log the same mode.  An existing file is left alone, since
 * closing a second descriptor of it would drop SQLite's locks. */
static int make_file(const char *path, struct err *err)
{
	AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 && errno != EEXIST)
		return err_sys(err, errno, "create the database %s", path);
	return 0;
}

static int note_log_pages(void *context, sqlite3 *db, const char *name, int pages)
{
	struct state *state = context;
	(void)db, (void)name;
	state->log_pages = pages;
	return SQLITE_OK;
}

static int db_connect(struct state *state, struct err *err)
{
	int code = sqlite3_open_v2(state->path, &state->db,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE |
			SQLITE_OPEN_EXRESCODE,
		NULL);
	if (state->db == NULL)
		return err_set(err, ERR_SYSTEM, "database %s: no memory", state->path);
	if (code != SQLITE_OK)
		return db_fail(state, code, "open", err);
	/* None of these touches the file, and none fails with valid arguments. */
	(void)sqlite3_busy_handler(state->db, wait_for_others, state);
	(void)sqlite3_db_config(state->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	(void)sqlite3_db_config(state->db, SQLITE_DBCONFIG_ENABLE_FKEY, 1, NULL);
	(void)sqlite3_db_config(state->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	(void)sqlite3_db_config(state->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	(void)sqlite3_wal_hook(state->db, note_log_pages, state); /* none of SQLite's own */
	return 0;
}

int state_db_open(const char *path, struct state **ret_state, struct err *err)
{
	AUTO(state) state = NEW(state);
	state->path = mem_strdup(path);

	int r = 0;
	/* The usual case, a database that is there, needs no system call to find that out. */
	if (access(path, F_OK) < 0 && errno == ENOENT)
		r = make_file(path, err);
	if (r >= 0)
		r = db_connect(state, err);
	if (r < 0)
		return r;
	*ret_state = TAKE(state);
	return 0;
}

void state_free(struct state *state)
{
	if (state == NULL)
		return;
	for (size_t i = 0; i < state->statements_len; i++)
		(void)sqlite3_finalize(state->statements[i].stmt);
	CHECK(sqlite3_close(state->db) == SQLITE_OK); /* a statement was leaked */
	free(state->path);
	free(state);
}

void state_db_reserve(struct state *state)
{
	AUTO_FREE char *log = text_format("%s-wal", state->path);
	AUTO_CLOSE int fd = open(log, O_RDWR | O_CLOEXEC);
	/* Without the room, or on a file system that cannot promise it, all else works. */
	if (fd >= 0)
		(void)!fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, RESERVED_BYTES);
}

const char *state_db_path(const struct state *state)
{
	return state->path;
}

static int statement_prepare(struct state *state, const char *sql, sqlite3_stmt **ret_stmt,
	struct err *err)
{
	for (size_t i = 0; i < state->statements_len; i++)
		if (state->statements[i].sql == sql) {
			*ret_stmt = state->statements[i].stmt;
			return 0;
		}
	/* A literal missing from a full table is a bug: there are fewer of them in this folder. */
	CHECK(state->statements_len < STATEMENTS_MAX);

	/* Preparing reads the schema, which can meet the locks that running meets. */
	uint64_t deadline = deadline_ns();
	sqlite3_stmt *stmt = NULL;
	int code;
	while (code = sqlite3_prepare_v3(state->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt,
		       NULL),
		is_passing(code) && clock_monotonic_ns() < deadline)
		pause_us(RETRY_PAUSE_US);
	if (code != SQLITE_OK)
		return db_fail(state, code, "prepare a statement", err);
	state->statements[state->statements_len++] = (struct statement){ sql, stmt };
	*ret_stmt = stmt;
	return 0;
}

static int statement_bind(sqlite3_stmt *stmt, const struct state_db_query *query)
{
	CHECK(sqlite3_bind_parameter_count(stmt) == (int)query->values_len);
	for (size_t i = 0; i < query->values_len; i++) {
		const struct state_db_value *value = &query->values[i];
		int at = (int)i + 1;
		int code = value->type == STATE_DB_INT
				   ? sqlite3_bind_int64(stmt, at, value->number)
				   : sqlite3_bind_text(stmt, at, value->text, -1, SQLITE_STATIC);
		if (code != SQLITE_OK)
			return code;
	}
	return SQLITE_OK;
}

/* The first step, where all waiting for others happens. */
static int statement_start(sqlite3_stmt *stmt)
{
	uint64_t deadline = deadline_ns();
	int code;
	while (code = sqlite3_step(stmt), is_passing(code) && clock_monotonic_ns() < deadline) {
		(void)sqlite3_reset(stmt);
		pause_us(RETRY_PAUSE_US);
	}
	return code;
}

static int statement_rows(struct state *state, sqlite3_stmt *stmt,
	const struct state_db_query *query, struct err *err)
{
	int rows = 0;
	int code = statement_start(stmt);
	for (; code == SQLITE_ROW; code = sqlite3_step(stmt)) {
		int r = query->row == NULL ? 0 : query->row(query->context, stmt, err);
		if (r < 0)
			return r;
		rows++;
	}
	if (code != SQLITE_DONE)
		return db_fail(state, code, "run a statement", err);
	return sqlite3_column_count(stmt) > 0 ? rows : sqlite3_changes(state->db);
}

int state_db_run(struct state *state, const struct state_db_query *query, struct err *err)
{
	sqlite3_stmt *stmt = NULL;
	int r = statement_prepare(state, query->sql, &stmt, err);
	if (r < 0)
		return r;
	CHECK(!sqlite3_stmt_busy(stmt));

	int code = statement_bind(stmt, query);
	r = code == SQLITE_OK ? statement_rows(state, stmt, query, err)
			      : db_fail(state, code, "bind a value", err);
	/* Its result is the one of the last step, which was reported. */
	(void)sqlite3_reset(stmt);
	(void)sqlite3_clear_bindings(stmt);
	return r;
}

int state_db_script(struct state *state, const char *sql, struct err *err)
{
	uint64_t deadline = deadline_ns();
	int code;
	while (code = sqlite3_exec(state->db, sql, NULL, NULL, NULL),
		is_passing(code) && clock_monotonic_ns() < deadline)
		pause_us(RETRY_PAUSE_US);
	return code == SQLITE_OK ? 0 : db_fail(state, code, "run a script", err);
}

static int set_sync(struct state *state, enum state_db_sync sync, struct err *err)
{
	if (state->sync == (int)sync)
		return 0;
	int r = state_db_script(state,
		sync == STATE_DB_FULL ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL",
		err);
	if (r >= 0)
		state->sync = (int)sync;
	return r;
}

int state_db_begin(struct state *state, enum state_db_sync sync, struct err *err)
{
	int r = set_sync(state, sync, err);
	if (r < 0)
		return r;
	return state_db_run(state, &(struct state_db_query){ .sql = "BEGIN IMMEDIATE" }, err);
}

int state_db_begin_read(struct state *state, struct err *err)
{
	return state_db_run(state, &(struct state_db_query){ .sql = "BEGIN" }, err);
}

/* SQLite's own checkpoint leaves the next transaction of this or another connection to begin the
 * log anew.  That the log is copied stands in the shared memory only, which ends with its last
 * user: where each process commits once, none would ever do it, and the log would grow for ever. So
 * the one that has copied all of it begins it, by writing what the first page has anyway.  It is
 * only a service: the transaction before it stands, and the next process tries again; so nobody is
 * waited for. */
static void keep_log_short(struct state *state)
{
	int pages, copied;
	if (state->log_pages < CHECKPOINT_PAGES)
		return;
	if (sqlite3_wal_checkpoint_v2(state->db, NULL, SQLITE_CHECKPOINT_PASSIVE, &pages,
		    &copied) == SQLITE_OK &&
		pages == copied) {
		(void)sqlite3_busy_handler(state->db, NULL, NULL);
		(void)sqlite3_exec(state->db, "PRAGMA application_id = 0x6d6f6174", NULL, NULL,
			NULL);
		(void)sqlite3_busy_handler(state->db, wait_for_others, state);
	}
}

int state_db_end(struct state *state, int result, struct err *err)
{
	if (result >= 0) {
		int r = state_db_run(state, &(struct state_db_query){ .sql = "COMMIT" }, err);
		if (r >= 0) {
			keep_log_short(state);
			return result;
		}
		result = r;
	}
	/* A failed commit, and some failures before it, have rolled back on their own. */
	if (!sqlite3_get_autocommit(state->db)) {
		struct err ignored = { 0 };
		int r = state_db_run(state, &(struct state_db_query){ .sql = "ROLLBACK" },
			&ignored);
		(void)r; /* nothing was written; the next BEGIN would say so */
	}
	return result;
}

uint64_t state_db_uint(sqlite3_stmt *row, int column)
{
	return (uint64_t)sqlite3_column_int64(row, column);
}

char *state_db_string(sqlite3_stmt *row, int column)
{
	const unsigned char *text = sqlite3_column_text(row, column);
	return mem_strdup(text == NULL ? "" : (const char *)text);
}

int state_db_digest(sqlite3_stmt *row, int column, struct digest *ret_digest, struct err *err)
{
	const char *hex = (const char *)sqlite3_column_text(row, column);
	*ret_digest = (struct digest){ 0 };
	if (hex == NULL || hex[0] == 0)
		return 0;
	char text[DIGEST_TEXT_LEN + 2];
	(void)snprintf(text, sizeof(text), "sha256:%s", hex);
	struct err ignored = { 0 };
	if (digest_parse(view_of(text), ret_digest, &ignored) < 0)
		return err_set(err, ERR_DAMAGED, "database %s: not a digest: %.80s",
			sqlite3_db_filename(sqlite3_db_handle(row), "main"), hex);
	return 0;
}
