#include "world.h"

#include "base/fd.h"

#define SIZE_BYTES (UINT64_C(64) << 30)
#define DISK_BYTES_MAX (1 << 20) /* what it may take of the disk */
#define LIBRARY "/usr/lib/x86_64-linux-gnu/libext2fs.so.2"

static int passes_fsck(const char *dir, const char *name)
{
	AUTO_FREE char *path = text_format("%s/%s", dir, name);
	const char *const check[] = { "e2fsck", "-fn", path, NULL };
	return run_program(check);
}

static void a_new_disk_passes_e2fsck_and_is_sparse(void **state)
{
	const struct scratch *scratch = *state;
	const uint64_t sizes[] = { UINT64_C(256) << 20, UINT64_C(1) << 30, SIZE_BYTES };
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct err err = { 0 };
		struct stat st;
		assert_int_equal(storage_ext4_make(scratch->fd, "disk", sizes[i], &err), 0);
		assert_int_equal(fstatat(scratch->fd, "disk", &st, 0), 0);
		assert_int_equal(st.st_size, sizes[i]);
		assert_int_equal(st.st_mode, S_IFREG | 0600);
		assert_in_range(st.st_blocks * 512, 1, DISK_BYTES_MAX);
		assert_int_equal(passes_fsck(scratch->path, "disk"), 0);
		assert_int_equal(unlinkat(scratch->fd, "disk", 0), 0);
	}
}

static void describe(const char *path, struct text *ret_words)
{
	int pipe[2];
	assert_int_equal(pipe2(pipe, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		(void)dup2(pipe[1], 1);
		(void)execlp("dumpe2fs", "dumpe2fs", path, (char *)NULL);
		_exit(127);
	}
	(void)close(pipe[1]);
	assert_int_equal(fd_read_text(pipe[0], 1 << 20, "dumpe2fs", ret_words, NULL), 0);
	(void)close(pipe[0]);
	int status = -1;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Else the kernel would start a thread that zeroes the tables, and hold a disk of today for old. */
static void nothing_is_left_for_the_kernel_to_do(void **state)
{
	const struct scratch *scratch = *state;
	AUTO_FREE char *path = text_format("%s/disk", scratch->path);
	assert_int_equal(storage_ext4_make(scratch->fd, "disk", SIZE_BYTES, NULL), 0);
	AUTO_DONE(text) said = { 0 };
	describe(path, &said);
	const char *words = text_string(&said);
	size_t groups = 0;
	for (const char *p = words; (p = strstr(p, ": (Blocks ")) != NULL; groups++) {
		const char *end = strchr(++p, '\n');
		const char *zeroed = strstr(p, "ITABLE_ZEROED");
		assert_true(zeroed != NULL && zeroed < end);
	}
	assert_int_equal(groups, SIZE_BYTES >> 27);
	const char *const wanted[] = { " has_journal ", " ext_attr ", " dir_index ", " extent ",
		" 64bit ", " flex_bg ", " sparse_super ", " large_file ", " huge_file ",
		" metadata_csum", "Filesystem state:         clean",
		"Total journal size:       64M", "Reserved block count:     0",
		"Maximum mount count:      -1" };
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
		assert_non_null(strstr(words, wanted[i]));
}

static void each_disk_has_a_uuid_of_its_own(void **state)
{
	const struct scratch *scratch = *state;
	uint8_t uuids[2][16], zeros[16] = { 0 };
	for (int i = 0; i < 2; i++) {
		assert_int_equal(storage_ext4_make(scratch->fd, "disk", SIZE_BYTES, NULL), 0);
		AUTO_CLOSE int fd = openat(scratch->fd, "disk", O_RDONLY | O_CLOEXEC);
		assert_int_equal(pread(fd, uuids[i], 16, 1024 + 0x68), 16);
		assert_int_equal(unlinkat(scratch->fd, "disk", 0), 0);
	}
	assert_memory_not_equal(uuids[0], uuids[1], 16);
	assert_memory_not_equal(uuids[0], zeros, 16);
}

static void a_name_that_is_taken_stays_as_it_is(void **state)
{
	const struct scratch *scratch = *state;
	(void)close(openat(scratch->fd, "disk", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(storage_ext4_make(scratch->fd, "disk", SIZE_BYTES, NULL), 0);
	struct stat st;
	assert_int_equal(fstatat(scratch->fd, "disk", &st, 0), 0);
	assert_int_equal(st.st_size, 0);
}

/* Whichever write is the one that does not fit. */
static void a_full_disk_is_an_error_and_leaves_no_file(void **state)
{
	const struct scratch *scratch = *state;
	int failed = 0;
	for (int kib = 4; kib <= 1024; kib += 60) {
		AUTO_FREE char *option = text_format("size=%dk", kib);
		assert_int_equal(mount("small", scratch->path, "tmpfs", 0, option), 0);
		AUTO_CLOSE int dir = open(scratch->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		struct err err = { 0 };
		int r = storage_ext4_make(dir, "disk", SIZE_BYTES, &err);
		if (r < 0) {
			failed++;
			assert_error(r, ERR_NO_SPACE, "make the disk \"disk\"");
			assert_int_equal(r, -ENOSPC);
			assert_int_equal(count_names(dir, "."), 0);
		} else {
			assert_int_equal(passes_fsck(scratch->path, "disk"), 0);
		}
		(void)close(TAKE_FD(dir));
		assert_int_equal(umount(scratch->path), 0);
	}
	assert_in_range(failed, 5, 15);
}

/* In a process that has not loaded it yet. */
static void without_the_library_it_says_what_to_install(void **state)
{
	const struct scratch *scratch = *state;
	if (access(LIBRARY, F_OK) < 0)
		skip();
	pid_t pid = fork();
	if (pid == 0) {
		struct err err = { 0 };
		if (unshare(CLONE_NEWNS) < 0 ||
			mount("/dev/null", LIBRARY, NULL, MS_BIND, NULL) < 0)
			_exit(1);
		int r = storage_ext4_make(scratch->fd, "disk", SIZE_BYTES, &err);
		_exit(r < 0 && err.kind == ERR_UNSUPPORTED &&
					strstr(err.message, "install libext2fs2") != NULL
				? 0
				: 2);
	}
	int status = -1;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(count_names(scratch->fd, "."), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SCRATCH(
			without_the_library_it_says_what_to_install), /* first: it stays loaded */
		IN_SCRATCH(a_new_disk_passes_e2fsck_and_is_sparse),
		IN_SCRATCH(nothing_is_left_for_the_kernel_to_do),
		IN_SCRATCH(each_disk_has_a_uuid_of_its_own),
		IN_SCRATCH(a_name_that_is_taken_stays_as_it_is),
		IN_SCRATCH(a_full_disk_is_an_error_and_leaves_no_file),
	};
	int r = world_enter();
	return r != 0 ? r : cmocka_run_group_tests_name("storage_ext4", tests, NULL, NULL);
}
