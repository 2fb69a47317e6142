#include "layer/layer.h"

#include "base/mem.h"

#include "tar_bytes.h"
#include "test.h"

#define CONTENT_BYTES (((size_t)20 << 20) + 123)

static uint32_t crc32_of(const char *bytes, size_t len)
{
	uint32_t crc = ~0u;
	for (size_t i = 0; i < len; i++) {
		crc ^= (uint8_t)bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return ~crc;
}

/* A gzip member with all optional header fields and one stored block (RFC 1951, 1952). */
static void gzip_add(struct text *out, const char *bytes, uint16_t len)
{
	static const char header[] = "\x1f\x8b\x08\x1c\0\0\0\0\0\xff\3\0abcname\0comment";
	uint16_t inverse = (uint16_t)~len;
	uint32_t crc = crc32_of(bytes, len), size = len;
	text_add(out, header, sizeof(header));
	text_add(out, "\1", 1);
	text_add(out, (const char *)&len, 2);
	text_add(out, (const char *)&inverse, 2);
	text_add(out, bytes, len);
	text_add(out, (const char *)&crc, 4);
	text_add(out, (const char *)&size, 4);
}

static void archive_make(struct text *archive)
{
	char content[5000];
	memset(content, 'x', sizeof(content));
	tar_bytes_add(archive, "dir/", '5', "", 0);
	tar_bytes_add(archive, "dir/file", '0', content, sizeof(content));
	tar_bytes_add_link(archive, "dir/link", '1', "dir/file");
	tar_bytes_add_link(archive, "symlink", '2', "dir/file");
	tar_bytes_add(archive, "dir/.wh.gone", '0', "", 0);
	tar_bytes_end(archive);
}

static int convert(const struct text *blob, enum layer_compression compression, int *ret_image,
	struct layer_result *result, struct err *err)
{
	AUTO_CLOSE int source = tar_bytes_file(blob);
	*ret_image = memfd_create("image", MFD_CLOEXEC);
	struct layer_job job = {
		.source_fd = source,
		.size = UINT64_MAX,
		.compression = compression,
		.blob_fd = -1,
		.erofs_fd = *ret_image,
	};
	return layer_convert(&job, result, err);
}

static bool files_are_equal(int a, int b)
{
	AUTO_DONE(text) left = { 0 };
	AUTO_DONE(text) right = { 0 };
	assert_true(lseek(a, 0, SEEK_SET) == 0 && lseek(b, 0, SEEK_SET) == 0);
	assert_int_equal(fd_read_text(a, 64 << 20, "image", &left, NULL), 0);
	assert_int_equal(fd_read_text(b, 64 << 20, "image", &right, NULL), 0);
	return left.len == right.len && memcmp(left.data, right.data, left.len) == 0;
}

static void the_image_is_the_same_however_the_blob_is_compressed(void **state)
{
	(void)state;
	AUTO_DONE(text) archive = { 0 };
	AUTO_DONE(text) members = { 0 };
	archive_make(&archive);
	gzip_add(&members, archive.data, 3000);
	gzip_add(&members, archive.data + 3000, (uint16_t)(archive.len - 3000));
	text_add(&members, "\0\0\0\0\0", 5);

	AUTO_CLOSE int plain = -1;
	AUTO_CLOSE int zipped = -1;
	struct layer_result a, b;
	assert_int_equal(convert(&archive, LAYER_PLAIN, &plain, &a, NULL), 0);
	assert_int_equal(convert(&members, LAYER_GZIP, &zipped, &b, NULL), 0);
	assert_true(digest_is(&a.diff_id, &b.diff_id) && !digest_is(&b.blob, &b.diff_id));
	assert_true(digest_is(&a.diff_id, &a.blob));
	assert_true(a.entries == 5 && a.tar_bytes == archive.len && b.blob_bytes == members.len);
	assert_true(files_are_equal(plain, zipped));
}

/* Longer than a ring and than a step of durable_begin(), in a file system with a disk below it. */
static void a_long_blob_is_kept_byte_for_byte(void **state)
{
	const struct scratch *scratch = *state;
	AUTO_DONE(text) archive = { 0 };
	AUTO_FREE char *content = mem_new(1, CONTENT_BYTES);
	for (size_t i = 0; i < CONTENT_BYTES; i++)
		content[i] = (char)(i * 31 + i / 4099);
	tar_bytes_add(&archive, "small", '0', content, 4097);
	tar_bytes_add(&archive, "large", '0', content, CONTENT_BYTES);
	tar_bytes_end(&archive);

	AUTO_CLOSE int source = tar_bytes_file(&archive);
	AUTO_CLOSE int blob = openat(scratch->fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	AUTO_CLOSE int image = openat(scratch->fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	const struct layer_job job = {
		.source_fd = source,
		.size = UINT64_MAX,
		.blob_fd = blob,
		.erofs_fd = image,
	};
	struct layer_result result;
	struct err err = { 0 };
	assert_int_equal(layer_convert(&job, &result, &err), 0);
	assert_true(result.blob_bytes == archive.len && digest_is(&result.blob, &result.diff_id));
	assert_true(files_are_equal(source, blob));
	/* Each file starts at a block, the first behind the superblock's. */
	AUTO_FREE char *found = mem_new(1, CONTENT_BYTES);
	assert_int_equal(fd_pread_exact(image, found, CONTENT_BYTES, (uint64_t)3 * 4096), 0);
	assert_memory_equal(found, content, CONTENT_BYTES);
}

static void every_damaged_byte_of_a_gzip_trailer_is_found(void **state)
{
	(void)state;
	AUTO_DONE(text) archive = { 0 };
	archive_make(&archive);
	for (size_t back = 1; back <= 8; back++) {
		AUTO_DONE(text) blob = { 0 };
		gzip_add(&blob, archive.data, (uint16_t)archive.len);
		blob.data[blob.len - back] ^= 1;
		AUTO_CLOSE int image = -1;
		struct layer_result result;
		struct err err = { 0 };
		assert_true(convert(&blob, LAYER_GZIP, &image, &result, &err) < 0);
		assert_int_equal(err.kind, ERR_DAMAGED);
	}
}

static void a_blob_cut_anywhere_is_refused(void **state)
{
	(void)state;
	AUTO_DONE(text) archive = { 0 };
	AUTO_DONE(text) blob = { 0 };
	archive_make(&archive);
	gzip_add(&blob, archive.data, (uint16_t)archive.len);
	for (size_t len = 0; len < blob.len; len += len < 40 || len > blob.len - 40 ? 1 : 97) {
		struct text cut = { blob.data, len, 0 };
		AUTO_CLOSE int image = -1;
		struct layer_result result;
		assert_true(convert(&cut, LAYER_GZIP, &image, &result, NULL) < 0);
	}
}

static void garbage_after_the_last_member_is_refused(void **state)
{
	(void)state;
	AUTO_DONE(text) archive = { 0 };
	AUTO_DONE(text) blob = { 0 };
	archive_make(&archive);
	gzip_add(&blob, archive.data, (uint16_t)archive.len);
	text_add(&blob, "\0\0x", 3);
	AUTO_CLOSE int image = -1;
	struct layer_result result;
	struct err err = { 0 };
	assert_true(convert(&blob, LAYER_GZIP, &image, &result, &err) < 0);
	assert_int_equal(err.kind, ERR_DAMAGED);
}

static void a_full_disk_is_told_as_such(void **state)
{
	(void)state;
	AUTO_DONE(text) archive = { 0 };
	archive_make(&archive);
	AUTO_CLOSE int source = tar_bytes_file(&archive);
	AUTO_CLOSE int image = memfd_create("image", MFD_CLOEXEC);
	AUTO_CLOSE int full = open("/dev/full", O_RDWR | O_CLOEXEC);
	struct layer_job job = { .source_fd = source,
		.size = UINT64_MAX,
		.blob_fd = full,
		.erofs_fd = image };
	struct layer_result result;
	struct err err = { 0 };
	assert_true(layer_convert(&job, &result, &err) < 0);
	assert_int_equal(err.kind, ERR_NO_SPACE);
	job.blob_fd = -1;
	job.erofs_fd = full;
	assert_true(layer_convert(&job, &result, &err) < 0);
	assert_int_equal(err.kind, ERR_NO_SPACE);
}

static void compression_is_detected_by_the_first_bytes(void **state)
{
	(void)state;
	static const struct {
		const char *bytes;
		enum layer_compression compression;
	} cases[] = {
		{ "__\x1f\x8b", LAYER_GZIP },
		{ "__\x28\xb5\x2f\xfd", LAYER_ZSTD },
		{ "__dir/", LAYER_PLAIN },
		{ "__", LAYER_PLAIN },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO_DONE(text) text = { 0 };
		text_puts(&text, cases[i].bytes);
		AUTO_CLOSE int fd = tar_bytes_file(&text);
		enum layer_compression found;
		assert_int_equal(layer_detect(fd, 2, &found, NULL), 0);
		assert_int_equal(found, cases[i].compression);
	}
}

static int note_member(void *context, const struct layer_member *member, struct err *err)
{
	(void)err;
	text_printf(context, "%c %s %s %ju@%ju\n", member->type, member->name, member->link_name,
		(uintmax_t)member->size, (uintmax_t)member->offset);
	return 0;
}

static void scan_reports_every_member_with_its_place(void **state)
{
	(void)state;
	AUTO_DONE(text) archive = { 0 };
	AUTO_DONE(text) notes = { 0 };
	archive_make(&archive);
	AUTO_CLOSE int fd = tar_bytes_file(&archive);
	assert_int_equal(layer_scan(fd, note_member, &notes, NULL), 0);
	assert_string_equal(text_string(&notes), "5 dir/  0@512\n"
						 "0 dir/file  5000@1024\n"
						 "1 dir/link dir/file 0@6656\n"
						 "2 symlink dir/file 0@7168\n"
						 "0 dir/.wh.gone  0@7680\n");
}

static void scan_refuses_a_member_that_is_cut(void **state)
{
	(void)state;
	AUTO_DONE(text) archive = { 0 };
	AUTO_DONE(text) notes = { 0 };
	archive_make(&archive);
	archive.len = 2000;
	AUTO_CLOSE int fd = tar_bytes_file(&archive);
	struct err err = { 0 };
	assert_true(layer_scan(fd, note_member, &notes, &err) < 0);
	assert_int_equal(err.kind, ERR_DAMAGED);
}

static void merging_the_same_layers_gives_the_same_bytes(void **state)
{
	(void)state;
	AUTO_DONE(text) archive = { 0 };
	archive_make(&archive);
	AUTO_CLOSE int image = -1;
	AUTO_CLOSE int first = memfd_create("merged", MFD_CLOEXEC);
	AUTO_CLOSE int second = memfd_create("merged", MFD_CLOEXEC);
	struct layer_result result;
	uint64_t bytes;
	assert_int_equal(convert(&archive, LAYER_PLAIN, &image, &result, NULL), 0);
	const int layers[] = { image, image, image };
	assert_int_equal(layer_merge(layers, 3, first, &bytes, NULL), 0);
	assert_int_equal(layer_merge(layers, 3, second, &bytes, NULL), 0);
	assert_true(files_are_equal(first, second));
	struct err err = { 0 };
	assert_true(layer_merge(layers, 0, first, &bytes, &err) < 0);
	assert_int_equal(err.kind, ERR_LIMIT);
}

/* Each byte of the metadata in turn: an error or an image, never a crash. */
static void merging_survives_any_flipped_byte(void **state)
{
	(void)state;
	AUTO_DONE(text) archive = { 0 };
	archive_make(&archive);
	AUTO_CLOSE int image = -1;
	struct layer_result result;
	assert_int_equal(convert(&archive, LAYER_PLAIN, &image, &result, NULL), 0);
	for (uint64_t at = 1024; at < result.erofs_bytes;
		at += at < 1152 || at >= 12288 ? 5 : 509) {
		AUTO_CLOSE int merged = memfd_create("merged", MFD_CLOEXEC);
		uint8_t byte, flipped;
		uint64_t bytes;
		assert_int_equal(fd_pread_exact(image, &byte, 1, at), 0);
		flipped = (uint8_t)~byte;
		assert_int_equal(fd_pwrite_all(image, &flipped, 1, at), 0);
		(void)!layer_merge(&image, 1, merged, &bytes, NULL);
		assert_int_equal(fd_pwrite_all(image, &byte, 1, at), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_image_is_the_same_however_the_blob_is_compressed),
		IN_SCRATCH(a_long_blob_is_kept_byte_for_byte),
		cmocka_unit_test(every_damaged_byte_of_a_gzip_trailer_is_found),
		cmocka_unit_test(a_blob_cut_anywhere_is_refused),
		cmocka_unit_test(garbage_after_the_last_member_is_refused),
		cmocka_unit_test(a_full_disk_is_told_as_such),
		cmocka_unit_test(compression_is_detected_by_the_first_bytes),
		cmocka_unit_test(scan_reports_every_member_with_its_place),
		cmocka_unit_test(scan_refuses_a_member_that_is_cut),
		cmocka_unit_test(merging_the_same_layers_gives_the_same_bytes),
		cmocka_unit_test(merging_survives_any_flipped_byte),
	};
	struct err err = { 0 };
	if (layer_init(&err) < 0) {
		fprintf(stderr, "%s\n", err.message);
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
