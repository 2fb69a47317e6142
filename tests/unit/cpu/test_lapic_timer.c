/* The timer of a local APIC, to the tick.  A TSC of 3 GHz: three ticks a nanosecond. */
#include "test.h"

#include "cpu/soft/irqchip/lapic_timer.h"

enum { BY_1 = 0xb, BY_2 = 0, BY_4 = 1, BY_128 = 0xa };

static struct lapic_timer timer_new(uint32_t tsc_khz)
{
	struct lapic_timer timer = { .tsc_khz = tsc_khz };
	lapic_timer_reset(&timer);
	return timer;
}

static void every_divisor_slows_it(void **state)
{
	(void)state;
	static const struct {
		uint32_t divide, by;
	} cases[] = { { 0, 2 }, { 1, 4 }, { 2, 8 }, { 3, 16 }, { 8, 32 }, { 9, 64 }, { 0xa, 128 },
		{ 0xb, 1 } };
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct lapic_timer timer = timer_new(3000000);
		lapic_timer_set_divide(&timer, cases[i].divide, 0);
		lapic_timer_start(&timer, 10, 7);
		assert_int_equal(timer.expiry, 7 + 30 * cases[i].by);
	}
}

static void one_shot_runs_out_once(void **state)
{
	(void)state;
	struct lapic_timer timer = timer_new(3000000);
	assert_false(lapic_timer_expire(&timer, UINT64_MAX));
	lapic_timer_set_divide(&timer, BY_1, 0);
	lapic_timer_start(&timer, 1000, 100);
	assert_int_equal(timer.expiry, 3100);
	assert_int_equal(lapic_timer_count(&timer, 100), 1000);
	assert_int_equal(lapic_timer_count(&timer, 103), 999);
	assert_int_equal(lapic_timer_count(&timer, 3099), 0);
	assert_false(lapic_timer_expire(&timer, 3099));
	assert_true(lapic_timer_expire(&timer, 3100));
	assert_false(lapic_timer_expire(&timer, 9999));
	assert_int_equal(lapic_timer_count(&timer, 9999), 0);
	lapic_timer_start(&timer, 1000, 100);
	lapic_timer_start(&timer, 0, 200);
	assert_false(lapic_timer_expire(&timer, 9999));
}

static void periods_that_were_missed_are_one(void **state)
{
	(void)state;
	struct lapic_timer timer = timer_new(3000000);
	lapic_timer_set_divide(&timer, BY_2, 0);
	lapic_timer_set_mode(&timer, LAPIC_PERIODIC);
	lapic_timer_start(&timer, 100, 0);
	assert_true(lapic_timer_expire(&timer, 600));
	assert_int_equal(timer.expiry, 1200);
	assert_true(lapic_timer_expire(&timer, 60001));
	assert_false(lapic_timer_expire(&timer, 60599));
	assert_int_equal(timer.expiry, 60600);
	assert_int_equal(lapic_timer_count(&timer, 60300), 50);
	assert_int_equal(lapic_timer_count(&timer, 60900), 50); /* not announced yet */
	/* The shortest period is no storm. */
	lapic_timer_set_divide(&timer, BY_1, 60900);
	lapic_timer_start(&timer, 1, 60900);
	assert_true(lapic_timer_expire(&timer, UINT64_MAX - 10));
	assert_true(timer.expiry > UINT64_MAX - 10);
}

static void a_new_divisor_keeps_the_count(void **state)
{
	(void)state;
	struct lapic_timer timer = timer_new(3000000);
	lapic_timer_set_divide(&timer, BY_1, 0);
	lapic_timer_start(&timer, 1000, 0);
	lapic_timer_set_divide(&timer, BY_4, 1500);
	assert_int_equal(lapic_timer_count(&timer, 1500), 500);
	assert_int_equal(timer.expiry, 1500 + 6000);
}

static void modes_that_count_share_it_and_the_deadline_does_not(void **state)
{
	(void)state;
	struct lapic_timer timer = timer_new(3000000);
	lapic_timer_set_divide(&timer, BY_1, 0);
	lapic_timer_set_deadline(&timer, 5000);
	assert_int_equal(timer.expiry, LAPIC_NEVER);
	lapic_timer_start(&timer, 1000, 0);
	lapic_timer_set_mode(&timer, LAPIC_PERIODIC);
	assert_int_equal(timer.expiry, 3000);
	lapic_timer_set_mode(&timer, LAPIC_DEADLINE);
	assert_int_equal(timer.expiry, LAPIC_NEVER);
	lapic_timer_start(&timer, 1000, 0);
	assert_int_equal(timer.expiry, LAPIC_NEVER);
	assert_int_equal(timer.initial, 0);
	lapic_timer_set_deadline(&timer, 5000);
	assert_int_equal(lapic_timer_deadline(&timer), 5000);
	assert_int_equal(lapic_timer_count(&timer, 0), 0);
	lapic_timer_set_divide(&timer, BY_128, 0);
	assert_false(lapic_timer_expire(&timer, 4999));
	assert_true(lapic_timer_expire(&timer, 5000));
	assert_int_equal(lapic_timer_deadline(&timer), 0);
	lapic_timer_set_deadline(&timer, 6000);
	lapic_timer_set_deadline(&timer, 0);
	assert_int_equal(timer.expiry, LAPIC_NEVER);
	lapic_timer_set_deadline(&timer, 6000);
	lapic_timer_set_mode(&timer, LAPIC_ONE_SHOT);
	assert_int_equal(timer.expiry, LAPIC_NEVER);
}

static void any_tsc_counts_from_the_initial_count_down(void **state)
{
	(void)state;
	static const uint32_t tsc_khz[] = { 1, 999999, 1000001, 2893437, UINT32_MAX };
	for (size_t i = 0; i < sizeof(tsc_khz) / sizeof(tsc_khz[0]); i++) {
		struct lapic_timer timer = timer_new(tsc_khz[i]);
		lapic_timer_set_divide(&timer, BY_128, 0);
		lapic_timer_start(&timer, UINT32_MAX, 5);
		assert_int_equal(lapic_timer_count(&timer, 5), UINT32_MAX);
		assert_int_equal(lapic_timer_count(&timer, timer.expiry), 0);
		lapic_timer_resume(&timer, 0, 5, 0);
		assert_int_equal(timer.expiry, LAPIC_NEVER);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_divisor_slows_it),
		cmocka_unit_test(one_shot_runs_out_once),
		cmocka_unit_test(periods_that_were_missed_are_one),
		cmocka_unit_test(a_new_divisor_keeps_the_count),
		cmocka_unit_test(modes_that_count_share_it_and_the_deadline_does_not),
		cmocka_unit_test(any_tsc_counts_from_the_initial_count_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
