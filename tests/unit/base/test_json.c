#include "test.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"

static json *parse(const char *text)
{
	json *value = NULL;
	struct err err = { 0 };
	int r = json_parse(view_of(text), "test", &value, &err);
	if (r < 0)
		print_error("%s: %s\n", text, err.message);
	assert_int_equal(r, 0);
	return value;
}

static void complete_values_are_parsed(void **state)
{
	(void)state;
	static const char *const good[] = { "{}", "[]", " {} \n", "1", "-1.5e3", "\"x\"", "true",
		"null", "{\"a\":[1,{\"b\":null}]}", "18446744073709551615", "\"\\\\\"",
		"\"\\\"{'\"" };
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		AUTO_JSON value = parse(good[i]);
		(void)value;
	}
}

static void everything_else_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = { "", " ", "{", "[1", "{} x", "{}{}", "1 2", "[1,]",
		"{\"a\":1,}", "{'a':1}", "{a:1}", "NaN", "[NaN]", "Infinity", "-Infinity", "True",
		"NULL", "\"a\nb\"", "[1,'']", "tru", "\"x", "\"\xff\"", "/* */ {}", "nulll",
		"\"\\x\"", "-", "[1 2]", "01", "[.5]", "[+1]" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err err = { 0 };
		json *value = NULL;
		if (json_parse(view_of(bad[i]), "f", &value, &err) == 0)
			fail_msg("accepted: %s", bad[i]);
		assert_int_equal(err.kind, ERR_INVALID);
		assert_true(view_starts(view_of(err.message), "f is not JSON: "));
		assert_null(value);
	}
	struct err err = { 0 };
	json *value = NULL;
	assert_error(json_parse(V("{}\0{}"), "f", &value, &err), ERR_INVALID,
		"byte 0x00 at byte 2");
	assert_error(json_parse((struct view){ 0 }, "f", &value, &err), ERR_INVALID,
		"f is not JSON");
}

static void size_and_depth_have_limits(void **state)
{
	(void)state;
	struct err err = { 0 };
	json *value = NULL;
	AUTO_FREE char *big = mem_new(1, LIMIT_JSON_BYTES + 1);
	memset(big, ' ', LIMIT_JSON_BYTES + 1);
	assert_error(json_parse((struct view){ big, LIMIT_JSON_BYTES + 1 }, "f", &value, &err),
		ERR_LIMIT, "4194304");
	big[LIMIT_JSON_BYTES - 1] = '1';
	assert_int_equal(json_parse((struct view){ big, LIMIT_JSON_BYTES }, "f", &value, &err), 0);
	json_object_put(value);
	value = NULL;
	AUTO_DONE(text) deep = { 0 };
	for (int i = 0; i < LIMIT_JSON_DEPTH + 1; i++)
		text_puts(&deep, "[");
	for (int i = 0; i < LIMIT_JSON_DEPTH + 1; i++)
		text_puts(&deep, "]");
	assert_error(json_parse(view_of_text(&deep), "f", &value, &err), ERR_LIMIT, "64 levels");
	struct view inner = { deep.data + 1, deep.len - 2 };
	assert_int_equal(json_parse(inner, "f", &value, &err), 0);
	json_object_put(value);
}

static void getters_never_mind_a_wrong_type(void **state)
{
	(void)state;
	AUTO_JSON o = parse("{\"s\":\"x\",\"z\":\"a\\u0000b\",\"i\":-5,\"u\":18446744073709551615,"
			    "\"b\":true,\"o\":{},\"a\":[\"p\",\"q\"],\"n\":null,\"d\":1.5,"
			    "\"m\":[\"p\",1],\"y\":[\"a\\u0000\"],\"t\":1,\"t\":2}");
	assert_string_equal(json_get_string(o, "s"), "x");
	assert_null(json_get_string(o, "z"));
	assert_null(json_get_string(o, "i"));
	assert_null(json_get_string(o, "n"));
	assert_null(json_get_string(o, "missing"));
	assert_null(json_get_string(NULL, "s"));
	assert_int_equal(json_get_int(o, "i", 9), -5);
	assert_int_equal(json_get_int(o, "u", 9), 9);
	assert_int_equal(json_get_int(o, "s", 9), 9);
	assert_int_equal(json_get_int(o, "d", 9), 9);
	assert_int_equal(json_get_int(o, "t", 9), 2);
	assert_true(json_get_uint(o, "u", 9) == UINT64_MAX);
	assert_int_equal(json_get_uint(o, "i", 9), 9);
	assert_true(json_get_bool(o, "b", false));
	assert_true(json_get_bool(o, "i", true));
	assert_non_null(json_get_object(o, "o"));
	assert_null(json_get_object(o, "a"));
	assert_int_equal(json_array_len(json_get_array(o, "a")), 2);
	assert_int_equal(json_array_len(json_get_array(o, "o")), 0);
	assert_int_equal(json_array_len(o), 0);
	assert_null(json_get(json_get(o, "s"), "x"));

	struct err err = { 0 };
	AUTO_DONE(strv) list = { 0 };
	strv_add(&list, "first");
	assert_int_equal(json_get_strv(o, "a", &list, &err), 0);
	assert_int_equal(list.len, 3);
	assert_string_equal(list.items[2], "q");
	assert_int_equal(json_get_strv(o, "missing", &list, &err), 0);
	assert_error(json_get_strv(o, "m", &list, &err), ERR_INVALID, "item 1 of m");
	assert_error(json_get_strv(o, "y", &list, &err), ERR_INVALID, "item 0 of y");
	assert_int_equal(list.len, 3);
}

static void built_values_print_as_docker_prints(void **state)
{
	(void)state;
	AUTO_JSON o = json_new_object();
	AUTO_DONE(strv) list = { 0 };
	strv_add(&list, "x/y");
	strv_add(&list, "a  b\n");
	json_set_string(o, "s", "v");
	json_set_string(o, "n", NULL);
	json_set_int(o, "i", -1);
	json_set_uint(o, "u", UINT64_MAX);
	json_set_bool(o, "b", false);
	json_set_strv(o, "l", &list);
	json *array = json_new_array();
	json_push(array, json_new_object());
	json_push_string(array, NULL);
	json_set(o, "a", array);
	AUTO_FREE char *plain = json_text(o, false);
	assert_string_equal(plain, "{\"s\":\"v\",\"n\":null,\"i\":-1,\"u\":18446744073709551615,"
				   "\"b\":false,\"l\":[\"x/y\",\"a  b\\n\"],\"a\":[{},null]}");
	json_object_object_del(o, "u");
	json_object_object_del(o, "i");
	AUTO_FREE char *pretty = json_text(o, true);
	assert_string_equal(pretty, "{\n    \"s\": \"v\",\n    \"n\": null,\n    \"b\": false,\n"
				    "    \"l\": [\n        \"x/y\",\n        \"a  b\\n\"\n    ],\n"
				    "    \"a\": [\n        {},\n        null\n    ]\n}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(complete_values_are_parsed),
		cmocka_unit_test(everything_else_is_refused),
		cmocka_unit_test(size_and_depth_have_limits),
		cmocka_unit_test(getters_never_mind_a_wrong_type),
		cmocka_unit_test(built_values_print_as_docker_prints),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
