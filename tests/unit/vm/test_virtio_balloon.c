#include "device_fixture.h"

#include "vm/virtio/virtio_balloon.h"

enum { INFLATE, DEFLATE, REPORT };

static void start(struct device_fixture *f, const char *config)
{
	device_fixture_start(f, config, UINT64_MAX);
	memset(f->machine.mem.low + 0x180000, 0xaa, 0x10000);
}

static void pages_in_the_balloon_are_given_back(void **state)
{
	struct device_fixture *f = *state;
	start(f, "{\"type\":\"balloon\"}");
	/* A run upwards, a run downwards, one alone, one in the high part. */
	const uint32_t frames[] = { 0x180, 0x181, 0x182, 0x187, 0x186, 0x18a, 0x100000 };
	assert_int_equal(device_fixture_ask(f, frames, sizeof(frames), 0), 0);
	assert_int_equal(f->machine.mem.discards, 4);
	assert_int_equal(f->machine.mem.discarded_bytes, 7 * 4096);
	const uint8_t *low = f->machine.mem.low;
	assert_int_equal(low[0x182fff], 0);
	assert_int_equal(low[0x183000], 0xaa);
	assert_int_equal(low[0x186000], 0);
	assert_int_equal(low[0x188000], 0xaa);
	f->queue = DEFLATE;
	assert_int_equal(device_fixture_ask(f, frames, sizeof(frames), 0), 0);
	assert_int_equal(f->machine.mem.discards, 4);
	assert_false(device_fixture_is_failed(f));
}

static void reported_pages_are_given_back(void **state)
{
	struct device_fixture *f = *state;
	start(f, "{\"type\":\"balloon\"}");
	struct ring_driver *ring = &f->driver.rings[REPORT];
	ring_driver_set(ring, ring->desc, 0, 0x180000, 0x8000,
		VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1);
	ring_driver_set(ring, ring->desc, 1, GUEST_MEM_HIGH + 0x4000, 0x2000, VRING_DESC_F_WRITE,
		0);
	ring_driver_offer(ring, 0);
	pci_driver_kick(&f->driver, REPORT);
	fake_machine_settle(&f->machine);
	assert_int_equal(pci_driver_take(&f->driver, REPORT), 0);
	assert_int_equal(f->machine.mem.discarded_bytes, 0xa000);
	assert_true(f->machine.mem.last_gpa == GUEST_MEM_HIGH + 0x4000);
	assert_int_equal(f->machine.mem.low[0x187fff], 0);
	assert_int_equal(f->machine.mem.low[0x188000], 0xaa);
}

static void pages_outside_memory_break_the_rules(void **state)
{
	struct device_fixture *f = *state;
	start(f, "{\"type\":\"balloon\"}");
	const uint32_t frames[] = { 0x180, 0x200 };
	assert_int_equal(device_fixture_ask(f, frames, sizeof(frames), 0), -1);
	assert_true(device_fixture_is_failed(f));
}

static void half_a_frame_number_breaks_the_rules(void **state)
{
	struct device_fixture *f = *state;
	start(f, "{\"type\":\"balloon\"}");
	const uint32_t frames[] = { 0x180, 0x181 };
	assert_int_equal(device_fixture_ask(f, frames, 6, 0), -1);
	assert_true(device_fixture_is_failed(f));
	assert_int_equal(f->machine.mem.discards, 0);
}

static void a_report_of_parts_of_pages_breaks_the_rules(void **state)
{
	struct device_fixture *f = *state;
	start(f, "{\"type\":\"balloon\"}");
	f->queue = REPORT;
	assert_int_equal(device_fixture_ask(f, NULL, 0, 100), -1);
	assert_true(device_fixture_is_failed(f));
}

static void too_many_frames_break_the_rules(void **state)
{
	struct device_fixture *f = *state;
	start(f, "{\"type\":\"balloon\"}");
	struct ring_driver *ring = &f->driver.rings[INFLATE];
	ring_driver_set(ring, ring->desc, 0, 0x100000, 4100, 0, 0);
	ring_driver_offer(ring, 0);
	pci_driver_kick(&f->driver, INFLATE);
	fake_machine_settle(&f->machine);
	assert_true(device_fixture_is_failed(f));
}

static void the_host_asks_and_the_guest_tells(void **state)
{
	struct device_fixture *f = *state;
	start(f, "{\"type\":\"balloon\",\"pages\":77}");
	uint64_t at = f->driver.device - f->driver.common;
	assert_int_equal(pci_driver_get(&f->driver, at, 4), 77);
	pci_driver_set(&f->driver, at + 4, 50, 4);
	pci_driver_set(&f->driver, at, 50, 4);
	pci_driver_set(&f->driver, at + 2, 50, 4);
	assert_int_equal(pci_driver_get(&f->driver, at, 8), UINT64_C(50) << 32 | 77);
	assert_int_equal(pci_driver_get(&f->driver, at + 8, 4), 0);
}

static void a_new_wish_interrupts_the_guest(void **state)
{
	struct device_fixture *f = *state;
	void *balloon;
	json *config = NULL;
	assert_int_equal(json_parse(V("{\"pages\":1}"), "test", &config, NULL), 0);
	assert_int_equal(virtio_balloon_create(config, &f->machine, &balloon, NULL), 0);
	json_object_put(config);
	assert_int_equal(virtio_new(&f->machine, &virtio_balloon_ops, balloon, NULL), 0);
	virtio_balloon_set_pages(balloon, 2);
	pci_driver_find(&f->driver, &f->machine, 1);
	pci_driver_start(&f->driver, UINT64_MAX, 32);
	fake_machine_settle(&f->machine);
	assert_int_equal(pci_driver_interrupts(&f->driver, 3), 0);
	virtio_balloon_set_pages(balloon, 9);
	assert_int_equal(pci_driver_interrupts(&f->driver, 3), 1);
	uint64_t at = f->driver.device - f->driver.common;
	assert_int_equal(pci_driver_get(&f->driver, at, 4), 9);
	pci_driver_set(&f->driver, at + 4, 9, 4);
	assert_int_equal(virtio_balloon_pages(balloon), 9);
	/* What a driver of before has given is forgotten with it. */
	pci_driver_set(&f->driver, VIRTIO_PCI_COMMON_STATUS, 0, 1);
	fake_machine_settle(&f->machine);
	assert_int_equal(virtio_balloon_pages(balloon), 0);
}

static void more_pages_than_numbers_are_refused(void **state)
{
	struct device_fixture *f = *state;
	struct err err = { 0 };
	assert_error(device_fixture_add(f, "{\"type\":\"balloon\",\"pages\":4294967296}", &err),
		ERR_INVALID, "4294967296 pages");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DEVICE(pages_in_the_balloon_are_given_back),
		IN_DEVICE(reported_pages_are_given_back),
		IN_DEVICE(pages_outside_memory_break_the_rules),
		IN_DEVICE(half_a_frame_number_breaks_the_rules),
		IN_DEVICE(a_report_of_parts_of_pages_breaks_the_rules),
		IN_DEVICE(too_many_frames_break_the_rules),
		IN_DEVICE(the_host_asks_and_the_guest_tells),
		IN_DEVICE(a_new_wish_interrupts_the_guest),
		IN_DEVICE(more_pages_than_numbers_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
