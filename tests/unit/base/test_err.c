#include "test.h"

static void err_set_fills_kind_code_and_message(void **state)
{
	(void)state;
	struct err err = { 0 };
	assert_int_equal(err_set(&err, ERR_NOT_FOUND, "no image %s", "x"), -ENOENT);
	assert_int_equal(err.kind, ERR_NOT_FOUND);
	assert_int_equal(err.code, -ENOENT);
	assert_string_equal(err.message, "no image x");
}

static void err_may_be_null(void **state)
{
	(void)state;
	assert_int_equal(err_set(NULL, ERR_TIMEOUT, "x"), -ETIMEDOUT);
	assert_int_equal(err_sys(NULL, EIO, "x"), -EIO);
	assert_int_equal(err_wrap(NULL, -EIO, "x"), -EIO);
	struct err from = { .code = -EPERM };
	assert_int_equal(err_copy(NULL, &from), -EPERM);
}

static void err_sys_derives_the_kind_and_appends_the_reason(void **state)
{
	(void)state;
	static const struct {
		int errnum;
		enum err_kind kind;
	} rows[] = { { ENOSPC, ERR_NO_SPACE }, { EDQUOT, ERR_NO_SPACE }, { EACCES, ERR_DENIED },
		{ EPERM, ERR_DENIED }, { EIO, ERR_SYSTEM }, { ENOENT, ERR_SYSTEM } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = { 0 };
		assert_int_equal(err_sys(&err, rows[i].errnum, "open f"), -rows[i].errnum);
		assert_int_equal(err.kind, rows[i].kind);
	}
	struct err err = { 0 };
	assert_int_equal(err_sys(&err, EIO, "open %s", "f"), -EIO);
	assert_string_equal(err.message, "open f: Input/output error");
	assert_int_equal(err_sys(&err, 4000, "open f"), -4000);
	assert_string_equal(err.message, "open f: unknown error");
}

static void err_wrap_puts_context_in_front(void **state)
{
	(void)state;
	struct err err = { 0 };
	int r = err_set(&err, ERR_DENIED, "no");
	assert_int_equal(err_wrap(&err, r, "pull %s", "x"), -EACCES);
	assert_string_equal(err.message, "pull x: no");
	assert_int_equal(err.kind, ERR_DENIED);
}

static void err_wrap_explains_a_bare_code(void **state)
{
	(void)state;
	struct err err = { 0 };
	assert_int_equal(err_wrap(&err, -ENOSPC, "write f"), -ENOSPC);
	assert_string_equal(err.message, "write f: No space left on device");
	assert_int_equal(err.kind, ERR_NO_SPACE);
	assert_int_equal(err.code, -ENOSPC);
}

static void a_message_that_is_too_long_keeps_its_reason(void **state)
{
	(void)state;
	static char name[1000];
	memset(name, 'n', sizeof(name) - 1);
	struct err err = { 0 };
	assert_int_equal(err_sys(&err, EIO, "open %s", name), -EIO);
	assert_true(view_ends(view_of(err.message), "nnn: Input/output error"));
	assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
	for (int i = 0; i < 3; i++)
		assert_int_equal(err_wrap(&err, -EIO, "%s", name), -EIO);
	assert_true(view_ends(view_of(err.message), "nnn: Input/output error"));
	assert_true(strlen(err.message) < sizeof(err.message));
}

static void a_message_stays_one_line_without_escapes(void **state)
{
	(void)state;
	struct err err = { 0 };
	assert_int_equal(err_set(&err, ERR_INVALID, "name %s", "a\nb\x1b[31m\xc2\x9b\xff"),
		-EINVAL);
	assert_string_equal(err.message, "name a?b?[31m???");
}

static void every_kind_has_a_name_and_statuses(void **state)
{
	(void)state;
	assert_int_equal(err_exit_status(ERR_NONE), 0);
	for (enum err_kind kind = ERR_NONE + 1; kind < ERR_KIND_COUNT; kind++) {
		assert_true(view_starts(view_of(err_kind_name(kind)), "ERR_"));
		assert_in_range(err_exit_status(kind), 125, 127);
		assert_in_range(err_http_status(kind), 400, 599);
	}
	assert_string_equal(err_kind_name(ERR_NO_COMMAND), "ERR_NO_COMMAND");
	assert_int_equal(err_exit_status(ERR_NO_COMMAND), 127);
	assert_int_equal(err_http_status(ERR_CONFLICT), 409);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(err_set_fills_kind_code_and_message),
		cmocka_unit_test(err_may_be_null),
		cmocka_unit_test(err_sys_derives_the_kind_and_appends_the_reason),
		cmocka_unit_test(err_wrap_puts_context_in_front),
		cmocka_unit_test(err_wrap_explains_a_bare_code),
		cmocka_unit_test(a_message_that_is_too_long_keeps_its_reason),
		cmocka_unit_test(a_message_stays_one_line_without_escapes),
		cmocka_unit_test(every_kind_has_a_name_and_statuses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
