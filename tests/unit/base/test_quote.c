#include "test.h"

#include "base/quote.h"

static void control_bytes_and_bad_utf8_are_escaped(void **state)
{
	(void)state;
	static const struct {
		const char *outside, *quoted;
	} rows[] = { { "plain \\ \"text\" \xc3\xa4 \xe2\x82\xac \xf0\x9f\x90\xb3",
			     "plain \\ \"text\" \xc3\xa4 \xe2\x82\xac \xf0\x9f\x90\xb3" },
		{ "a\nb\tc\r", "a\\nb\\tc\\x0d" }, { "\x1b[31m", "\\x1b[31m" }, { "\x7f", "\\x7f" },
		{ "\xc2\x9b", "\\xc2\\x9b" },          /* C1 */
		{ "\xe2\x80\xae", "\\xe2\\x80\\xae" }, /* U+202E */
		{ "\xe2\x80\xaa", "\\xe2\\x80\\xaa" }, /* U+202A */
		{ "\xe2\x81\xa6\xe2\x81\xa9", "\\xe2\\x81\\xa6\\xe2\\x81\\xa9" },
		{ "\xff\xc3", "\\xff\\xc3" }, { "\xc0\xaf", "\\xc0\\xaf" }, /* overlong */
		{ "\xe0\x80\xaf", "\\xe0\\x80\\xaf" }, { "\xed\xa0\x80", "\\xed\\xa0\\x80" },
		{ "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80" }, { "\xe2\x82", "\\xe2\\x82" },
		{ "\xe2\x82z", "\\xe2\\x82z" } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_FREE char *quoted = quote_string(rows[i].outside);
		assert_string_equal(quoted, rows[i].quoted);
	}
}

static void zero_bytes_are_escaped(void **state)
{
	(void)state;
	AUTO_DONE(text) out = { 0 };
	quote_add(&out, (struct view){ "a\0b", 3 });
	assert_string_equal(out.data, "a\\x00b");
	quote_add(&out, (struct view){ 0 });
	assert_string_equal(out.data, "a\\x00b");
}

static void flattening_keeps_the_length(void **state)
{
	(void)state;
	char line[] = "a\nb\xe2\x80\xae\xc3\xa4\xff";
	quote_flatten(line);
	assert_string_equal(line, "a?b???\xc3\xa4?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(control_bytes_and_bad_utf8_are_escaped),
		cmocka_unit_test(zero_bytes_are_escaped),
		cmocka_unit_test(flattening_keeps_the_length),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
