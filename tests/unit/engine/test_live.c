#include "test.h"

#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "engine/live.h"
#include "wire/monitor_msg.h"

/* One scratch directory serves as both, as the names do not overlap. */
static void put(const struct scratch *scratch, const char *name, const char *text)
{
	assert_int_equal(file_write_at(scratch->fd, name, 0600, view_of(text), NULL), 0);
}

static void what_was_never_started_is_created(void **state)
{
	const struct scratch *scratch = *state;
	struct live live;
	assert_int_equal(live_read(scratch->fd, scratch->fd, &live, NULL), 0);
	assert_int_equal(live.phase, WORKLOAD_CREATED);
	assert_int_equal(live_read(-1, scratch->fd, &live, NULL), 0);
	assert_int_equal(live.phase, WORKLOAD_CREATED);
}

static void an_exit_record_tells_status_and_time(void **state)
{
	const struct scratch *scratch = *state;
	static const struct {
		const char *text;
		int status;
		bool oom;
	} rows[] = { { "0 0 5\n", 0, false }, { "256 0 5\n", 1, false }, { "9 1 5\n", 137, true },
		{ "unknown 0 5\n", WORKLOAD_EXIT_UNKNOWN, false } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct live live;
		put(scratch, MONITOR_EXIT_FILE, rows[i].text);
		assert_int_equal(live_read(scratch->fd, scratch->fd, &live, NULL), 0);
		assert_int_equal(live.phase, WORKLOAD_EXITED);
		assert_int_equal(live.exit_status, rows[i].status);
		assert_int_equal(live.oom_killed, rows[i].oom);
		assert_int_equal(live.finished_ns, 5);
	}
}

static void damaged_records_are_named(void **state)
{
	const struct scratch *scratch = *state;
	static const char *const bad[] = { "", "x", "1", "1 0", "1 0 x", "-1 0 5" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct live live;
		struct err err = { 0 };
		put(scratch, MONITOR_EXIT_FILE, bad[i]);
		assert_error(live_read(scratch->fd, scratch->fd, &live, &err), ERR_DAMAGED, "exit");
	}
}

static void a_living_init_runs_and_a_dead_one_does_not(void **state)
{
	const struct scratch *scratch = *state;
	pid_t pid = fork();
	if (pid == 0) {
		pause();
		_exit(0);
	}
	struct proc_id init;
	struct live live;
	assert_int_equal(proc_identify(pid, &init), 0);
	assert_int_equal(live_write_init(scratch->fd, &init, NULL), 0);
	assert_int_equal(live_read(scratch->fd, scratch->fd, &live, NULL), 0);
	assert_int_equal(live.phase, WORKLOAD_RUNNING);
	assert_int_equal(live.init.pid, pid);
	assert_false(live.monitor_lives);
	struct proc_id parent;
	assert_int_equal(live_monitor(&live, &parent), 0);
	assert_int_equal(parent.pid, getpid());
	assert_int_equal(live_wait_exit(scratch->fd, scratch->fd, 1, &live, NULL), -ETIMEDOUT);

	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(live_monitor(&live, &parent), -ESRCH);
	assert_int_equal(live_read(scratch->fd, scratch->fd, &live, NULL), 0);
	/* Nobody saw its end: that is said, not invented. */
	assert_int_equal(live.phase, WORKLOAD_EXITED);
	assert_int_equal(live.exit_status, WORKLOAD_EXIT_UNKNOWN);
}

static void a_reused_pid_is_not_the_init(void **state)
{
	const struct scratch *scratch = *state;
	struct proc_id init;
	struct live live;
	assert_int_equal(proc_identify(getpid(), &init), 0);
	init.start_ticks++;
	assert_int_equal(live_write_init(scratch->fd, &init, NULL), 0);
	assert_int_equal(live_read(scratch->fd, scratch->fd, &live, NULL), 0);
	assert_false(live.init_lives);
}

static void a_held_lock_is_a_living_monitor(void **state)
{
	const struct scratch *scratch = *state;
	assert_false(live_monitor_lives(scratch->fd));
	put(scratch, MONITOR_LOCK, "");
	assert_false(live_monitor_lives(scratch->fd));
	AUTO_CLOSE int fd = openat(scratch->fd, MONITOR_LOCK, O_RDWR | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_true(live_monitor_lives(scratch->fd));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SCRATCH(what_was_never_started_is_created),
		IN_SCRATCH(an_exit_record_tells_status_and_time),
		IN_SCRATCH(damaged_records_are_named),
		IN_SCRATCH(a_living_init_runs_and_a_dead_one_does_not),
		IN_SCRATCH(a_reused_pid_is_not_the_init),
		IN_SCRATCH(a_held_lock_is_a_living_monitor),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
