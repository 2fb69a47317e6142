#include "test.h"

#include "engine/raw_terminal.h"

/* Feeds the pieces one by one; what comes out of them all is in out. */
static bool feed(const char *keys, const char *const *pieces, struct text *out)
{
	struct detach_keys parsed;
	bool is_detached = false;
	assert_int_equal(detach_keys_parse(keys, &parsed, NULL), 0);
	for (; *pieces != NULL && !is_detached; pieces++) {
		unsigned char bytes[64];
		size_t len;
		is_detached = detach_keys_filter(&parsed, (const unsigned char *)*pieces,
			strlen(*pieces), bytes, &len);
		text_add(out, (const char *)bytes, len);
	}
	return is_detached;
}

#define FEED(out, keys, ...) feed(keys, (const char *const[]){ __VA_ARGS__, NULL }, out)

static void the_sequence_detaches_also_in_pieces(void **state)
{
	(void)state;
	AUTO_DONE(text) out = { 0 };
	assert_true(FEED(&out, "ctrl-p,ctrl-q", "ab\x10\x11rest"));
	assert_string_equal(text_string(&out), "ab");
	text_clear(&out);
	assert_true(FEED(&out, "ctrl-p,ctrl-q", "x\x10", "\x11"));
	assert_string_equal(text_string(&out), "x");
	text_clear(&out);
	assert_true(FEED(&out, "a,b", "aab"));
	assert_string_equal(text_string(&out), "a");
}

static void what_only_began_like_it_is_input(void **state)
{
	(void)state;
	AUTO_DONE(text) out = { 0 };
	assert_false(FEED(&out, "ctrl-p,ctrl-q", "\x10x", "y"));
	assert_string_equal(text_string(&out), "\x10xy");
	text_clear(&out);
	assert_false(FEED(&out, "", "any\x10\x11"));
	assert_string_equal(text_string(&out), "any\x10\x11");
}

static void odd_keys_are_refused(void **state)
{
	(void)state;
	static const char *const bad[] = { "ctrl-", "alt-x", "ctrl-pp", ",",
		"a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct detach_keys keys;
		struct err err = { 0 };
		assert_error(detach_keys_parse(bad[i], &keys, &err), ERR_INVALID, "detach keys");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_sequence_detaches_also_in_pieces),
		cmocka_unit_test(what_only_began_like_it_is_input),
		cmocka_unit_test(odd_keys_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
