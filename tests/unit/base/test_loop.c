#include "test.h"

#include <signal.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "base/loop.h"

struct fixture {
	struct loop *loop;
	struct loop_watch *watches[3];
	int pipes[3][2];
	struct text trace;
};

static int make(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	for (int i = 0; i < 3; i++) {
		if (pipe2(f->pipes[i], O_CLOEXEC) < 0)
			return -1;
	}
	*state = f;
	return loop_new(&f->loop, NULL);
}

static int destroy(void **state)
{
	struct fixture *f = *state;
	loop_free(f->loop);
	for (int i = 0; i < 3; i++) {
		(void)close(f->pipes[i][0]);
		(void)close(f->pipes[i][1]);
	}
	text_done(&f->trace);
	free(f);
	return 0;
}

static void stop(void *context)
{
	struct fixture *f = context;
	text_puts(&f->trace, "stop");
	loop_stop(f->loop, 42);
}

/* Stops once nothing else is to come. */
static void stop_after(struct fixture *f, uint64_t delay_ms)
{
	struct loop_watch *timer;
	assert_int_equal(loop_watch_timer(f->loop, delay_ms, stop, f, &timer, NULL), 0);
}

static void on_readable(void *context, int fd, uint32_t events)
{
	struct fixture *f = context;
	char byte;
	assert_true((events & EPOLLIN) != 0);
	assert_int_equal(read(fd, &byte, 1), 1);
	text_add(&f->trace, &byte, 1);
}

static void readable_descriptors_and_timers_are_told(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(loop_watch_fd(f->loop, f->pipes[0][0], EPOLLIN, on_readable, f,
				 &f->watches[0], NULL),
		0);
	assert_int_equal(write(f->pipes[0][1], "ab", 2), 2);
	stop_after(f, 20);
	uint64_t start = clock_monotonic_ns();
	assert_int_equal(loop_run(f->loop, NULL), 42);
	assert_true(clock_monotonic_ns() - start >= 20000000);
	assert_string_equal(f->trace.data, "abstop");
	/* It can run again; changed to nothing, the descriptor is silent. */
	assert_int_equal(loop_change(f->watches[0], 0, NULL), 0);
	assert_int_equal(write(f->pipes[0][1], "c", 1), 1);
	stop_after(f, 0);
	assert_int_equal(loop_run(f->loop, NULL), 42);
	assert_string_equal(f->trace.data, "abstopstop");
}

/* Whoever comes first removes all, itself too. */
static void remove_all(void *context, int fd, uint32_t events)
{
	struct fixture *f = context;
	(void)fd, (void)events;
	text_puts(&f->trace, "r");
	for (int i = 0; i < 3; i++)
		loop_remove(f->watches[i]);
}

static void a_callback_may_remove_watches_whose_events_wait(void **state)
{
	struct fixture *f = *state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(loop_watch_fd(f->loop, f->pipes[i][0], EPOLLIN, remove_all, f,
					 &f->watches[i], NULL),
			0);
		assert_int_equal(write(f->pipes[i][1], "x", 1), 1);
	}
	stop_after(f, 10);
	assert_int_equal(loop_run(f->loop, NULL), 42);
	assert_string_equal(f->trace.data, "rstop");
}

static void on_signal(void *context, int signal_number)
{
	struct fixture *f = context;
	text_printf(&f->trace, "signal %d ", signal_number);
}

static bool is_blocked(int signal_number)
{
	sigset_t set;
	(void)sigprocmask(SIG_BLOCK, NULL, &set);
	return sigismember(&set, signal_number) == 1;
}

static void signals_arrive_and_are_released(void **state)
{
	struct fixture *f = *state;
	struct err err = { 0 };
	assert_int_equal(loop_watch_signal(f->loop, SIGUSR1, on_signal, f, &f->watches[0], &err),
		0);
	assert_true(is_blocked(SIGUSR1));
	assert_int_equal(raise(SIGUSR1), 0);
	stop_after(f, 10);
	assert_int_equal(loop_run(f->loop, NULL), 42);
	assert_string_equal(f->trace.data, "signal 10 stop");
	loop_remove(f->watches[0]);
	loop_remove(NULL);
	assert_false(is_blocked(SIGUSR1));
	assert_error(loop_watch_signal(f->loop, 99, on_signal, f, &f->watches[0], &err),
		ERR_INVALID, "no signal 99");
}

static void what_cannot_be_watched_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct err err = { 0 };
	assert_error(loop_watch_fd(f->loop, -1, EPOLLIN, on_readable, f, &f->watches[0], &err),
		ERR_SYSTEM, "watch descriptor -1");
	AUTO_CLOSE int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	assert_error(loop_watch_fd(f->loop, file, EPOLLIN, on_readable, f, &f->watches[0], &err),
		ERR_DENIED, "watch descriptor");
	assert_null(f->watches[0]);
	loop_free(NULL);
}

#define IN_LOOP(test) cmocka_unit_test_setup_teardown(test, make, destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_LOOP(readable_descriptors_and_timers_are_told),
		IN_LOOP(a_callback_may_remove_watches_whose_events_wait),
		IN_LOOP(signals_arrive_and_are_released),
		IN_LOOP(what_cannot_be_watched_is_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
