#include "test.h"

static void an_empty_text_is_an_empty_string(void **state)
{
	(void)state;
	AUTO_DONE(text) text = { 0 };
	assert_string_equal(text_string(&text), "");
	text_clear(&text);
	AUTO_FREE char *taken = text_take(&text);
	assert_string_equal(taken, "");
}

static void a_text_grows_and_ends_in_a_zero(void **state)
{
	(void)state;
	AUTO_DONE(text) text = { 0 };
	for (int i = 0; i < 1000; i++)
		text_printf(&text, "%d,", i);
	assert_int_equal(text.len, 10 * 2 + 90 * 3 + 900 * 4);
	assert_int_equal(strlen(text.data), text.len);
	text_add(&text, "a\0b", 3);
	assert_int_equal(text.data[text.len], '\0');
	assert_true(view_ends(view_of_text(&text), "b"));
	text_clear(&text);
	text_puts(&text, "x");
	assert_string_equal(text.data, "x");
}

static void text_take_leaves_an_empty_text(void **state)
{
	(void)state;
	struct text text = { 0 };
	text_puts(&text, "abc");
	AUTO_FREE char *taken = text_take(&text);
	assert_string_equal(taken, "abc");
	assert_null(text.data);
	AUTO_FREE char *formatted = text_format("%s-%d", "a", 7);
	assert_string_equal(formatted, "a-7");
}

static void views_compare_cut_and_trim(void **state)
{
	(void)state;
	assert_int_equal(view_of(NULL).len, 0);
	assert_true(view_is(view_of(NULL), ""));
	assert_true(view_is(V("abc"), "abc"));
	assert_false(view_is(V("abc"), "ab"));
	assert_false(view_is(V("ab"), "abc"));
	assert_true(view_starts(V("abc"), "ab") && view_starts(V("abc"), ""));
	assert_true(view_ends(V("abc"), "bc") && view_ends(view_of(NULL), ""));
	assert_false(view_ends(V("c"), "bc"));
	assert_true(view_is(view_trim(V(" \t a b\r\n")), "a b"));
	assert_true(view_is(view_trim(V(" \n ")), ""));
	AUTO_FREE char *copy = view_dup(V("xyz"));
	assert_string_equal(copy, "xyz");
	AUTO_FREE char *empty = view_dup((struct view){ 0 });
	assert_string_equal(empty, "");
}

static void view_cut_tells_an_empty_rest_from_none(void **state)
{
	(void)state;
	struct view rest = V("a,,b,");
	assert_true(view_is(view_cut(&rest, ','), "a"));
	assert_true(view_is(view_cut(&rest, ','), ""));
	assert_true(view_is(view_cut(&rest, ','), "b"));
	assert_non_null(rest.data);
	assert_int_equal(rest.len, 0);
	assert_true(view_is(view_cut(&rest, ','), ""));
	assert_null(rest.data);
	assert_true(view_is(view_cut(&rest, ','), ""));
}

static void a_strv_always_ends_in_null(void **state)
{
	(void)state;
	AUTO_DONE(strv) list = { 0 };
	for (size_t i = 0; i < 100; i++) {
		strv_printf(&list, "%zu", i);
		assert_int_equal(list.len, i + 1);
		assert_null(list.items[list.len]);
	}
	strv_extend(&list, &list);
	assert_int_equal(list.len, 200);
	assert_string_equal(list.items[199], "99");
	assert_true(strv_has(&list, "42"));
	assert_false(strv_has(&list, "100"));
}

static void an_environment_is_replaced_by_name(void **state)
{
	(void)state;
	AUTO_DONE(strv) env = { 0 };
	strv_set_env(&env, "A=1");
	strv_set_env(&env, "AB=2");
	strv_set_env(&env, "A=3=4");
	strv_set_env(&env, env.items[1]);
	assert_int_equal(env.len, 2);
	assert_string_equal(strv_env(&env, "A"), "3=4");
	assert_string_equal(strv_env(&env, "AB"), "2");
	assert_null(strv_env(&env, "ABC"));
	assert_null(strv_env(&(struct strv){ 0 }, "A"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_text_is_an_empty_string),
		cmocka_unit_test(a_text_grows_and_ends_in_a_zero),
		cmocka_unit_test(text_take_leaves_an_empty_text),
		cmocka_unit_test(views_compare_cut_and_trim),
		cmocka_unit_test(view_cut_tells_an_empty_rest_from_none),
		cmocka_unit_test(a_strv_always_ends_in_null),
		cmocka_unit_test(an_environment_is_replaced_by_name),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
