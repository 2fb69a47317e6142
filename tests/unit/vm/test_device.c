#include "device_fixture.h"

static void each_row_is_complete_and_in_order(void **state)
{
	(void)state;
	size_t len = 0;
	const struct device_row *rows = device_rows(&len);
	assert_true(len >= 4);
	for (size_t i = 0; i < len; i++) {
		assert_non_null(rows[i].create);
		assert_non_null(rows[i].ops->notify);
		assert_non_null(rows[i].ops->activate);
		assert_true(rows[i].ops->queues <= VIRTIO_QUEUES_MAX);
		assert_true(rows[i].ops->queue_size <= VIRTQ_SIZE_MAX);
		assert_true(i == 0 || strcmp(rows[i - 1].type, rows[i].type) < 0);
	}
}

static void a_type_that_is_not_there_is_named(void **state)
{
	struct device_fixture *f = *state;
	struct err err = { 0 };
	assert_error(device_fixture_add(f, "{}", &err), ERR_INVALID, "has no type");
	assert_error(device_fixture_add(f, "{\"type\":7}", &err), ERR_INVALID, "has no type");
	assert_error(device_fixture_add(f, "{\"type\":\"flop\\npy\"}", &err), ERR_INVALID,
		"there is no device flop\\npy");
}

static void sixty_devices_have_room(void **state)
{
	struct device_fixture *f = *state;
	for (unsigned i = 0; i < 60; i++)
		assert_int_equal(device_fixture_add(f, "{\"type\":\"rng\"}", NULL), 0);
	for (unsigned i = 1; i <= 31; i++) {
		pci_driver_find(&f->driver, &f->machine, i);
		assert_int_equal(f->driver.queues, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_row_is_complete_and_in_order),
		IN_DEVICE(a_type_that_is_not_there_is_named),
		IN_DEVICE(sixty_devices_have_room),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
