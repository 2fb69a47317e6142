#include "test.h"

#include <sys/file.h>
#include <sys/stat.h>

#include "base/id.h"
#include "base/mem.h"
#include "engine/dirs.h"
#include "engine/live.h"
#include "engine/running.h"
#include "wire/monitor_msg.h"

struct world {
	struct scratch *scratch;
	struct engine *engine;
	char id[ID_LEN + 1];
	int lock_fd; /* as a monitor holds it */
};

static int world_make(void **state)
{
	struct world *world = NEW(world);
	void *scratch;
	if (scratch_make(&scratch) < 0)
		return -1;
	world->scratch = scratch;
	AUTO_FREE char *root = text_format("%s/root", world->scratch->path);
	AUTO_FREE char *run = text_format("%s/run", world->scratch->path);
	world->lock_fd = -1;
	id_new(world->id);
	*state = world;
	return engine_open(root, run, "/nowhere", &world->engine, NULL);
}

static int world_remove(void **state)
{
	struct world *world = *state;
	void *scratch = world->scratch;
	if (world->lock_fd >= 0)
		(void)close(world->lock_fd);
	engine_free(world->engine);
	free(world);
	return scratch_remove(&scratch);
}
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, world_make, world_remove)

static void start(struct world *world, const char *name)
{
	struct workload_spec spec = { .image = mem_strdup("busybox"),
		.name = mem_strdup(name),
		.isolation = mem_strdup("container"),
		.user = mem_strdup("nobody") };
	int run_fd = world->engine->run_fd;
	assert_int_equal(mkdirat(run_fd, world->id, 0700), 0);
	assert_int_equal(running_publish(world->engine, world->id, &spec, NULL), 0);
	workload_spec_done(&spec);
	AUTO_CLOSE int dir = openat(run_fd, world->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct proc_id self;
	assert_int_equal(proc_identify(getpid(), &self), 0);
	assert_int_equal(live_write_init(dir, &self, NULL), 0);
	world->lock_fd = openat(dir, MONITOR_LOCK, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(flock(world->lock_fd, LOCK_EX), 0);
}

static void what_runs_is_found_by_id_name_and_beginning(void **state)
{
	struct world *world = *state;
	start(world, "web.1");
	char prefix[ID_SHORT_LEN + 1];
	memcpy(prefix, world->id, ID_SHORT_LEN);
	prefix[ID_SHORT_LEN] = 0;
	const char *const names[] = { world->id, "web.1", prefix };
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		AUTO_DONE(workload) found = { 0 };
		assert_int_equal(running_find(world->engine, names[i], &found), 0);
		assert_string_equal(found.id, world->id);
		assert_string_equal(found.name, "web.1");
		assert_string_equal(found.spec.user, "nobody");
		assert_int_equal(found.pid, getpid());
	}
}

static void who_is_not_surely_running_is_left_to_the_database(void **state)
{
	struct world *world = *state;
	struct workload found = { 0 };
	static const char *const names[] = { "", "web", "..", "a/b", "name", "0" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_int_equal(running_find(world->engine, names[i], &found), -ENOENT);
	start(world, "web");
	/* A lost monitor's workload has to be adopted first. */
	assert_int_equal(flock(world->lock_fd, LOCK_UN), 0);
	assert_int_equal(running_find(world->engine, "web", &found), -ENOENT);
	assert_int_equal(flock(world->lock_fd, LOCK_EX), 0);
	assert_int_equal(running_find(world->engine, "web", &found), 0);
	workload_done(&found);
	AUTO_FREE char *init = text_format("%s/" MONITOR_INIT, world->id);
	assert_int_equal(unlinkat(world->engine->run_fd, init, 0), 0);
	assert_int_equal(running_find(world->engine, "web", &found), -ENOENT);
}

static void name_goes_with_the_run_directory_unless_another_took_it(void **state)
{
	struct world *world = *state;
	start(world, "web");
	char first[ID_LEN + 1];
	memcpy(first, world->id, sizeof(first));
	(void)close(world->lock_fd);
	id_new(world->id);
	start(world, "web"); /* the name was free again */
	assert_int_equal(dirs_remove(world->engine, first, false, NULL), 0);
	AUTO_DONE(workload) found = { 0 };
	assert_int_equal(running_find(world->engine, "web", &found), 0);
	assert_string_equal(found.id, world->id);
	assert_int_equal(dirs_remove(world->engine, world->id, false, NULL), 0);
	assert_int_equal(faccessat(world->engine->run_fd, "names/web", F_OK, AT_SYMLINK_NOFOLLOW),
		-1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_WORLD(what_runs_is_found_by_id_name_and_beginning),
		IN_WORLD(who_is_not_surely_running_is_left_to_the_database),
		IN_WORLD(name_goes_with_the_run_directory_unless_another_took_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
