/* tar_write - what it writes is what tar reads, and the same each time. */
#include "layer/layer.h"

#include "layer/tar_header.h"

#include "test.h"

static size_t written(int fd, char *bytes, size_t max)
{
	ssize_t len = pread(fd, bytes, max, 0);
	assert_true(len >= 0);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return (size_t)len;
}

static void folders_and_files_are_whole_blocks(void **state)
{
	const struct scratch *scratch = *state;
	char bytes[8192];
	AUTO_CLOSE int fd = openat(scratch->fd, "a", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(tar_write_folder(fd, "a/b/"), 0);
	assert_int_equal(tar_write_bytes(fd, "a/b/c", V("content")), 0);
	assert_int_equal(tar_write_bytes(fd, "empty", V("")), 0);
	assert_int_equal(tar_write_end(fd), 0);
	assert_int_equal(written(fd, bytes, sizeof(bytes)), 512 + 1024 + 512 + 1024);
	const struct tar_header *folder = (const void *)bytes, *file = folder + 1;
	int64_t number;
	assert_true(tar_header_checksum_is_right(folder) && tar_header_checksum_is_right(file));
	assert_int_equal(tar_header_format(folder), TAR_USTAR);
	assert_true(folder->type == '5' && file->type == '0');
	assert_string_equal(file->name, "a/b/c");
	assert_int_equal(tar_number(file->mode, sizeof(file->mode), &number), 0);
	assert_int_equal(number, 0644);
	assert_int_equal(tar_number(file->mtime, sizeof(file->mtime), &number), 0);
	assert_int_equal(number, 0);
	assert_int_equal(tar_number(file->size, sizeof(file->size), &number), 0);
	assert_int_equal(number, 7);
	assert_memory_equal(file + 1, "content\0", 8);
}

static void sizes_of_any_length_are_read_back(void **state)
{
	static const uint64_t sizes[] = { 0, 511, (UINT64_C(1) << 33) - 1, UINT64_C(1) << 33,
		UINT64_C(1) << 50 };
	const struct scratch *scratch = *state;
	AUTO_CLOSE int fd = openat(scratch->fd, "a", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct tar_header header;
		int64_t number;
		assert_int_equal(tar_write_file(fd, "name", sizes[i]), 0);
		assert_int_equal(written(fd, (char *)&header, sizeof(header)), sizeof(header));
		assert_true(tar_header_checksum_is_right(&header));
		assert_int_equal(tar_number(header.size, sizeof(header.size), &number), 0);
		assert_int_equal(number, sizes[i]);
		assert_int_equal(tar_write_padding(fd, sizes[i]), 0);
		char bytes[512];
		assert_int_equal(written(fd, bytes, sizeof(bytes)), (512 - sizes[i] % 512) % 512);
	}
}

static void what_does_not_fit_is_refused(void **state)
{
	(void)state;
	char name[101] = { 0 };
	memset(name, 'n', 100);
	assert_int_equal(tar_write_file(-1, name, 0), -ENAMETOOLONG);
	assert_int_equal(tar_write_file(-1, "name", 0), -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SCRATCH(folders_and_files_are_whole_blocks),
		IN_SCRATCH(sizes_of_any_length_are_read_back),
		cmocka_unit_test(what_does_not_fit_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
