/* The pair of old interrupt controllers, programmed as Linux does. */
#include "test.h"

#include "cpu/soft/irqchip/pic.h"

enum { FIRST = 0x20, FIRST_DATA = 0x21, SECOND = 0xa0, SECOND_DATA = 0xa1 };

static void start(struct pic *pic, uint8_t icw4)
{
	pic_init(pic);
	pic_write(pic, FIRST_DATA, 0xff);
	pic_write(pic, FIRST, 0x11);
	pic_write(pic, FIRST_DATA, 0x30);
	pic_write(pic, FIRST_DATA, 4);
	pic_write(pic, FIRST_DATA, icw4);
	pic_write(pic, SECOND, 0x11);
	pic_write(pic, SECOND_DATA, 0x38);
	pic_write(pic, SECOND_DATA, 2);
	pic_write(pic, SECOND_DATA, icw4);
}

static uint8_t register_of(struct pic *pic, uint16_t port, bool is_isr)
{
	pic_write(pic, port, is_isr ? 0x0b : 0x0a);
	return pic_read(pic, port);
}

static void the_probe_finds_a_mask_that_keeps_what_is_written(void **state)
{
	(void)state;
	struct pic pic;
	pic_init(&pic);
	/* probe_8259A() of Linux: the cascade open on the first, all closed on the second. */
	pic_write(&pic, SECOND_DATA, 0xff);
	pic_write(&pic, FIRST_DATA, 0xfb);
	assert_int_equal(pic_read(&pic, FIRST_DATA), 0xfb);
	assert_int_equal(pic_read(&pic, SECOND_DATA), 0xff);
	pic_set_line(&pic, 4, true);
	assert_false(pic_output(&pic));
}

static void initialization_sets_bases_and_clears_masks(void **state)
{
	(void)state;
	struct pic pic;
	start(&pic, 1);
	assert_int_equal(pic_read(&pic, FIRST_DATA), 0);
	pic_set_line(&pic, 1, true);
	assert_true(pic_output(&pic));
	assert_int_equal(pic_acknowledge(&pic), 0x31);
	assert_int_equal(register_of(&pic, FIRST, true), 2);
	assert_int_equal(register_of(&pic, FIRST, false), 0);
	/* Without the fourth word; an edge from before is forgotten, a level is not. */
	pic_write(&pic, 0x4d0, 1u << 5);
	pic_set_line(&pic, 5, true);
	pic_set_line(&pic, 6, true);
	pic_write(&pic, FIRST, 0x10);
	pic_write(&pic, FIRST_DATA, 0x57);
	pic_write(&pic, FIRST_DATA, 4);
	assert_int_equal(pic_acknowledge(&pic), 0x55);
	pic_write(&pic, FIRST, 0x20);
	assert_int_equal(register_of(&pic, FIRST, false), 1u << 5);
	pic_write(&pic, FIRST_DATA, 0xf0);
	assert_int_equal(pic_read(&pic, FIRST_DATA), 0xf0);
	pic_set_line(&pic, 1, false);
	pic_set_line(&pic, 1, true);
	assert_int_equal(pic_acknowledge(&pic), 0x51);
}

static void an_edge_is_kept_and_comes_once(void **state)
{
	(void)state;
	struct pic pic;
	start(&pic, 1);
	pic_set_line(&pic, 4, true);
	pic_set_line(&pic, 4, false);
	pic_set_line(&pic, 4, true);
	assert_int_equal(pic_acknowledge(&pic), 0x34);
	pic_set_line(&pic, 4, true);
	pic_write(&pic, FIRST, 0x20);
	assert_int_equal(register_of(&pic, FIRST, true), 0);
	assert_false(pic_output(&pic));
	assert_int_equal(pic_acknowledge(&pic), 0x37); /* spurious */
	assert_int_equal(register_of(&pic, FIRST, true), 0);
}

static void a_level_comes_again_until_it_falls(void **state)
{
	(void)state;
	struct pic pic;
	start(&pic, 1);
	pic_write(&pic, 0x4d0, 0xff);
	pic_write(&pic, 0x4d1, 0xff);
	assert_int_equal(pic_read(&pic, 0x4d0), 0xf8);
	assert_int_equal(pic_read(&pic, 0x4d1), 0xde);
	pic_set_line(&pic, 5, true);
	assert_int_equal(pic_acknowledge(&pic), 0x35);
	assert_false(pic_output(&pic));
	pic_write(&pic, FIRST, 0x65);
	assert_true(pic_output(&pic));
	pic_set_line(&pic, 5, false);
	assert_false(pic_output(&pic));
}

static void lower_inputs_wait_for_higher_ones(void **state)
{
	(void)state;
	struct pic pic;
	start(&pic, 1);
	pic_set_line(&pic, 5, true);
	assert_int_equal(pic_acknowledge(&pic), 0x35);
	pic_set_line(&pic, 6, true);
	assert_false(pic_output(&pic));
	pic_set_line(&pic, 1, true);
	assert_int_equal(pic_acknowledge(&pic), 0x31);
	pic_write(&pic, FIRST, 0x20); /* ends the highest, 1 */
	assert_int_equal(register_of(&pic, FIRST, true), 1u << 5);
	pic_write(&pic, FIRST, 0x20);
	assert_int_equal(pic_acknowledge(&pic), 0x36);
	/* The special mask lets all through but what is masked. */
	pic_set_line(&pic, 7, true);
	assert_false(pic_output(&pic));
	pic_write(&pic, FIRST_DATA, 1u << 6);
	assert_false(pic_output(&pic));
	pic_write(&pic, FIRST, 0x68);
	assert_int_equal(pic_acknowledge(&pic), 0x37);
}

static void the_second_chip_interrupts_through_the_first(void **state)
{
	(void)state;
	struct pic pic;
	start(&pic, 1);
	pic_set_line(&pic, 12, true);
	pic_set_line(&pic, 3, true);
	assert_int_equal(pic_acknowledge(&pic), 0x3c);
	assert_int_equal(register_of(&pic, FIRST, true), 4);
	assert_int_equal(register_of(&pic, SECOND, true), 1u << 4);
	assert_false(pic_output(&pic));
	pic_write(&pic, SECOND, 0x64);
	pic_write(&pic, FIRST, 0x62);
	assert_int_equal(pic_acknowledge(&pic), 0x33);
	pic_set_line(&pic, 2, true);
	pic_set_line(&pic, 16, true);
	assert_int_equal(register_of(&pic, FIRST, false), 0);
}

static void special_nesting_lets_the_second_chip_interrupt_itself(void **state)
{
	(void)state;
	struct pic pic;
	start(&pic, 0x11);
	pic_set_line(&pic, 12, true);
	assert_int_equal(pic_acknowledge(&pic), 0x3c);
	pic_set_line(&pic, 13, true);
	assert_false(pic_output(&pic));
	pic_set_line(&pic, 8, true);
	assert_int_equal(pic_acknowledge(&pic), 0x38);
}

static void an_automatic_end_leaves_nothing_in_service(void **state)
{
	(void)state;
	struct pic pic;
	start(&pic, 3);
	pic_set_line(&pic, 0, true);
	assert_int_equal(pic_acknowledge(&pic), 0x30);
	assert_int_equal(register_of(&pic, FIRST, true), 0);
	pic_write(&pic, FIRST, 0x80); /* and rotates: 1 is the highest now */
	pic_set_line(&pic, 3, true);
	assert_int_equal(pic_acknowledge(&pic), 0x33);
	pic_set_line(&pic, 1, true);
	pic_set_line(&pic, 6, true);
	assert_int_equal(pic_acknowledge(&pic), 0x36);
	assert_int_equal(pic_acknowledge(&pic), 0x31);
}

static void priorities_rotate(void **state)
{
	(void)state;
	struct pic pic;
	start(&pic, 1);
	pic_write(&pic, FIRST, 0xc4); /* 4 is the lowest */
	pic_set_line(&pic, 1, true);
	pic_set_line(&pic, 5, true);
	assert_int_equal(pic_acknowledge(&pic), 0x35);
	pic_write(&pic, FIRST, 0xa0); /* ended, and the lowest */
	pic_set_line(&pic, 5, false);
	pic_set_line(&pic, 5, true);
	assert_int_equal(pic_acknowledge(&pic), 0x31);
	pic_write(&pic, FIRST, 0xe1);
	pic_set_line(&pic, 0, true);
	assert_int_equal(pic_acknowledge(&pic), 0x35);
}

static void a_poll_acknowledges(void **state)
{
	(void)state;
	struct pic pic;
	start(&pic, 1);
	pic_write(&pic, FIRST, 0x0c);
	assert_int_equal(pic_read(&pic, FIRST), 0);
	pic_set_line(&pic, 6, true);
	pic_write(&pic, FIRST, 0x0c);
	assert_int_equal(pic_read(&pic, FIRST), 0x86);
	assert_int_equal(register_of(&pic, FIRST, true), 1u << 6);
	assert_false(pic_output(&pic));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_probe_finds_a_mask_that_keeps_what_is_written),
		cmocka_unit_test(initialization_sets_bases_and_clears_masks),
		cmocka_unit_test(an_edge_is_kept_and_comes_once),
		cmocka_unit_test(a_level_comes_again_until_it_falls),
		cmocka_unit_test(lower_inputs_wait_for_higher_ones),
		cmocka_unit_test(the_second_chip_interrupts_through_the_first),
		cmocka_unit_test(special_nesting_lets_the_second_chip_interrupt_itself),
		cmocka_unit_test(an_automatic_end_leaves_nothing_in_service),
		cmocka_unit_test(priorities_rotate),
		cmocka_unit_test(a_poll_acknowledges),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
