/* state_db - many processes at once, killed ones, damaged files. */
#include "fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>

enum { WRITERS = 8, ROUNDS = 25, KILLS = 15 };

/* A child that shares nothing with the test but the directory. */
static pid_t child_start(struct fixture *f, int (*run)(struct fixture *f, int number), int number)
{
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	int status = run(f, number);
	if (status != 0)
		(void)fprintf(stderr, "writer %d: %s\n", number, f->err.message);
	_exit(status);
}

static void child_end(pid_t pid)
{
	int status = -1;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* As many short commands do: open, write, close. */
static int short_writes(struct fixture *f, int number)
{
	for (int i = 0; i < ROUNDS; i++) {
		struct state *state = NULL;
		if (state_open(f->dir, &state, &f->err) < 0)
			return 1;
		struct state_workload workload = {
			.id = text_format("%064x", (unsigned)(number * 1000 + i)),
			.name = text_format("w%d-%d", number, i),
			.spec = mem_strdup("{}"),
		};
		int r = state_workload_put(state, &workload, &f->err);
		if (r >= 0 && i % 2 == 0)
			r = state_workload_remove(state, workload.id, &f->err);
		state_workload_done(&workload);
		state_free(state);
		if (r < 0)
			return 2;
	}
	return 0;
}

static int count(void *context, const struct state_workload *workload, struct err *err)
{
	(void)workload, (void)err;
	++*(int *)context;
	return 0;
}

static void writers_at_once_never_fail(void **context)
{
	struct fixture *f = *context;
	/* They also race for making the file. */
	state_free(f->state);
	f->state = NULL;
	fixture_unlink(f, "moat.db-wal");
	fixture_unlink(f, "moat.db-shm");
	fixture_unlink(f, "moat.db");

	pid_t pids[WRITERS];
	for (int i = 0; i < WRITERS; i++)
		pids[i] = child_start(f, short_writes, i);
	for (int i = 0; i < WRITERS; i++)
		child_end(pids[i]);

	assert_int_equal(state_open(f->dir, &f->state, &f->err), 0);
	int rows = 0;
	assert_int_equal(state_workload_each(f->state, count, &rows, &f->err), 0);
	assert_int_equal(rows, WRITERS * (ROUNDS / 2));
}

/* Images with two layers and two references each, until killed. */
static int endless_writes(struct fixture *f, int number)
{
	struct state *state = NULL;
	if (state_open(f->dir, &state, &f->err) < 0)
		return 1;
	AUTO_DONE(strv) references = { 0 };
	strv_add(&references, "r/one:1");
	strv_add(&references, "r/two:1");
	for (unsigned i = 1;; i++) {
		struct state_layer layers[] = { layer_make(i), layer_make(i + 1) };
		struct state_image image = { .id = digest_make((char)('a' + number % 6), i),
			.layers = layers,
			.layers_len = 2 };
		if (state_image_put(state, &image, &references, &f->err) < 0)
			return 2;
	}
}

static int pragma_is_ok(void *context, int columns, char **values, char **names)
{
	(void)columns, (void)names;
	*(bool *)context = strcmp(values[0], "ok") == 0;
	return 0;
}

static void check_integrity(struct fixture *f)
{
	AUTO_FREE char *path = text_format("%s/moat.db", f->dir);
	sqlite3 *db = NULL;
	bool is_ok = false;
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL), 0);
	assert_int_equal(sqlite3_exec(db, "PRAGMA integrity_check", pragma_is_ok, &is_ok, NULL),
		SQLITE_OK);
	assert_true(is_ok);
	is_ok = true; /* no row: no reference without its image */
	assert_int_equal(sqlite3_exec(db, "PRAGMA foreign_key_check", pragma_is_ok, &is_ok, NULL),
		SQLITE_OK);
	assert_true(is_ok);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static int both_or_none(void *context, const struct state_image *image,
	const struct strv *references, struct err *err)
{
	(void)context, (void)err;
	assert_true(references->len == 0 || references->len == 2);
	assert_int_equal(image->layers_len, 2);
	return 0;
}

static void a_killed_writer_leaves_whole_transactions(void **context)
{
	struct fixture *f = *context;
	for (int i = 0; i < KILLS; i++) {
		pid_t pid = child_start(f, endless_writes, i);
		/* Somewhere in its work, different each time: no state is waited for. */
		(void)usleep((useconds_t)(2000 + 3700 * i));
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		check_integrity(f);
		assert_int_equal(state_image_each(f->state, both_or_none, NULL, &f->err), 0);
	}
}

/* A process that commits once finds its log read from the start, and nothing of what an earlier one
 * had copied of it into the main file. */
static void the_log_stays_short_when_each_process_commits_once(void **context)
{
	struct fixture *f = *context;
	state_free(f->state);
	f->state = NULL;
	AUTO_FREE char *path = text_format("%s/moat.db-wal", f->dir);
	for (int i = 0; i < 200; i++) {
		struct state_workload workload = {
			.id = text_format("%064x", (unsigned)i / 2),
			.name = text_format("w%d", i / 2),
			.spec = mem_strdup("{}"),
		};
		assert_int_equal(state_open(f->dir, &f->state, &f->err), 0);
		int r = i % 2 == 0 ? state_workload_put(f->state, &workload, &f->err)
				   : state_workload_remove(f->state, workload.id, &f->err);
		assert_true(r >= 0);
		state_workload_done(&workload);
		state_free(f->state);
		f->state = NULL;
		struct stat st;
		assert_int_equal(stat(path, &st), 0);
		assert_in_range(st.st_size, 1, 100 * (4096 + 24));
	}
}

static void flip(const char *path, off_t at, size_t len)
{
	AUTO_CLOSE int fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	AUTO_FREE char *bytes = mem_new(len, 1);
	memset(bytes, 0x5a, len);
	assert_int_equal(pwrite(fd, bytes, len, at), len);
}

/* Everything into the main file, none in the log. */
static void settle(struct fixture *f)
{
	state_free(f->state);
	f->state = NULL;
	AUTO_FREE char *path = text_format("%s/moat.db", f->dir);
	sqlite3 *db = NULL;
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL), 0);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void a_damaged_file_is_named(void **context)
{
	struct fixture *f = *context;
	(void)image_put(f, 'a', LAYERS(1), "r/a:1");
	settle(f);
	AUTO_FREE char *path = text_format("%s/moat.db", f->dir);
	flip(path, 0, 16);
	assert_int_equal(state_open(f->dir, &f->state, &f->err), -EBADMSG);
	assert_int_equal(f->err.kind, ERR_DAMAGED);
	assert_non_null(strstr(f->err.message, path));
}

static void a_damaged_page_is_found_when_it_is_read(void **context)
{
	struct fixture *f = *context;
	(void)image_put(f, 'a', LAYERS(1), "r/a:1");
	settle(f);
	AUTO_FREE char *path = text_format("%s/moat.db", f->dir);
	struct stat status;
	assert_int_equal(stat(path, &status), 0);
	flip(path, 4096, (size_t)status.st_size - 4096);
	struct state_image image = { 0 };
	int r = state_open(f->dir, &f->state, &f->err);
	if (r >= 0)
		r = state_image_by_reference(f->state, "r/a:1", &image, &f->err);
	assert_int_equal(r, -EBADMSG);
	assert_int_equal(f->err.kind, ERR_DAMAGED);
	assert_non_null(strstr(f->err.message, path));
}

static void a_missing_directory_is_said(void **context)
{
	struct fixture *f = *context;
	struct state *state = NULL;
	assert_int_equal(state_open("/nonexistent", &state, &f->err), -ENOENT);
	assert_non_null(strstr(f->err.message, "/nonexistent/moat.db"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STATE_TEST(writers_at_once_never_fail),
		STATE_TEST(a_killed_writer_leaves_whole_transactions),
		STATE_TEST(the_log_stays_short_when_each_process_commits_once),
		STATE_TEST(a_damaged_file_is_named),
		STATE_TEST(a_damaged_page_is_found_when_it_is_read),
		STATE_TEST(a_missing_directory_is_said),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
