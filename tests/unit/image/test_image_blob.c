/* image_blob - a name means its bytes. */
#include "fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

struct folder {
	char *path; /* owned */
	int fd;
	struct err err;
};

static int folder_setup(void **context)
{
	struct folder *f = NEW(folder);
	f->path = mem_strdup("/tmp/moat-blob-XXXXXX");
	assert_non_null(mkdtemp(f->path));
	f->fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->fd >= 0);
	*context = f;
	return 0;
}

static int folder_teardown(void **context)
{
	struct folder *f = *context;
	struct digest digest;
	assert_int_equal(digest_of(view_of("hello"), &digest, &f->err), 0);
	AUTO_FREE char *name = text_format("sha256/%s", digest.hex);
	(void)unlinkat(f->fd, name, 0);
	(void)unlinkat(f->fd, "sha256", AT_REMOVEDIR);
	assert_int_equal(rmdir(f->path), 0); /* nothing else was left */
	(void)close(f->fd);
	free(f->path);
	free(f);
	return 0;
}

#define BLOB_TEST(name) cmocka_unit_test_setup_teardown(name, folder_setup, folder_teardown)

static void a_blob_comes_back_by_its_digest(void **context)
{
	struct folder *f = *context;
	struct digest digest = { 0 };
	for (int twice = 0; twice < 2; twice++) {
		assert_int_equal(image_blob_write(f->fd, view_of("hello"), &digest, &f->err), 0);
		assert_string_equal(digest.hex,
			"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
		AUTO_DONE(text) bytes = { 0 };
		assert_int_equal(image_blob_read(f->fd, &digest, 5, &bytes, &f->err), 0);
		assert_string_equal(text_string(&bytes), "hello");
	}
	AUTO_FREE char *name = text_format("sha256/%s", digest.hex);
	struct stat status;
	assert_int_equal(fstatat(f->fd, name, &status, 0), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
	AUTO_DONE(text) bytes = { 0 };
	assert_int_equal(image_blob_read(f->fd, &digest, 4, &bytes, &f->err), -E2BIG);
	assert_int_equal(bytes.len, 0);
}

static void an_absent_blob_is_not_found(void **context)
{
	struct folder *f = *context;
	struct digest digest = { HEX_A };
	AUTO_DONE(text) bytes = { 0 };
	for (int twice = 0; twice < 2; twice++) {
		f->err = (struct err){ 0 };
		assert_int_equal(image_blob_read(f->fd, &digest, 9, &bytes, &f->err), -ENOENT);
		assert_int_equal(f->err.kind, ERR_NOT_FOUND);
		(void)mkdirat(f->fd, "sha256", 0700);
	}
}

static void a_damaged_blob_is_found_and_mended_by_writing_it_again(void **context)
{
	struct folder *f = *context;
	struct digest digest = { 0 };
	assert_int_equal(image_blob_write(f->fd, view_of("hello"), &digest, &f->err), 0);
	AUTO_FREE char *name = text_format("sha256/%s", digest.hex);
	assert_int_equal(file_write_at(f->fd, name, 0600, view_of("jello"), &f->err), 0);
	AUTO_DONE(text) bytes = { 0 };
	assert_int_equal(image_blob_read(f->fd, &digest, 9, &bytes, &f->err), -EBADMSG);
	assert_int_equal(f->err.kind, ERR_DAMAGED);
	assert_non_null(strstr(f->err.message, digest.hex));
	assert_int_equal(image_blob_write(f->fd, view_of("hello"), &digest, &f->err), 0);
	assert_int_equal(image_blob_read(f->fd, &digest, 9, &bytes, &f->err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BLOB_TEST(a_blob_comes_back_by_its_digest),
		BLOB_TEST(an_absent_blob_is_not_found),
		BLOB_TEST(a_damaged_blob_is_found_and_mended_by_writing_it_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
