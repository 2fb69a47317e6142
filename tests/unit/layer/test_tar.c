#include "layer/tar.h"

#include "layer/feed.h"
#include "layer/source.h"

#include "tar_bytes.h"
#include "test.h"

struct opened {
	int fd;
	struct feed *feed;
	struct tar *tar;
};

static struct opened open_tar(const struct text *archive)
{
	struct opened opened = { .fd = tar_bytes_file(archive) };
	struct source *source;
	struct feed_shape shape = { .slot_bytes = 700, .slots = 1 };
	assert_int_equal(source_file_new(opened.fd, 0, UINT64_MAX, &source, NULL), 0);
	assert_int_equal(feed_new(source, shape, NULL, UINT64_MAX, &opened.feed, NULL), 0);
	opened.tar = tar_new(opened.feed);
	return opened;
}

static void close_tar(struct opened *opened)
{
	tar_free(opened->tar);
	feed_free(opened->feed);
	close(opened->fd);
}

static void content_that_is_not_read_is_passed_over(void **state)
{
	(void)state;
	AUTO_DONE(text) archive = { 0 };
	char content[2000];
	memset(content, 'c', sizeof(content));
	tar_bytes_add(&archive, "first", '0', content, sizeof(content));
	tar_bytes_add(&archive, "second", '0', "2", 1);
	tar_bytes_end(&archive);
	struct opened opened = open_tar(&archive);
	struct tar_entry entry;
	struct view part;
	assert_int_equal(tar_next(opened.tar, &entry, NULL), 1);
	assert_int_equal(tar_data(opened.tar, 5, &part, NULL), 0);
	assert_int_equal(part.len, 5);
	assert_int_equal(tar_next(opened.tar, &entry, NULL), 1);
	assert_true(view_is(entry.name, "second") && entry.offset == 512 + 2048 + 512);
	assert_int_equal(tar_data(opened.tar, UINT64_MAX, &part, NULL), 0);
	assert_true(view_is(part, "2"));
	assert_int_equal(tar_next(opened.tar, &entry, NULL), 0);
	close_tar(&opened);
}

static void a_size_on_what_has_no_content_is_ignored(void **state)
{
	(void)state;
	AUTO_DONE(text) archive = { 0 };
	struct tar_header header = tar_bytes_header("dir", '5', 512);
	text_add(&archive, (const char *)&header, sizeof(header));
	tar_bytes_add(&archive, "next", '0', "", 0);
	struct opened opened = open_tar(&archive);
	struct tar_entry entry;
	assert_int_equal(tar_next(opened.tar, &entry, NULL), 1);
	assert_true(entry.type == '5' && entry.size == 0);
	assert_int_equal(tar_next(opened.tar, &entry, NULL), 1);
	assert_true(view_is(entry.name, "next"));
	assert_int_equal(tar_next(opened.tar, &entry, NULL), 0);
	close_tar(&opened);
}

static void pax_beats_the_header_and_lasts_for_one_entry(void **state)
{
	(void)state;
	AUTO_DONE(text) archive = { 0 };
	static const char records[] = "15 path=longer\n13 mtime=9.5\n16 gid=70000000\n";
	tar_bytes_add(&archive, "pax", 'x', records, strlen(records));
	tar_bytes_add(&archive, "short", '0', "", 0);
	tar_bytes_add(&archive, "plain", '0', "", 0);
	struct opened opened = open_tar(&archive);
	struct tar_entry entry;
	assert_int_equal(tar_next(opened.tar, &entry, NULL), 1);
	assert_true(view_is(entry.name, "longer") && entry.gid == 70000000);
	assert_true(entry.mtime == 9 && entry.mtime_ns == 500000000);
	assert_int_equal(tar_next(opened.tar, &entry, NULL), 1);
	assert_true(view_is(entry.name, "plain") && entry.gid == 0);
	assert_true(entry.mtime == 7 && entry.mtime_ns == 0);
	close_tar(&opened);
}

static void the_archive_ends_where_its_stream_does(void **state)
{
	(void)state;
	AUTO_DONE(text) archive = { 0 };
	struct tar_entry entry;
	struct opened opened = open_tar(&archive);
	assert_int_equal(tar_next(opened.tar, &entry, NULL), 0);
	close_tar(&opened);

	tar_bytes_add(&archive, "f", '0', "1234", 4);
	archive.len -= 510; /* inside the content */
	opened = open_tar(&archive);
	struct err err = { 0 };
	struct view part;
	assert_int_equal(tar_next(opened.tar, &entry, &err), 1);
	assert_int_equal(tar_data(opened.tar, UINT64_MAX, &part, &err), 0);
	assert_true(tar_data(opened.tar, UINT64_MAX, &part, &err) < 0);
	assert_int_equal(err.kind, ERR_DAMAGED);
	close_tar(&opened);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(content_that_is_not_read_is_passed_over),
		cmocka_unit_test(a_size_on_what_has_no_content_is_ignored),
		cmocka_unit_test(pax_beats_the_header_and_lasts_for_one_entry),
		cmocka_unit_test(the_archive_ends_where_its_stream_does),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
