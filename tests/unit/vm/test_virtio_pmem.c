#include "device_fixture.h"

#include <linux/virtio_pmem.h>
#include <sys/mman.h>

#define WINDOW (UINT64_C(2) << 20)

static int make_file(uint64_t size)
{
	int fd = memfd_create("pmem", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	assert_int_equal(pwrite(fd, "begin", 5, 0), 5);
	assert_int_equal(pwrite(fd, "end", 3, (off_t)size - 3), 3);
	return fd;
}

static void start(struct device_fixture *f, uint64_t size, const char *more)
{
	AUTO_FREE char *config =
		text_format("{\"type\":\"pmem\",\"fd\":%d%s}", make_file(size), more);
	device_fixture_start(f, config, UINT64_MAX);
}

static void a_file_is_memory_with_zeros_behind_it(void **state)
{
	struct device_fixture *f = *state;
	uint64_t size = WINDOW + 5000;
	start(f, size, "");
	assert_int_equal(f->machine.cpu.maps_len, 1);
	assert_int_equal(f->machine.cpu.maps[0].size, 2 * WINDOW);
	assert_true(f->machine.cpu.maps[0].is_read_only);
	assert_true(f->machine.cpu.maps[0].gpa % WINDOW == 0);
	const uint8_t *host = f->machine.cpu.maps[0].host;
	assert_true((uintptr_t)host % WINDOW == 0);
	assert_memory_equal(host, "begin", 5);
	assert_memory_equal(host + size - 3, "end", 3);
	for (uint64_t at = size; at < 2 * WINDOW; at++)
		assert_int_equal(host[at], 0);
	uint64_t at = f->driver.device - f->driver.common;
	assert_true(pci_driver_get(&f->driver, at, 8) == f->machine.cpu.maps[0].gpa);
	assert_true(pci_driver_get(&f->driver, at + 8, 8) == 2 * WINDOW);
}

static void a_flush_is_answered(void **state)
{
	struct device_fixture *f = *state;
	start(f, WINDOW, ",\"readonly\":false");
	assert_false(f->machine.cpu.maps[0].is_read_only);
	struct virtio_pmem_req request = { .type = VIRTIO_PMEM_REQ_TYPE_FLUSH };
	assert_int_equal(device_fixture_ask(f, &request, sizeof(request), 4), 4);
	assert_memory_equal(device_fixture_answer(f), "\0\0\0\0", 4);
	request.type = 7;
	assert_int_equal(device_fixture_ask(f, &request, sizeof(request), 4), 4);
	assert_memory_equal(device_fixture_answer(f), "\xff\xff\xff\xff", 4);
	assert_int_equal(device_fixture_ask(f, &request, 3, 4), -1);
	assert_true(device_fixture_is_failed(f));
}

static void a_request_without_room_for_its_answer_breaks_the_rules(void **state)
{
	struct device_fixture *f = *state;
	start(f, WINDOW, "");
	struct virtio_pmem_req request = { .type = VIRTIO_PMEM_REQ_TYPE_FLUSH };
	assert_int_equal(device_fixture_ask(f, &request, sizeof(request), 3), -1);
	assert_true(device_fixture_is_failed(f));
}

static void a_request_may_name_it_as_what_is_read(void **state)
{
	struct device_fixture *f = *state;
	start(f, WINDOW, "");
	uint64_t gpa = f->machine.cpu.maps[0].gpa;
	struct ring_driver *ring = &f->driver.rings[0];
	struct virtq queue = { .desc = ring->desc,
		.avail = ring->avail,
		.used = ring->used,
		.size = ring->size };
	struct virtq_chain chain;
	assert_int_equal(virtq_activate(&queue, &f->machine.mem, false), 0);
	ring_driver_set(ring, ring->desc, 0, gpa, 5, 0, 0);
	ring_driver_offer(ring, 0);
	assert_int_equal(virtq_next(&queue, &chain), 1);
	char bytes[5];
	assert_int_equal(virtq_copy_in(&chain, 0, bytes, 5), 5);
	assert_memory_equal(bytes, "begin", 5);
	/* Not beyond its end, and not as what is written. */
	ring_driver_set(ring, ring->desc, 0, gpa + WINDOW - 4, 5, 0, 0);
	ring_driver_offer(ring, 0);
	assert_int_equal(virtq_next(&queue, &chain), -EPROTO);
	queue.is_broken = false;
	ring_driver_set(ring, ring->desc, 0, gpa, 5, VRING_DESC_F_WRITE, 0);
	assert_int_equal(virtq_next(&queue, &chain), -EPROTO);
}

static void what_cannot_be_memory_is_refused(void **state)
{
	struct device_fixture *f = *state;
	struct err err = { 0 };
	AUTO_FREE char *part = text_format("{\"type\":\"pmem\",\"fd\":%d,\"readonly\":false}",
		make_file(WINDOW + 4096));
	assert_error(device_fixture_add(f, part, &err), ERR_INVALID, "whole 2097152 bytes");
	AUTO_FREE char *empty =
		text_format("{\"type\":\"pmem\",\"fd\":%d}", memfd_create("empty", MFD_CLOEXEC));
	assert_error(device_fixture_add(f, empty, &err), ERR_INVALID, "what becomes memory");
	assert_error(device_fixture_add(f, "{\"type\":\"pmem\"}", &err), ERR_INVALID,
		"names no open descriptor");
	int fd = make_file(4096);
	AUTO_FREE char *many = text_format("{\"type\":\"pmem\",\"fd\":%d}", fd);
	f->machine.cpu.maps_len = FAKE_MAPS_MAX;
	assert_error(device_fixture_add(f, many, &err), ERR_LIMIT, "no more mappings");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DEVICE(a_file_is_memory_with_zeros_behind_it),
		IN_DEVICE(a_flush_is_answered),
		IN_DEVICE(a_request_without_room_for_its_answer_breaks_the_rules),
		IN_DEVICE(a_request_may_name_it_as_what_is_read),
		IN_DEVICE(what_cannot_be_memory_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
