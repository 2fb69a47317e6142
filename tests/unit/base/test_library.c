#include "test.h"

#include "base/library.h"

static void it_loads_and_fills_every_slot(void **state)
{
	(void)state;
	static const struct library libm = { "libm.so.6", "libc6", "for a cosine" };
	double (*cosine)(double) = NULL;
	int (*classify)(double) = NULL;
	const struct library_symbol symbols[] = { { "cos", &cosine },
		{ "__fpclassify", &classify } };
	struct err err = { 0 };
	assert_int_equal(library_load(&libm, symbols, ARRAY_LEN(symbols), &err), 0);
	assert_true(cosine(0) == 1);
	assert_non_null(classify);
}

static void what_is_missing_is_named_and_no_slot_is_touched(void **state)
{
	(void)state;
	static const struct library libm = { "libm.so.6", "libc6", "for a cosine" };
	static const struct library none = { "libnone.so.1", "libnone1", "for nothing" };
	void *slot = NULL, *other = NULL;
	const struct library_symbol symbols[] = { { "cos", &slot },
		{ "no_such_function", &other } };
	struct err err = { 0 };
	assert_error(library_load(&none, symbols, 1, &err), ERR_UNSUPPORTED,
		"cannot load libnone.so.1 for nothing: install libnone1");
	assert_error(library_load(&libm, symbols, ARRAY_LEN(symbols), &err), ERR_UNSUPPORTED,
		"libm.so.6 lacks no_such_function");
	assert_null(slot);
	assert_null(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_loads_and_fills_every_slot),
		cmocka_unit_test(what_is_missing_is_named_and_no_slot_is_touched),
	};
	return cmocka_run_group_tests_name("library", tests, NULL, NULL);
}
