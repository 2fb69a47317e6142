#include "test.h"

#include "base/fd.h"
#include "vm/vm.h"

static int release_of(const struct scratch *scratch, const void *bytes, size_t len,
	char ret_release[128], struct err *err)
{
	AUTO_CLOSE int fd = openat(scratch->fd, "k", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	AUTO_DONE(text) release = { 0 };
	assert_int_equal(fd_write_all(fd, bytes, len), 0);
	int r = vm_kernel_release(fd, &release, err);
	(void)snprintf(ret_release, 128, "%s", text_string(&release));
	return r;
}

static void image_with(char image[4096], const char *version, uint16_t at)
{
	memset(image, 0, 4096);
	memcpy(image + 0x202, "HdrS", 4);
	memcpy(image + 0x20e, &at, 2);
	memcpy(image + 0x200 + at, version, strlen(version));
}

static void image_tells_its_release(void **state)
{
	char image[4096], release[128];
	struct err err = { 0 };
	image_with(image, "6.1.0-56-cloud-amd64 (debian@x) #1 SMP", 0x800);
	assert_int_equal(release_of(*state, image, sizeof(image), release, &err), 0);
	assert_string_equal(release, "6.1.0-56-cloud-amd64");
}

static void release_that_is_no_file_name_is_refused(void **state)
{
	static const char *const bad[] = { "../../etc (x)", "6.1/../x (x)", ".new-1 (x)",
		"default (x)", "", "6.1\n (x)", "6\x1b[2J (x)",
		"6666666666666666666666666666666666666666666666666666666666666666666 (x)" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char image[4096], release[128];
		struct err err = { 0 };
		image_with(image, bad[i], 0x800);
		assert_error(release_of(*state, image, sizeof(image), release, &err), ERR_INVALID,
			"does not say which release");
		assert_string_equal(release, "");
	}
}

static void image_whose_version_is_outside_is_refused(void **state)
{
	char image[4096], release[128];
	struct err err = { 0 };
	image_with(image, "6.1.0 (x)", 0x800);
	memcpy(image + 0x20e, "\xff\xff", 2);
	assert_error(release_of(*state, image, sizeof(image), release, &err), ERR_INVALID,
		"does not say");
	image_with(image, "6.1.0 (x)", 0x800);
	assert_error(release_of(*state, image, 0x200 + 0x800 + 5, release, &err), ERR_INVALID,
		"does not say");
	assert_error(release_of(*state, image, 0, release, &err), ERR_INVALID, "not a kernel");
	assert_error(release_of(*state, "#!/bin/sh\n", 10, release, &err), ERR_INVALID,
		"not a kernel");
}

static void program_is_searched_for_its_banner_across_pieces(void **state)
{
	enum { SIZE = 3 << 20 };
	static const char banner[] = "Linux version 6.12.3+ (me@here) #1";
	AUTO_FREE char *program = calloc(1, SIZE);
	char release[128];
	struct err err = { 0 };
	memcpy(program, "\177ELF", 4);
	memcpy(program + 100, "Linux version %s (x)", 20); /* a format is no banner */
	assert_error(release_of(*state, program, SIZE, release, &err), ERR_INVALID, "does not say");
	/* Around the first border, at every cut. */
	for (size_t at = (1 << 20) - 120; at < (1 << 20) + 5; at += 7) {
		memset(program + 4096, 0, SIZE - 4096);
		memcpy(program + at, banner, sizeof(banner));
		assert_int_equal(release_of(*state, program, SIZE, release, &err), 0);
		assert_string_equal(release, "6.12.3+");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SCRATCH(image_tells_its_release),
		IN_SCRATCH(release_that_is_no_file_name_is_refused),
		IN_SCRATCH(image_whose_version_is_outside_is_refused),
		IN_SCRATCH(program_is_searched_for_its_banner_across_pieces),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
