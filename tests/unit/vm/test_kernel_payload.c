#include "test.h"

#include "base/fd.h"
#include "vm/vm.h"

enum { SETUP_BYTES = 5 * 512, FILE_BYTES = 4096 };

struct image {
	char bytes[FILE_BYTES];
};

/* A bzImage whose payload is so many bytes behind its protected-mode part's start. */
static struct image image_with(const char *lead, uint32_t offset, uint32_t length)
{
	struct image image = { 0 };
	image.bytes[0x1f1] = 4;
	memcpy(image.bytes + 0x1fe, "\x55\xaa", 2);
	memcpy(image.bytes + 0x202, "HdrS", 4);
	memcpy(image.bytes + 0x206, "\x0f\x02", 2);
	memcpy(image.bytes + 0x248, &offset, 4);
	memcpy(image.bytes + 0x24c, &length, 4);
	if (offset < FILE_BYTES - SETUP_BYTES - 6)
		memcpy(image.bytes + SETUP_BYTES + offset, lead, strlen(lead));
	return image;
}

static struct vm_payload payload_of(const struct scratch *scratch, const struct image *image,
	size_t len)
{
	AUTO_CLOSE int fd = openat(scratch->fd, "k", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct vm_payload payload = { .size = 99 };
	struct err err = { 0 };
	assert_int_equal(fd_write_all(fd, image->bytes, len), 0);
	assert_int_equal(vm_kernel_payload(fd, &payload, &err), 0);
	return payload;
}

static void payload_is_found_by_what_it_begins_with(void **state)
{
	static const struct {
		const char *lead, *compression;
		uint64_t tail;
	} rows[] = { { "\x1f\x8b\x08", "gzip", 0 }, { "\x02\x21\x4c\x18", "lz4", 4 },
		{ "\xfd"
		  "7zXZ",
			"xz", 4 },
		{ "\x28\xb5\x2f\xfd", "zstd", 4 } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct image image = image_with(rows[i].lead, 100, 1000);
		struct vm_payload payload = payload_of(*state, &image, FILE_BYTES);
		assert_int_equal(payload.offset, SETUP_BYTES + 100);
		assert_int_equal(payload.size, 1000 - rows[i].tail);
		assert_string_equal(payload.compression, rows[i].compression);
	}
	/* A count of zero sectors means four. */
	struct image image = image_with("\x1f\x8b", 100, 1000);
	image.bytes[0x1f1] = 0;
	assert_int_equal(payload_of(*state, &image, FILE_BYTES).offset, SETUP_BYTES + 100);
}

static void other_files_have_none(void **state)
{
	struct image lzma = image_with("\x5d\x00\x00\x80", 100, 1000);
	assert_int_equal(payload_of(*state, &lzma, FILE_BYTES).size, 0);
	struct image image = image_with("\x1f\x8b", 100, 1000);
	assert_int_equal(payload_of(*state, &image, 0x24f).size, 0);
	assert_int_equal(payload_of(*state, &image, 0).size, 0);
	memcpy(image.bytes + 0x206, "\x07\x02", 2); /* too old to say */
	assert_int_equal(payload_of(*state, &image, FILE_BYTES).size, 0);
	struct image elf = image_with("\x1f\x8b", 100, 1000);
	memcpy(elf.bytes + 0x202, "none", 4);
	assert_int_equal(payload_of(*state, &elf, FILE_BYTES).size, 0);
}

static void payload_outside_of_the_file_is_none(void **state)
{
	const uint32_t bad[][2] = { { 100, FILE_BYTES }, { UINT32_MAX, 1000 }, { 100, UINT32_MAX },
		{ FILE_BYTES - SETUP_BYTES, 6 }, { 100, 0 }, { 100, 5 } };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct image image = image_with("\x1f\x8b", bad[i][0], bad[i][1]);
		assert_int_equal(payload_of(*state, &image, FILE_BYTES).size, 0);
	}
	struct image last = image_with("\x1f\x8b", 100, FILE_BYTES - SETUP_BYTES - 100);
	assert_int_equal(payload_of(*state, &last, FILE_BYTES).size,
		FILE_BYTES - SETUP_BYTES - 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SCRATCH(payload_is_found_by_what_it_begins_with),
		IN_SCRATCH(other_files_have_none),
		IN_SCRATCH(payload_outside_of_the_file_is_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
