#include "layer/tar_pax.h"

#include "test.h"

/* Adds "LENGTH KEY=VALUE\n". */
static void record(struct text *text, const char *key, const char *value, size_t len)
{
	size_t body = strlen(key) + len + 3, total = body + 1;
	while (total != body + (size_t)snprintf(NULL, 0, "%zu", total))
		total++;
	text_printf(text, "%zu %s=", total, key);
	text_add(text, value, len);
	text_puts(text, "\n");
}

static int parse(struct tar_pax *pax, struct text *text)
{
	return tar_pax_parse(pax, text->data, text->len, NULL);
}

static void known_keys_are_taken(void **state)
{
	(void)state;
	AUTO_DONE(text) text = { 0 };
	struct tar_pax pax = { 0 };
	record(&text, "path", "a/b", 3);
	record(&text, "size", "1099511627776", 13);
	record(&text, "uid", "4294967294", 10);
	record(&text, "mtime", "-1.25", 5);
	record(&text, "comment", "whatever", 8);
	assert_int_equal(parse(&pax, &text), 0);
	assert_true(view_is(pax.path, "a/b"));
	assert_true(pax.has_size && pax.size == 1099511627776);
	assert_true(pax.has_uid && pax.uid == 4294967294u && !pax.has_gid);
	assert_true(pax.mtime == -2 && pax.mtime_ns == 750000000);
	tar_pax_done(&pax);
}

static void attributes_are_sorted_and_the_last_of_a_name_wins(void **state)
{
	(void)state;
	AUTO_DONE(text) text = { 0 };
	struct tar_pax pax = { 0 };
	record(&text, "SCHILY.xattr.user.b", "old\0x", 5);
	record(&text, "LIBARCHIVE.xattr.user.%62", "bmV3", 4);
	record(&text, "SCHILY.xattr.user.a", "", 0);
	assert_int_equal(parse(&pax, &text), 0);
	struct tar_xattr xattrs[3];
	assert_int_equal(tar_pax_xattrs(&pax, xattrs), 2);
	assert_true(view_is(xattrs[0].name, "user.a") && xattrs[0].value.len == 0);
	assert_true(view_is(xattrs[1].name, "user.b") && view_is(xattrs[1].value, "new"));
	tar_pax_done(&pax);
}

static void an_empty_value_takes_a_global_one_back(void **state)
{
	(void)state;
	AUTO_DONE(text) first = { 0 };
	AUTO_DONE(text) second = { 0 };
	struct tar_pax global = { 0 }, local = { 0 };
	record(&first, "mtime", "5", 1);
	record(&first, "path", "g", 1);
	record(&first, "SCHILY.xattr.user.g", "1", 1);
	assert_int_equal(parse(&global, &first), 0);
	tar_pax_reset(&local, &global);
	record(&second, "mtime", "", 0);
	record(&second, "path", "", 0);
	assert_int_equal(parse(&local, &second), 0);
	assert_true(!local.has_mtime && local.path.len == 0 && local.xattrs_len == 1);
	assert_true(global.has_mtime && global.path.len == 1);
	tar_pax_done(&global);
	tar_pax_done(&local);
}

static void malformed_records_are_refused(void **state)
{
	(void)state;
	static const char *const bad[] = { "x", "5 a=b", "99 path=x\n", "0 a=b\n", "-6 a=b\n",
		"6  a=b\n", "6 aab\n", "11 size=12x\n", "12 uid=4294967295\n", "9 mtime=x\n",
		"22 LIBARCHIVE.xattr.a=!\n", "26 GNU.sparse.numbytes=1\n" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		AUTO_DONE(text) text = { 0 };
		struct tar_pax pax = { 0 };
		text_puts(&text, bad[i]);
		assert_true(parse(&pax, &text) < 0);
		tar_pax_done(&pax);
	}
}

static void times_keep_nanoseconds(void **state)
{
	(void)state;
	int64_t seconds;
	uint32_t ns;
	assert_int_equal(tar_pax_time(view_of("12.0000000019"), &seconds, &ns), 0);
	assert_true(seconds == 12 && ns == 1);
	assert_int_equal(tar_pax_time(view_of(".5"), &seconds, &ns), 0);
	assert_true(seconds == 0 && ns == 500000000);
	assert_int_equal(tar_pax_time(view_of("-3"), &seconds, &ns), 0);
	assert_true(seconds == -3 && ns == 0);
	assert_int_equal(tar_pax_time(view_of("1.2x"), &seconds, &ns), -EINVAL);
	assert_int_equal(tar_pax_time(view_of("1e5"), &seconds, &ns), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_keys_are_taken),
		cmocka_unit_test(attributes_are_sorted_and_the_last_of_a_name_wins),
		cmocka_unit_test(an_empty_value_takes_a_global_one_back),
		cmocka_unit_test(malformed_records_are_refused),
		cmocka_unit_test(times_keep_nanoseconds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
