#include "test.h"

#include "vm/platform/power.h"

static void sleeping_in_s5_switches_off(void **state)
{
	(void)state;
	assert_int_equal(power_write(0x600, 5 << 2 | 1 << 5), POWER_OFF);
	assert_int_equal(power_write(0x600, 5 << 2), POWER_NONE);
	assert_int_equal(power_write(0x600, 3 << 2 | 1 << 5), POWER_NONE);
	assert_int_equal(power_write(0x601, 0x80), POWER_NONE);
}

static void every_reset_register_resets(void **state)
{
	(void)state;
	assert_int_equal(power_write(0x602, 1), POWER_RESET);
	assert_int_equal(power_write(0x602, 0), POWER_NONE);
	assert_int_equal(power_write(0xcf9, 0x06), POWER_RESET);
	assert_int_equal(power_write(0xcf9, 0x0e), POWER_RESET);
	assert_int_equal(power_write(0xcf9, 0x02), POWER_NONE);
	assert_int_equal(power_write(0x64, 0xfe), POWER_RESET);
	assert_int_equal(power_write(0x64, 0xaa), POWER_NONE);
}

static void no_keyboard_controller_answers(void **state)
{
	(void)state;
	assert_int_equal(power_read(0x64), 0xff);
	assert_int_equal(power_read(0xcf9), 0);
}

static void only_its_own_ports_are_power(void **state)
{
	(void)state;
	unsigned found = 0;
	for (unsigned port = 0; port <= UINT16_MAX; port++) {
		bool is_known = power_has_port((uint16_t)port);
		found += is_known;
		for (unsigned value = 0; !is_known && value <= UINT8_MAX; value++)
			assert_int_equal(power_write((uint16_t)port, (uint8_t)value), POWER_NONE);
	}
	assert_int_equal(found, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sleeping_in_s5_switches_off),
		cmocka_unit_test(every_reset_register_resets),
		cmocka_unit_test(no_keyboard_controller_answers),
		cmocka_unit_test(only_its_own_ports_are_power),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
