#include "test.h"

#include "base/step.h"

/* Each step writes its letter, each undo the same as a capital. */
static int do_a(void *context, struct err *err)
{
	(void)err;
	text_puts(context, "a");
	return 0;
}

static int do_b(void *context, struct err *err)
{
	(void)err;
	text_puts(context, "b");
	return 0;
}

static int do_fail(void *context, struct err *err)
{
	text_puts(context, "f");
	return err_set(err, ERR_CONFLICT, "step f failed");
}

static void undo_a(void *context)
{
	text_puts(context, "A");
}

static void undo_fail(void *context)
{
	text_puts(context, "F");
}

static const struct step steps[] = { { "a", do_a, undo_a }, { "b", do_b, NULL },
	{ "a again", do_a, undo_a }, { "fail", do_fail, undo_fail } };

static void steps_run_in_order(void **state)
{
	(void)state;
	AUTO_DONE(text) trace = { 0 };
	struct err err = { 0 };
	assert_int_equal(step_run("test", steps, 3, &trace, &err), 0);
	assert_string_equal(trace.data, "aba");
	step_undo_all(steps, 3, &trace);
	assert_string_equal(trace.data, "abaAA");
}

static void a_failed_step_undoes_those_before_it(void **state)
{
	(void)state;
	AUTO_DONE(text) trace = { 0 };
	struct err err = { 0 };
	assert_error(step_run("test", steps, 4, &trace, &err), ERR_CONFLICT, "step f failed");
	assert_string_equal(trace.data, "abafAA");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steps_run_in_order),
		cmocka_unit_test(a_failed_step_undoes_those_before_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
