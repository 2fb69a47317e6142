/* image_created - dates as Go writes them. */
#include "fixture.h"

#include "image/image_created.h"

static void dates_come_back_without_trailing_zeros(void **context)
{
	(void)context;
	static const char *const dates[] = { "2023-05-18T22:34:17Z", "2023-05-18T22:34:17.1Z",
		"2023-05-18T22:34:17.123456789Z", "1969-12-31T23:59:59.5Z",
		"2020-01-01T00:00:00Z" };
	for (size_t i = 0; i < ARRAY_LEN(dates); i++) {
		char buffer[CLOCK_RFC3339_MAX];
		int64_t at = image_created_parse(dates[i]);
		assert_true(at != 0);
		assert_string_equal(image_created_text(at, buffer), dates[i]);
	}
	assert_int_equal(image_created_parse("1970-01-01T01:00:01+01:00"), 1000000000);
}

static void what_is_no_date_is_unknown(void **context)
{
	(void)context;
	static const char *const texts[] = { NULL, "", "10m", "1700000000", "2023-05-18",
		"2023-05-18T22:34:17", "2023-13-18T22:34:17Z", "0001-01-01T00:00:00Z",
		"9999-12-31T23:59:59Z", "2023-05-18 22:34:17Z....", "xxxxxxxxxxTxxxxxxxxxx" };
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		assert_int_equal(image_created_parse(texts[i]), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dates_come_back_without_trailing_zeros),
		cmocka_unit_test(what_is_no_date_is_unknown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
