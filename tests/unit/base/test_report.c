#include "test.h"

#include "base/fd.h"
#include "base/report.h"

struct pipe {
	int in, out;
};

static struct pipe pipe_open(void)
{
	int fds[2];
	assert_return_code(pipe2(fds, O_CLOEXEC), errno);
	return (struct pipe){ fds[0], fds[1] };
}

static void ready_then_silence_is_started(void **state)
{
	(void)state;
	struct pipe p = pipe_open();
	struct err err = { 0 };
	report_ready(p.out);
	assert_int_equal(report_wait(p.in, REPORT_IS_READY, 1000, "the box", &err), 0);
	assert_error(report_wait(p.in, REPORT_IS_STARTED, 1, "the box", &err), ERR_TIMEOUT,
		"the box did not start within 1 ms");
	(void)close(p.out);
	assert_int_equal(report_wait(p.in, REPORT_IS_STARTED, -1, "the box", &err), 0);
	(void)close(p.in);
}

static void a_failure_is_the_waiters_own(void **state)
{
	(void)state;
	struct pipe p = pipe_open();
	struct err err = { 0 }, why = { 0 };
	(void)err_set(&why, ERR_NO_COMMAND, "no such command: x");
	report_ready(p.out);
	report_failure(p.out, &why);
	(void)close(p.out);
	assert_error(report_wait(p.in, REPORT_IS_STARTED, -1, "the box", &err), ERR_NO_COMMAND,
		"no such command: x");
	(void)close(p.in);
}

static void an_end_before_ready_is_a_failure(void **state)
{
	(void)state;
	struct pipe p = pipe_open();
	struct err err = { 0 };
	(void)close(p.out);
	assert_error(report_wait(p.in, REPORT_IS_READY, -1, "the box", &err), ERR_SYSTEM,
		"the box's process ended");
	(void)close(p.in);
}

static void bytes_that_are_no_report_are_refused(void **state)
{
	(void)state;
	struct pipe p = pipe_open();
	struct err err = { 0 }, why = { .kind = ERR_KIND_COUNT, .code = -1 };
	for (size_t i = 0; i < sizeof(why.message); i++)
		why.message[i] = 'x';
	report_failure(p.out, &why);
	assert_error(report_wait(p.in, REPORT_IS_READY, -1, "the box", &err), ERR_SYSTEM,
		"no valid report");
	(void)close(p.in);
	(void)close(p.out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ready_then_silence_is_started),
		cmocka_unit_test(a_failure_is_the_waiters_own),
		cmocka_unit_test(an_end_before_ready_is_a_failure),
		cmocka_unit_test(bytes_that_are_no_report_are_refused),
	};
	return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
