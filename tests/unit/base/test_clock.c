#include "test.h"

#include <time.h>

#include "base/clock.h"

#define SECOND INT64_C(1000000000)

static void clocks_go_forward(void **state)
{
	(void)state;
	uint64_t before = clock_monotonic_ns();
	assert_true(clock_monotonic_ns() >= before);
	assert_true(clock_wall_ns() > 1700000000 * SECOND);
}

static void rfc3339_has_nine_decimals(void **state)
{
	(void)state;
	char buffer[CLOCK_RFC3339_MAX];
	assert_string_equal(clock_rfc3339(0, buffer), "1970-01-01T00:00:00.000000000Z");
	assert_string_equal(clock_rfc3339(-1, buffer), "1969-12-31T23:59:59.999999999Z");
	assert_string_equal(clock_rfc3339(1795201200 * SECOND + 123456789, buffer),
		"2026-11-20T19:00:00.123456789Z");
	assert_string_equal(clock_rfc3339(INT64_MAX, buffer), "2262-04-11T23:47:16.854775807Z");
	assert_string_equal(clock_rfc3339(INT64_MIN, buffer), "1677-09-21T00:12:43.145224192Z");
}

static void times_are_parsed_as_docker_does(void **state)
{
	(void)state;
	const int64_t now = 2000000000 * SECOND;
	static const struct {
		const char *text;
		int64_t wall_ns;
	} rows[] = { { "1970-01-01T00:00:00Z", 0 }, { "1970-01-01T00:00:00.5Z", SECOND / 2 },
		{ "1970-01-01T00:00:00.123456789Z", 123456789 }, { "1970-01-01T02:00:00+02:00", 0 },
		{ "1969-12-31T23:30:00-00:30", 0 }, { "1970-01-01Z", 0 },
		{ "1970-01-01T01Z", 3600 * SECOND }, { "1970-01-01t00:01z", 60 * SECOND },
		{ "1970-01-01", 0 }, { "1970-01-01T00:00:01", SECOND },
		{ "2024-02-29T00:00:00Z", 1709164800 * SECOND },
		{ "1136073600", 1136073600 * SECOND },
		{ "1136073600.000000001", 1136073600 * SECOND + 1 }, { "0", 0 },
		{ "10m", 1999999400 * SECOND }, { "1h30m", 1999994600 * SECOND },
		{ "1.5s", 2000000000 * SECOND - 1500000000 },
		{ "1ms", 2000000000 * SECOND - 1000000 },
		{ "2us3ns", 2000000000 * SECOND - 2003 } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t wall_ns = -1;
		assert_int_equal(clock_parse(view_of(rows[i].text), now, &wall_ns), 0);
		assert_int_equal(wall_ns, rows[i].wall_ns);
	}
}

static void bad_times_are_refused(void **state)
{
	(void)state;
	static const char *const bad[] = { "", "x", "1x", "m", "1h30", "-1", "1970", "1970-",
		"1970-1-1", "1970-13-01", "1970-00-01", "1970-02-30", "2023-02-29", "1970-01-01T",
		"1970-01-01T24", "1970-01-01T00:60", "1970-01-01T00:00:61Z",
		"1970-01-01T00:00:00.Z", "1970-01-01T00:00:00.1234567890Z", "1970-01-01T00:00:00+2",
		"1970-01-01Zx", "2300-01-01Z", "1600-01-01Z", "9223372037", "99999999999999999999h",
		"9999999h", "1..5s", ".5s" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		int64_t wall_ns = 77;
		/* A number of seconds is a time, so "1970" is one. */
		int r = clock_parse(view_of(bad[i]), 0, &wall_ns);
		if (strcmp(bad[i], "1970") == 0)
			assert_int_equal(r, 0);
		else
			assert_int_equal(r, -EINVAL);
	}
	int64_t wall_ns;
	assert_int_equal(clock_parse(V("1h"), INT64_MIN, &wall_ns), -EINVAL);
}

static void durations_are_gos(void **state)
{
	(void)state;
	int64_t ns = 0;
	assert_int_equal(clock_parse_duration(V("1h1m1s1ms1us1ns"), &ns), 0);
	assert_int_equal(ns, 3661001001001);
	assert_int_equal(clock_parse_duration(V("1\xc2\xb5s"), &ns), 0);
	assert_int_equal(ns, 1000);
	assert_int_equal(clock_parse_duration(V("0"), &ns), 0);
	assert_int_equal(ns, 0);
	assert_int_equal(clock_parse_duration(V("30"), &ns), -EINVAL);
	assert_int_equal(clock_parse_duration(V("2562047h47m16s"), &ns), 0);
	assert_int_equal(clock_parse_duration(V("2562047h47m17s"), &ns), -EINVAL);
}

static void human_durations_are_dockers(void **state)
{
	(void)state;
	const int64_t minute = 60 * SECOND, hour = 60 * minute, day = 24 * hour;
	const struct {
		int64_t ns;
		const char *text;
	} rows[] = { { -day, "Less than a second" }, { 0, "Less than a second" },
		{ SECOND - 1, "Less than a second" }, { SECOND, "1 second" },
		{ 45 * SECOND, "45 seconds" }, { 59 * SECOND, "59 seconds" },
		{ minute, "About a minute" }, { 2 * minute - 1, "About a minute" },
		{ 2 * minute, "2 minutes" }, { 59 * minute, "59 minutes" },
		{ hour, "About an hour" }, { hour + 29 * minute, "About an hour" },
		{ hour + 30 * minute, "2 hours" }, { 47 * hour, "47 hours" },
		{ 47 * hour + 30 * minute, "2 days" }, { 13 * day, "13 days" },
		{ 14 * day, "2 weeks" }, { 59 * day, "8 weeks" }, { 60 * day, "2 months" },
		{ 729 * day, "24 months" }, { 730 * day, "2 years" }, { INT64_MAX, "292 years" } };
	char buffer[CLOCK_HUMAN_MAX];
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_string_equal(clock_human_duration(rows[i].ns, buffer), rows[i].text);
}

int main(void)
{
	/* Times without a zone are local. */
	(void)setenv("TZ", "UTC", 1);
	tzset();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clocks_go_forward),
		cmocka_unit_test(rfc3339_has_nine_decimals),
		cmocka_unit_test(times_are_parsed_as_docker_does),
		cmocka_unit_test(bad_times_are_refused),
		cmocka_unit_test(durations_are_gos),
		cmocka_unit_test(human_durations_are_dockers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
