/* state_schema - forward only, once, and never behind the back of a newer moat. */
#include "fixture.h"

#include <sqlite3.h>
#include <sys/stat.h>

#include "state/state_schema.h"

static void script(struct fixture *f, const char *sql)
{
	AUTO_FREE char *path = text_format("%s/moat.db", f->dir);
	sqlite3 *db = NULL;
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void reopen(struct fixture *f, int expected)
{
	state_free(f->state);
	f->state = NULL;
	assert_int_equal(state_open(f->dir, &f->state, &f->err), expected);
}

static void the_newest_schema_is_the_number_of_migrations(void **context)
{
	(void)context;
	int rows = 0;
#define MIGRATION(version, sql) assert_int_equal(version, ++rows);
#include "state/migrations.def"
#undef MIGRATION
	assert_int_equal(state_schema_newest(), rows);
}

static void an_empty_database_is_brought_forward(void **context)
{
	struct fixture *f = *context;
	state_free(f->state);
	f->state = NULL;
	fixture_unlink(f, "moat.db-wal");
	fixture_unlink(f, "moat.db-shm");
	fixture_unlink(f, "moat.db");
	script(f, "PRAGMA user_version = 0"); /* a file that SQLite made, rollback journal */
	reopen(f, 0);
	(void)image_put(f, 'a', LAYERS(1), "r/a:1");
	reopen(f, 0);
	struct state_image image = { 0 };
	assert_int_equal(state_image_by_reference(f->state, "r/a:1", &image, &f->err), 0);
	state_image_done(&image);
}

static void a_newer_schema_is_refused_with_both_numbers(void **context)
{
	struct fixture *f = *context;
	script(f, "PRAGMA user_version = 941");
	reopen(f, -EOPNOTSUPP);
	assert_int_equal(f->err.kind, ERR_UNSUPPORTED);
	AUTO_FREE char *known = text_format("up to %d", state_schema_newest());
	assert_non_null(strstr(f->err.message, "schema 941"));
	assert_non_null(strstr(f->err.message, known));
	assert_null(f->state);
}

static void a_failed_migration_leaves_nothing_behind(void **context)
{
	struct fixture *f = *context;
	/* The schema is there but its number is not: creating it again must fail as a whole. */
	script(f, "PRAGMA user_version = 0; DROP TABLE image_layer");
	reopen(f, -EIO);
	script(f, "CREATE TABLE image_layer (probe)"); /* fails if the migration had made it */
	assert_null(f->state);
}

static void the_database_is_for_its_owner_only(void **context)
{
	struct fixture *f = *context;
	(void)image_put(f, 'a', LAYERS(1), NULL);
	static const char *const names[] = { "moat.db", "moat.db-wal", "moat.db-shm" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		AUTO_FREE char *path = text_format("%s/%s", f->dir, names[i]);
		struct stat status;
		assert_int_equal(stat(path, &status), 0);
		assert_int_equal(status.st_mode & 0777, 0600);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_newest_schema_is_the_number_of_migrations),
		STATE_TEST(an_empty_database_is_brought_forward),
		STATE_TEST(a_newer_schema_is_refused_with_both_numbers),
		STATE_TEST(a_failed_migration_leaves_nothing_behind),
		STATE_TEST(the_database_is_for_its_owner_only),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
