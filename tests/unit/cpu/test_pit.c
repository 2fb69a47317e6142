/* The interval timer, on a TSC of 1193.182 MHz: a thousand ticks are one of its own. */
#include "test.h"

#include "cpu/soft/irqchip/pit.h"

enum { CONTROL = 0x43, SPEAKER = 0x61, TICK = 1000 };
#define TSC_KHZ 1193182u

static uint64_t at(uint64_t ticks)
{
	return ticks * TICK;
}

static void load(struct pit *pit, unsigned channel, uint8_t control, unsigned count, uint64_t now)
{
	pit_write(pit, CONTROL, control, now);
	pit_write(pit, (uint16_t)(0x40 + channel), (uint8_t)count, now);
	pit_write(pit, (uint16_t)(0x40 + channel), (uint8_t)(count >> 8), now);
}

static unsigned word(struct pit *pit, unsigned channel, uint64_t now)
{
	unsigned low = pit_read(pit, (uint16_t)(0x40 + channel), now);
	return low | (unsigned)pit_read(pit, (uint16_t)(0x40 + channel), now) << 8;
}

static void mode_0_interrupts_once_and_counts_on(void **state)
{
	(void)state;
	struct pit pit;
	pit_init(&pit, TSC_KHZ);
	assert_int_equal(pit.expiry, PIT_NEVER);
	load(&pit, 0, 0x30, 1000, at(5));
	assert_int_equal(pit.expiry, at(1005));
	assert_int_equal(word(&pit, 0, at(105)), 900);
	assert_false(pit_expire(&pit, at(1005) - 1));
	assert_true(pit_expire(&pit, at(1005)));
	assert_false(pit_expire(&pit, at(5000)));
	assert_int_equal(pit.expiry, PIT_NEVER);
	assert_int_equal(word(&pit, 0, at(1006)), 0xffff);
	/* A count of zero is the longest. */
	load(&pit, 0, 0x30, 0, 0);
	assert_int_equal(pit.expiry, at(0x10000));
}

static void mode_2_interrupts_every_period_without_drift(void **state)
{
	(void)state;
	struct pit pit;
	pit_init(&pit, 2000000);
	load(&pit, 0, 0x34, 1193, 0);
	for (uint64_t n = 1; n < 100000; n++) {
		uint64_t exact = (n * 1193 * UINT64_C(2000000000) + 1193181) / 1193182;
		assert_int_equal(pit.expiry, exact);
		assert_true(pit_expire(&pit, exact));
	}
}

static void periods_that_were_missed_are_one_interrupt(void **state)
{
	(void)state;
	struct pit pit;
	pit_init(&pit, TSC_KHZ);
	load(&pit, 0, 0x34, 100, 0);
	assert_true(pit_expire(&pit, at(1050)));
	assert_false(pit_expire(&pit, at(1050)));
	assert_int_equal(pit.expiry, at(1100));
	assert_int_equal(word(&pit, 0, at(1130)), 70);
	assert_int_equal(word(&pit, 0, at(1200)), 100);
	/* A new mode is silent until its count comes. */
	pit_write(&pit, CONTROL, 0x34, at(1130));
	assert_int_equal(pit.expiry, PIT_NEVER);
	pit_write(&pit, 0x40, 50, at(1130));
	assert_int_equal(pit.expiry, PIT_NEVER);
}

static void mode_3_counts_by_two(void **state)
{
	(void)state;
	struct pit pit;
	pit_init(&pit, TSC_KHZ);
	load(&pit, 0, 0x36, 100, 0);
	assert_int_equal(pit.expiry, at(100));
	assert_int_equal(word(&pit, 0, at(10)), 80);
	assert_int_equal(word(&pit, 0, at(60)), 80);
	pit_write(&pit, CONTROL, 0xe2, at(49)); /* status of channel 0 */
	assert_int_equal(pit_read(&pit, 0x40, 0), 0x80 | 0x36);
	pit_write(&pit, CONTROL, 0xe2, at(50));
	assert_int_equal(pit_read(&pit, 0x40, 0), 0x36);
	assert_true(pit_expire(&pit, at(100)));
	assert_int_equal(pit.expiry, at(200));
	load(&pit, 0, 0x3e, 100, 0); /* mode 7 is 3 */
	assert_int_equal(pit.expiry, at(100));
}

static void a_latch_holds_the_count_until_it_is_read(void **state)
{
	(void)state;
	struct pit pit;
	pit_init(&pit, TSC_KHZ);
	load(&pit, 0, 0x34, 0x5000, 0);
	pit_write(&pit, CONTROL, 0x00, at(0x100));
	pit_write(&pit, CONTROL, 0x00, at(0x200)); /* latched already */
	assert_int_equal(word(&pit, 0, at(0x300)), 0x4f00);
	assert_int_equal(word(&pit, 0, at(0x300)), 0x4d00);
	/* Read-back of both, of two channels: status first. */
	load(&pit, 2, 0xb0, 0x1234, 0);
	pit_write(&pit, CONTROL, 0xca, at(0x400));
	assert_int_equal(pit_read(&pit, 0x40, 0), 0x80 | 0x34);
	assert_int_equal(word(&pit, 0, at(0x999)), 0x4c00);
	assert_int_equal(pit_read(&pit, 0x42, 0), 0x30);
	assert_int_equal(word(&pit, 2, at(0x999)), 0x1234);
	/* Only bytes. */
	pit_write(&pit, CONTROL, 0x14, 0);
	pit_write(&pit, 0x40, 200, 0);
	assert_int_equal(pit.expiry, at(200));
	assert_int_equal(pit_read(&pit, 0x40, at(10)), 190);
	assert_int_equal(pit_read(&pit, 0x40, at(11)), 189);
	pit_write(&pit, CONTROL, 0x24, 0);
	pit_write(&pit, 0x40, 2, 0);
	assert_int_equal(pit.expiry, at(0x200));
	assert_int_equal(pit_read(&pit, 0x40, at(0x101)), 0);
	assert_int_equal(pit_read(&pit, 0x40, at(0xff)), 1);
	/* Half a word is not in the counter. */
	pit_write(&pit, CONTROL, 0x34, 0);
	pit_write(&pit, 0x40, 1, 0);
	pit_write(&pit, CONTROL, 0xe2, 0);
	assert_int_equal(pit_read(&pit, 0x40, 0), 0xc0 | 0x34);
}

static void linux_calibrates_by_the_third_channel(void **state)
{
	(void)state;
	struct pit pit;
	pit_init(&pit, TSC_KHZ);
	assert_int_equal(pit_read(&pit, SPEAKER, 0) & 0x23, 0);
	/* pit_calibrate_tsc(): the gate open, speaker off, mode 0, 50 ms; then it waits for the
	 * output. */
	uint8_t speaker = pit_read(&pit, SPEAKER, 0);
	pit_write(&pit, SPEAKER, (uint8_t)((speaker & ~0x02) | 0x01), 0);
	load(&pit, 2, 0xb0, 59659, at(7));
	assert_int_equal(pit_read(&pit, SPEAKER, at(7)) & 0x23, 1);
	assert_int_equal(pit_read(&pit, SPEAKER, at(7 + 59659) - 1) & 0x20, 0);
	assert_int_equal(pit_read(&pit, SPEAKER, at(7 + 59659)) & 0x20, 0x20);
	assert_int_equal(pit.expiry, PIT_NEVER);
	/* quick_pit_calibrate(): it reads words without a latch. */
	load(&pit, 2, 0xb0, 0xffff, 0);
	assert_int_equal(word(&pit, 2, at(0x100)), 0xfeff);
	assert_int_equal(word(&pit, 2, at(0x200)), 0xfdff);
}

static void a_low_gate_holds_the_count(void **state)
{
	(void)state;
	struct pit pit;
	pit_init(&pit, TSC_KHZ);
	load(&pit, 2, 0xb0, 1000, 0);
	assert_int_equal(word(&pit, 2, at(500)), 1000);
	pit_write(&pit, SPEAKER, 3, at(600));
	assert_int_equal(pit_read(&pit, SPEAKER, at(600)) & 0x23, 3);
	assert_int_equal(word(&pit, 2, at(700)), 900);
	pit_write(&pit, SPEAKER, 0, at(700));
	assert_int_equal(word(&pit, 2, at(900)), 900);
	pit_write(&pit, SPEAKER, 1, at(1000));
	assert_int_equal(word(&pit, 2, at(1100)), 800);
	assert_int_equal(pit_read(&pit, SPEAKER, at(1899)) & 0x20, 0);
	assert_int_equal(pit_read(&pit, SPEAKER, at(1900)) & 0x20, 0x20);
	/* Mode 1 waits for a rising gate, and every one starts it. */
	pit_write(&pit, SPEAKER, 0, at(2000));
	load(&pit, 2, 0xb2, 100, at(2000));
	assert_int_equal(pit_read(&pit, SPEAKER, at(2500)) & 0x20, 0x20);
	pit_write(&pit, SPEAKER, 1, at(3000));
	assert_int_equal(pit_read(&pit, SPEAKER, at(3099)) & 0x20, 0);
	assert_int_equal(pit_read(&pit, SPEAKER, at(3100)) & 0x20, 0x20);
	/* Mode 3 is high while it is held and starts anew. */
	load(&pit, 2, 0xb6, 100, at(4000));
	assert_int_equal(pit_read(&pit, SPEAKER, at(4060)) & 0x20, 0);
	pit_write(&pit, SPEAKER, 0, at(4060));
	assert_int_equal(pit_read(&pit, SPEAKER, at(4061)) & 0x20, 0x20);
	pit_write(&pit, SPEAKER, 1, at(4070));
	assert_int_equal(pit_read(&pit, SPEAKER, at(4119)) & 0x20, 0x20);
	assert_int_equal(pit_read(&pit, SPEAKER, at(4120)) & 0x20, 0);
}

static void the_refresh_bit_toggles(void **state)
{
	(void)state;
	struct pit pit;
	pit_init(&pit, TSC_KHZ);
	assert_int_equal(pit_read(&pit, SPEAKER, at(17)) & 0x10, 0);
	assert_int_equal(pit_read(&pit, SPEAKER, at(18)) & 0x10, 0x10);
	assert_int_equal(pit_read(&pit, SPEAKER, at(36)) & 0x10, 0);
}

static void foreign_state_cannot_break_it(void **state)
{
	(void)state;
	struct pit pit;
	struct kvm_pit_state2 foreign;
	memset(&foreign, 0xff, sizeof(foreign));
	pit_init(&pit, TSC_KHZ);
	pit_set(&pit, &foreign, at(10));
	memset(&foreign, 0, sizeof(foreign));
	foreign.channels[0].mode = 2;
	foreign.channels[0].gate = 1;
	pit_set(&pit, &foreign, at(10));
	assert_int_equal(pit.expiry, at(0x10000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mode_0_interrupts_once_and_counts_on),
		cmocka_unit_test(mode_2_interrupts_every_period_without_drift),
		cmocka_unit_test(periods_that_were_missed_are_one_interrupt),
		cmocka_unit_test(mode_3_counts_by_two),
		cmocka_unit_test(a_latch_holds_the_count_until_it_is_read),
		cmocka_unit_test(linux_calibrates_by_the_third_channel),
		cmocka_unit_test(a_low_gate_holds_the_count),
		cmocka_unit_test(the_refresh_bit_toggles),
		cmocka_unit_test(foreign_state_cannot_break_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
