#include "test.h"

#include "base/fd.h"
#include "engine/store.h"

#define HEX "915d08c5ceb24c5593a8dc948b2fb6377349119c2f8c1fa47b4514c78004bdd0"

static struct engine *open_engine(const struct scratch *scratch)
{
	AUTO_FREE char *root = text_format("%s/root", scratch->path);
	AUTO_FREE char *run = text_format("%s/run", scratch->path);
	struct engine *engine;
	assert_int_equal(engine_open(root, run, "/nowhere", &engine, NULL), 0);
	return engine;
}

static void put_layer(struct engine *engine)
{
	assert_int_equal(file_write_at(engine->root_fd, "layers/sha256/" HEX, 0600, V("x"), NULL),
		0);
}

static bool has_layer(struct engine *engine)
{
	return faccessat(engine->root_fd, "layers/sha256/" HEX, F_OK, 0) == 0;
}

static void a_killed_commands_files_are_swept(void **state)
{
	AUTO(engine) engine = open_engine(*state);
	struct store_marker marker;
	assert_int_equal(store_begin(engine, &marker, NULL), 0);
	put_layer(engine);
	/* While it lives, its files are safe. */
	assert_int_equal(store_repair(engine, NULL), 0);
	assert_int_equal(store_sweep(engine, NULL), 0);
	assert_true(has_layer(engine));
	/* Killed: the lock goes, the marker stays. */
	assert_int_equal(close(marker.fd), 0);
	assert_int_equal(store_repair(engine, NULL), 0);
	assert_false(has_layer(engine));
	/* The marker went too: nothing is left to repair. */
	put_layer(engine);
	assert_int_equal(store_repair(engine, NULL), 0);
	assert_true(has_layer(engine));
}

static void one_living_command_protects_anothers_rest(void **state)
{
	AUTO(engine) engine = open_engine(*state);
	struct store_marker dead, living;
	assert_int_equal(store_begin(engine, &dead, NULL), 0);
	assert_int_equal(store_begin(engine, &living, NULL), 0);
	put_layer(engine);
	assert_int_equal(close(dead.fd), 0);
	assert_int_equal(store_repair(engine, NULL), 0);
	assert_true(has_layer(engine));
	store_end(engine, &living);
	assert_int_equal(store_repair(engine, NULL), 0);
	assert_false(has_layer(engine));
}

static void the_run_directory_tells_a_new_boot(void **state)
{
	AUTO(engine) first = open_engine(*state);
	assert_true(first->is_new_boot);
	AUTO(engine) second = open_engine(*state);
	assert_false(second->is_new_boot);
}

static void relative_directories_are_refused(void **state)
{
	(void)state;
	struct engine *engine;
	struct err err = { 0 };
	assert_error(engine_open("root", "/tmp", "/nowhere", &engine, &err), ERR_INVALID,
		"absolute");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SCRATCH(a_killed_commands_files_are_swept),
		IN_SCRATCH(one_living_command_protects_anothers_rest),
		IN_SCRATCH(the_run_directory_tells_a_new_boot),
		cmocka_unit_test(relative_directories_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
