#include "test.h"

#include <signal.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "guest/guest_pump.h"

static void stop(void *context)
{
	loop_stop(context, 0);
}

/* Writes len bytes into a pipe from a process of its own. */
static int writer(size_t len)
{
	int pair[2];
	assert_int_equal(pipe(pair), 0);
	if (fork() == 0) {
		(void)close(pair[0]);
		AUTO_FREE char *bytes = calloc(1, len + 1);
		(void)!fd_write_all(pair[1], bytes, len);
		_exit(0);
	}
	(void)close(pair[1]);
	return pair[0];
}

static void pump_moves_everything_to_a_slow_reader(void **state)
{
	(void)state;
	enum { LEN = 1000000 };
	static struct guest_pump pump;
	AUTO(loop) loop = NULL;
	struct err err = { 0 };
	int pair[2], count[2];
	assert_int_equal(loop_new(&loop, &err), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(pipe(count), 0);
	if (fork() == 0) {
		(void)close(pair[0]);
		char part[5000];
		size_t total = 0;
		for (ssize_t n; (n = read(pair[1], part, sizeof(part))) > 0;)
			total += (size_t)n;
		(void)!write(count[1], &total, sizeof(total));
		_exit(0);
	}
	(void)close(pair[1]);
	assert_int_equal(guest_pump_start(&pump, loop, writer(LEN), pair[0], stop, loop, &err), 0);
	assert_true(guest_pump_is_running(&pump));
	assert_int_equal(loop_run(loop, &err), 0);
	assert_false(guest_pump_is_running(&pump));
	assert_int_equal(pump.moved, LEN);
	size_t total = 0;
	assert_int_equal(fd_read_exact(count[0], &total, sizeof(total)), 0);
	assert_int_equal(total, LEN);
	guest_pump_done(&pump);
}

static void pump_reads_on_when_nobody_takes_it(void **state)
{
	(void)state;
	static struct guest_pump pump;
	AUTO(loop) loop = NULL;
	struct err err = { 0 };
	int pair[2];
	assert_int_equal(loop_new(&loop, &err), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	(void)close(pair[1]);
	assert_int_equal(guest_pump_start(&pump, loop, writer(300000), pair[0], stop, loop, &err),
		0);
	assert_int_equal(loop_run(loop, &err), 0);
	assert_false(guest_pump_is_running(&pump));
}

int main(void)
{
	(void)signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pump_moves_everything_to_a_slow_reader),
		cmocka_unit_test(pump_reads_on_when_nobody_takes_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
