#include "device_fixture.h"

#include <linux/virtio_blk.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { SECTORS = 64, SECTOR = 512 };

struct request {
	struct virtio_blk_outhdr header;
	uint8_t data[4 * SECTOR];
};

struct disk {
	int fd; /* the test's own */
};

static void start(struct device_fixture *f, struct disk *disk, const char *more, uint64_t features)
{
	disk->fd = memfd_create("disk", MFD_CLOEXEC);
	assert_int_equal(ftruncate(disk->fd, SECTORS * SECTOR + 100), 0);
	for (unsigned i = 0; i < SECTORS; i++) {
		uint8_t sector[SECTOR];
		memset(sector, (int)i + 1, sizeof(sector));
		assert_int_equal(pwrite(disk->fd, sector, SECTOR, i * SECTOR), SECTOR);
	}
	AUTO_FREE char *config =
		text_format("{\"type\":\"block\",\"fd\":%d%s}", dup(disk->fd), more);
	device_fixture_start(f, config, features);
}

static void finish(const struct disk *disk)
{
	(void)close(disk->fd);
}

/* A request without data of its own; the status that it got. */
static int ask(struct device_fixture *f, uint32_t type, uint64_t sector, const void *data,
	uint32_t data_len, uint32_t answer_len)
{
	struct request request = { .header = { .type = type, .sector = sector } };
	if (data_len > 0)
		memcpy(request.data, data, data_len);
	int64_t written = device_fixture_ask(f, &request,
		(uint32_t)sizeof(request.header) + data_len, answer_len + 1);
	if (written < 0)
		return -1;
	return device_fixture_answer(f)[answer_len];
}

static uint8_t byte_at(const struct disk *disk, uint64_t offset)
{
	uint8_t byte = 0;
	assert_int_equal(pread(disk->fd, &byte, 1, (off_t)offset), 1);
	return byte;
}

static void sectors_are_read_and_written(void **state)
{
	struct device_fixture *f = *state;
	struct disk disk;
	start(f, &disk, "", UINT64_MAX);
	struct virtio_blk_outhdr header = { .type = VIRTIO_BLK_T_IN, .sector = 3 };
	assert_int_equal(device_fixture_ask(f, &header, sizeof(header), 2 * SECTOR + 1),
		2 * SECTOR + 1);
	const uint8_t *answer = device_fixture_answer(f);
	assert_int_equal(answer[0], 4);
	assert_int_equal(answer[SECTOR], 5);
	assert_int_equal(answer[2 * SECTOR], VIRTIO_BLK_S_OK);

	uint8_t data[SECTOR];
	memset(data, 0xab, sizeof(data));
	assert_int_equal(ask(f, VIRTIO_BLK_T_OUT, SECTORS - 1, data, SECTOR, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(byte_at(&disk, (SECTORS - 1) * SECTOR), 0xab);
	assert_int_equal(byte_at(&disk, SECTORS * SECTOR), 0);
	assert_int_equal(ask(f, VIRTIO_BLK_T_FLUSH, 0, NULL, 0, 0), VIRTIO_BLK_S_OK);
	finish(&disk);
}

static void the_end_of_a_request_may_be_the_status_alone(void **state)
{
	struct device_fixture *f = *state;
	struct disk disk;
	start(f, &disk, "", UINT64_MAX);
	struct ring_driver *ring = &f->driver.rings[0];
	struct virtio_blk_outhdr header = { .type = VIRTIO_BLK_T_IN, .sector = 1 };
	uint8_t *low = f->machine.mem.low;
	/* The header in two, data of odd pieces, the status behind them. */
	memcpy(low + 0x1000, &header, sizeof(header));
	ring_driver_set(ring, ring->desc, 0, 0x1000, 5, VRING_DESC_F_NEXT, 1);
	ring_driver_set(ring, ring->desc, 1, 0x1005, 11, VRING_DESC_F_NEXT, 2);
	ring_driver_set(ring, ring->desc, 2, 0x3000, 1, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 3);
	ring_driver_set(ring, ring->desc, 3, 0x4000, 511, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE,
		4);
	ring_driver_set(ring, ring->desc, 4, 0x5000, 1, VRING_DESC_F_WRITE, 0);
	low[0x5000] = 0xff;
	ring_driver_offer(ring, 0);
	pci_driver_kick(&f->driver, 0);
	fake_machine_settle(&f->machine);
	assert_int_equal(pci_driver_take(&f->driver, 0), 513);
	assert_int_equal(low[0x3000], 2);
	assert_int_equal(low[0x4000 + 510], 2);
	assert_int_equal(low[0x4000 + 511], 0);
	assert_int_equal(low[0x5000], VIRTIO_BLK_S_OK);
	finish(&disk);
}

static void the_configuration_tells_size_and_limits(void **state)
{
	struct device_fixture *f = *state;
	struct disk disk;
	start(f, &disk, "", UINT64_MAX);
	uint64_t at = f->driver.device - f->driver.common;
	assert_int_equal(pci_driver_get(&f->driver, at, 8), SECTORS);
	assert_int_equal(pci_driver_get(&f->driver,
				 at + offsetof(struct virtio_blk_config, seg_max), 4),
		VIRTQ_CHAIN_MAX - 2);
	finish(&disk);
}

static void sectors_beyond_the_end_are_errors(void **state)
{
	struct device_fixture *f = *state;
	struct disk disk;
	uint8_t data[SECTOR] = { 0 };
	start(f, &disk, "", UINT64_MAX);
	assert_int_equal(ask(f, VIRTIO_BLK_T_IN, SECTORS, NULL, 0, SECTOR), VIRTIO_BLK_S_IOERR);
	assert_int_equal(ask(f, VIRTIO_BLK_T_IN, SECTORS - 1, NULL, 0, 2 * SECTOR),
		VIRTIO_BLK_S_IOERR);
	assert_int_equal(ask(f, VIRTIO_BLK_T_IN, UINT64_MAX, NULL, 0, SECTOR), VIRTIO_BLK_S_IOERR);
	assert_int_equal(ask(f, VIRTIO_BLK_T_IN, UINT64_MAX / SECTOR + 1, NULL, 0, SECTOR),
		VIRTIO_BLK_S_IOERR);
	assert_int_equal(ask(f, VIRTIO_BLK_T_OUT, SECTORS, data, SECTOR, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(ask(f, VIRTIO_BLK_T_OUT, 0, data, SECTOR - 1, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(ask(f, VIRTIO_BLK_T_IN, 0, NULL, 0, SECTOR + 1), VIRTIO_BLK_S_IOERR);
	/* Nothing at all is no error. */
	assert_int_equal(ask(f, VIRTIO_BLK_T_IN, 0, NULL, 0, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(ask(f, 77, 0, NULL, 0, 0), VIRTIO_BLK_S_UNSUPP);
	struct stat status;
	assert_int_equal(fstat(disk.fd, &status), 0);
	assert_int_equal(status.st_size, SECTORS * SECTOR + 100);
	assert_false(device_fixture_is_failed(f));
	finish(&disk);
}

static void a_file_that_was_cut_gives_errors(void **state)
{
	struct device_fixture *f = *state;
	struct disk disk;
	start(f, &disk, "", UINT64_MAX);
	assert_int_equal(ftruncate(disk.fd, SECTOR), 0);
	assert_int_equal(ask(f, VIRTIO_BLK_T_IN, 0, NULL, 0, 2 * SECTOR), VIRTIO_BLK_S_IOERR);
	assert_int_equal(ask(f, VIRTIO_BLK_T_IN, 0, NULL, 0, SECTOR), VIRTIO_BLK_S_OK);
	finish(&disk);
}

static void a_disk_tells_its_serial(void **state)
{
	struct device_fixture *f = *state;
	struct disk disk;
	start(f, &disk, ",\"serial\":\"layer-7\"", UINT64_MAX);
	assert_int_equal(ask(f, VIRTIO_BLK_T_GET_ID, 0, NULL, 0, VIRTIO_BLK_ID_BYTES),
		VIRTIO_BLK_S_OK);
	assert_memory_equal(device_fixture_answer(f), "layer-7\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
	finish(&disk);
}

static void a_read_only_disk_is_not_written(void **state)
{
	struct device_fixture *f = *state;
	struct disk disk;
	uint8_t data[SECTOR] = { 0 };
	start(f, &disk, ",\"readonly\":true", UINT64_MAX);
	assert_int_equal(pci_driver_features(&f->driver) >> VIRTIO_BLK_F_RO & 1, 1);
	assert_int_equal(pci_driver_features(&f->driver) >> VIRTIO_BLK_F_DISCARD & 1, 0);
	const struct virtio_blk_discard_write_zeroes range = { .sector = 0, .num_sectors = 8 };
	assert_int_equal(ask(f, VIRTIO_BLK_T_OUT, 0, data, SECTOR, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(ask(f, VIRTIO_BLK_T_DISCARD, 0, &range, sizeof(range), 0),
		VIRTIO_BLK_S_IOERR);
	assert_int_equal(ask(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, &range, sizeof(range), 0),
		VIRTIO_BLK_S_IOERR);
	assert_int_equal(ask(f, VIRTIO_BLK_T_FLUSH, 0, NULL, 0, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(byte_at(&disk, 0), 1);
	finish(&disk);
}

static void ranges_are_cleared_within_their_limits(void **state)
{
	struct device_fixture *f = *state;
	struct disk disk;
	struct virtio_blk_discard_write_zeroes ranges[17] = { { 8, 8, 0 }, { 24, 1, 0 } };
	start(f, &disk, "", UINT64_MAX);
	assert_int_equal(ask(f, VIRTIO_BLK_T_DISCARD, 0, ranges, 32, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(byte_at(&disk, 8 * SECTOR), 0);
	assert_int_equal(byte_at(&disk, 16 * SECTOR), 17);
	assert_int_equal(byte_at(&disk, 24 * SECTOR), 0);
	assert_int_equal(byte_at(&disk, 25 * SECTOR), 26);
	/* Not every file system can write zeros; a hole reads as them. */
	ranges[0].sector = 32;
	assert_int_equal(ask(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, ranges, 16, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(byte_at(&disk, 32 * SECTOR), 0);
	ranges[0].sector = 40;
	ranges[0].flags = VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
	assert_int_equal(ask(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, ranges, 16, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(byte_at(&disk, 40 * SECTOR), 0);

	assert_int_equal(ask(f, VIRTIO_BLK_T_DISCARD, 0, ranges, 16, 0), VIRTIO_BLK_S_UNSUPP);
	ranges[0].flags = 2;
	assert_int_equal(ask(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, ranges, 16, 0), VIRTIO_BLK_S_UNSUPP);
	ranges[0] = (struct virtio_blk_discard_write_zeroes){ SECTORS, 1, 0 };
	assert_int_equal(ask(f, VIRTIO_BLK_T_DISCARD, 0, ranges, 16, 0), VIRTIO_BLK_S_IOERR);
	ranges[0] = (struct virtio_blk_discard_write_zeroes){ UINT64_MAX, UINT32_MAX, 0 };
	assert_int_equal(ask(f, VIRTIO_BLK_T_DISCARD, 0, ranges, 16, 0), VIRTIO_BLK_S_IOERR);
	ranges[0] = (struct virtio_blk_discard_write_zeroes){ 0 };
	assert_int_equal(ask(f, VIRTIO_BLK_T_DISCARD, 0, ranges, 16, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(ask(f, VIRTIO_BLK_T_DISCARD, 0, ranges, 17, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(ask(f, VIRTIO_BLK_T_DISCARD, 0, NULL, 0, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(ask(f, VIRTIO_BLK_T_DISCARD, 0, ranges, sizeof(ranges), 0),
		VIRTIO_BLK_S_IOERR);
	struct stat status;
	assert_int_equal(fstat(disk.fd, &status), 0);
	assert_int_equal(status.st_size, SECTORS * SECTOR + 100);
	finish(&disk);
}

static void a_request_without_header_or_status_breaks_the_rules(void **state)
{
	struct device_fixture *f = *state;
	struct disk disk;
	start(f, &disk, "", UINT64_MAX);
	struct virtio_blk_outhdr header = { .type = VIRTIO_BLK_T_FLUSH };
	assert_int_equal(device_fixture_ask(f, &header, sizeof(header) - 1, 1), -1);
	assert_true(device_fixture_is_failed(f));
	finish(&disk);
}

static void a_request_without_status_breaks_the_rules(void **state)
{
	struct device_fixture *f = *state;
	struct disk disk;
	start(f, &disk, "", UINT64_MAX);
	struct virtio_blk_outhdr header = { .type = VIRTIO_BLK_T_FLUSH };
	assert_int_equal(device_fixture_ask(f, &header, sizeof(header), 0), -1);
	assert_true(device_fixture_is_failed(f));
	finish(&disk);
}

static void what_cannot_be_a_disk_is_refused(void **state)
{
	struct device_fixture *f = *state;
	struct err err = { 0 };
	assert_error(device_fixture_add(f, "{\"type\":\"block\"}", &err), ERR_INVALID,
		"device block: fd names no open descriptor");
	assert_error(device_fixture_add(f, "{\"type\":\"block\",\"fd\":99999}", &err), ERR_INVALID,
		"no open descriptor");
	int ends[2];
	assert_int_equal(pipe(ends), 0);
	AUTO_FREE char *pipe_config = text_format("{\"type\":\"block\",\"fd\":%d}", ends[0]);
	assert_error(device_fixture_add(f, pipe_config, &err), ERR_INVALID, "a file or a block");
	(void)close(ends[1]);
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	AUTO_FREE char *config = text_format("{\"type\":\"block\",\"fd\":%d}", fd);
	assert_error(device_fixture_add(f, config, &err), ERR_INVALID, "not open for that");
	fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	AUTO_FREE char *serial = text_format("{\"type\":\"block\",\"fd\":%d,\"readonly\":true,"
					     "\"serial\":\"123456789012345678901\"}",
		fd);
	assert_error(device_fixture_add(f, serial, &err), ERR_INVALID, "at most 20 bytes");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DEVICE(sectors_are_read_and_written),
		IN_DEVICE(the_end_of_a_request_may_be_the_status_alone),
		IN_DEVICE(the_configuration_tells_size_and_limits),
		IN_DEVICE(sectors_beyond_the_end_are_errors),
		IN_DEVICE(a_file_that_was_cut_gives_errors),
		IN_DEVICE(a_disk_tells_its_serial),
		IN_DEVICE(a_read_only_disk_is_not_written),
		IN_DEVICE(ranges_are_cleared_within_their_limits),
		IN_DEVICE(a_request_without_header_or_status_breaks_the_rules),
		IN_DEVICE(a_request_without_status_breaks_the_rules),
		IN_DEVICE(what_cannot_be_a_disk_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
