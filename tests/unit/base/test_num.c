#include "test.h"

#include "base/num.h"

static void num_parse_takes_digits_only(void **state)
{
	(void)state;
	static const char *const bad[] = { "", "-", "+1", " 1", "1 ", "1x", "0x1", "1.0", "--1",
		"11", "-6", "99999999999999999999" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		int64_t n = 77;
		assert_int_equal(num_parse(view_of(bad[i]), -5, 10, &n), -EINVAL);
		assert_int_equal(n, 77);
	}
	int64_t n;
	assert_int_equal(num_parse(V("-5"), -5, 10, &n), 0);
	assert_int_equal(n, -5);
	assert_int_equal(num_parse(V("010"), 0, 10, &n), 0);
	assert_int_equal(n, 10);
	assert_int_equal(num_parse(V("-1"), 0, 10, &n), -EINVAL);
	assert_int_equal(num_parse(V("3"), 4, 10, &n), -EINVAL);
	assert_int_equal(num_parse(V("-3"), -10, -4, &n), -EINVAL);
	assert_int_equal(num_parse(V("3"), -10, -4, &n), -EINVAL);
}

static void num_parse_reaches_both_ends(void **state)
{
	(void)state;
	int64_t n;
	assert_int_equal(num_parse(V("-9223372036854775808"), INT64_MIN, INT64_MAX, &n), 0);
	assert_true(n == INT64_MIN);
	assert_int_equal(num_parse(V("9223372036854775807"), INT64_MIN, INT64_MAX, &n), 0);
	assert_true(n == INT64_MAX);
	assert_int_equal(num_parse(V("-9223372036854775809"), INT64_MIN, INT64_MAX, &n), -EINVAL);
	assert_int_equal(num_parse(V("9223372036854775808"), INT64_MIN, INT64_MAX, &n), -EINVAL);
	uint64_t u;
	assert_int_equal(num_parse_u64(V("18446744073709551615"), UINT64_MAX, &u), 0);
	assert_true(u == UINT64_MAX);
	assert_int_equal(num_parse_u64(V("18446744073709551616"), UINT64_MAX, &u), -EINVAL);
	assert_int_equal(num_parse_octal(V("7777"), 07777, &u), 0);
	assert_int_equal(u, 07777);
	assert_int_equal(num_parse_octal(V("8"), 07777, &u), -EINVAL);
	assert_int_equal(num_parse_octal(V("10000"), 07777, &u), -EINVAL);
}

static void num_parse_size_is_dockers(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint64_t bytes;
	} rows[] = { { "0", 0 }, { "32", 32 }, { "32b", 32 }, { "32B", 32 }, { "32k", 32768 },
		{ "32K", 32768 }, { "32kb", 32768 }, { "32KiB", 32768 }, { "32Mb", 33554432 },
		{ "1.5g", 1610612736 }, { "0.1k", 102 }, { "1t", 1099511627776 },
		{ "1PiB", 1125899906842624 }, { "1.5", 1 },
		{ "8191.999999999999999p", 9223372036854775806 } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint64_t bytes = 0;
		assert_int_equal(num_parse_size(view_of(rows[i].text), &bytes), 0);
		assert_int_equal(bytes, rows[i].bytes);
	}
	static const char *const bad[] = { "", "k", "-1", "1e", "1kx", "1bb", "1kbi", "1kibb",
		"1 k", ".5k", "5.k", "1.2.3k", "8192p", "9223372036854775808",
		"99999999999999999999k", "0x10", "1.0000000000000000000k" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		uint64_t bytes = 77;
		assert_int_equal(num_parse_size(view_of(bad[i]), &bytes), -EINVAL);
		assert_int_equal(bytes, 77);
	}
}

static void num_parse_nano_is_exact(void **state)
{
	(void)state;
	int64_t nano = 0;
	assert_int_equal(num_parse_nano(V("1.5"), &nano), 0);
	assert_int_equal(nano, 1500000000);
	assert_int_equal(num_parse_nano(V("0.000000001"), &nano), 0);
	assert_int_equal(nano, 1);
	assert_int_equal(num_parse_nano(V("9223372036.854775807"), &nano), 0);
	assert_true(nano == INT64_MAX);
	assert_int_equal(num_parse_nano(V("9223372036.854775808"), &nano), -EINVAL);
	assert_int_equal(num_parse_nano(V("0.0000000001"), &nano), -EINVAL);
	assert_int_equal(num_parse_nano(V("-1"), &nano), -EINVAL);
}

static void sizes_are_printed_as_docker_prints_them(void **state)
{
	(void)state;
	static const struct {
		uint64_t bytes;
		const char *decimal, *binary;
	} rows[] = { { 0, "0B", "0B" }, { 999, "999B", "999B" }, { 1000, "1kB", "1000B" },
		{ 1024, "1.02kB", "1KiB" }, { 1234567, "1.23MB", "1.177MiB" },
		{ 999900, "1MB", "976.5KiB" }, { 1048575, "1.05MB", "1024KiB" },
		{ UINT64_MAX, "18.4EB", "16EiB" } };
	char buffer[NUM_SIZE_TEXT_MAX];
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_string_equal(num_size_decimal(rows[i].bytes, buffer), rows[i].decimal);
		assert_string_equal(num_size_binary(rows[i].bytes, buffer), rows[i].binary);
	}
}

static void num_cast_tells_what_does_not_fit(void **state)
{
	(void)state;
	uint8_t narrow = 0;
	assert_true(num_cast(&narrow, UINT64_C(255)));
	assert_int_equal(narrow, 255);
	assert_false(num_cast(&narrow, UINT64_C(256)));
	assert_false(num_cast(&narrow, -1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(num_parse_takes_digits_only),
		cmocka_unit_test(num_parse_reaches_both_ends),
		cmocka_unit_test(num_parse_size_is_dockers),
		cmocka_unit_test(num_parse_nano_is_exact),
		cmocka_unit_test(sizes_are_printed_as_docker_prints_them),
		cmocka_unit_test(num_cast_tells_what_does_not_fit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
