#include "device_fixture.h"

static void bytes_are_random_and_as_many_as_told(void **state)
{
	struct device_fixture *f = *state;
	uint8_t first[64];
	device_fixture_start(f, "{\"type\":\"rng\"}", UINT64_MAX);
	assert_int_equal(device_fixture_ask(f, NULL, 0, 64), 64);
	memcpy(first, device_fixture_answer(f), sizeof(first));
	assert_int_equal(device_fixture_ask(f, NULL, 0, 64), 64);
	assert_memory_not_equal(first, device_fixture_answer(f), sizeof(first));
}

static void a_request_for_many_gets_some(void **state)
{
	struct device_fixture *f = *state;
	device_fixture_start(f, "{\"type\":\"rng\"}", UINT64_MAX);
	struct ring_driver *ring = &f->driver.rings[0];
	uint8_t *low = f->machine.mem.low;
	ring_driver_set(ring, ring->desc, 0, 0x1000, 100, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT,
		1);
	ring_driver_set(ring, ring->desc, 1, 0x2000, 0x10000, VRING_DESC_F_WRITE, 0);
	ring_driver_offer(ring, 0);
	pci_driver_kick(&f->driver, 0);
	fake_machine_settle(&f->machine);
	assert_int_equal(pci_driver_take(&f->driver, 0), 4096);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(low[0x2000 + 3996 + i], 0);
}

static void a_request_with_bytes_for_the_device_breaks_the_rules(void **state)
{
	struct device_fixture *f = *state;
	device_fixture_start(f, "{\"type\":\"rng\"}", UINT64_MAX);
	assert_int_equal(device_fixture_ask(f, "x", 1, 64), -1);
	assert_true(device_fixture_is_failed(f));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DEVICE(bytes_are_random_and_as_many_as_told),
		IN_DEVICE(a_request_for_many_gets_some),
		IN_DEVICE(a_request_with_bytes_for_the_device_breaks_the_rules),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
