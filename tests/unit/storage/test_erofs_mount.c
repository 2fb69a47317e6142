#include "world.h"

#include "storage/erofs_mount.h"

static void loop_devices_serve_where_files_cannot(void **state)
{
	if (access("/dev/loop-control", F_OK) != 0) {
		print_message("no /dev/loop-control: loop devices are not tested\n");
		skip();
	}
	AUTO_FREE char *file = make_image(*state, "one");
	const char *files[] = { file };
	struct err err = { 0 };
	int fd = -1;
	assert_int_equal(erofs_mount_open_loop(files, 1, &fd, &err), 0);
	assert_int_equal(faccessat(fd, "one", F_OK, 0), 0);
	(void)close(fd);
}

/* A file on a tmpfs cannot be mounted directly (ENOTBLK). */
static void image_on_a_tmpfs_falls_back_to_a_loop_device(void **state)
{
	if (access("/dev/loop-control", F_OK) != 0)
		skip();
	struct scratch *scratch = *state;
	AUTO_FREE char *file = make_image(scratch, "one");
	AUTO_FREE char *dir = text_format("%s/tmp", scratch->path);
	AUTO_FREE char *copy = text_format("%s/copy", dir);
	assert_int_equal(mkdir(dir, 0700) | mount("test", dir, "tmpfs", 0, NULL), 0);
	const char *const argv[] = { "cp", file, copy, NULL };
	assert_int_equal(run_program(argv), 0);
	const char *files[] = { copy };
	struct err err = { 0 };
	int fd = -1;
	assert_int_equal(erofs_mount_open(files, 1, &fd, &err), 0);
	assert_int_equal(faccessat(fd, "one", F_OK, 0), 0);
	(void)close(fd);
	assert_int_equal(umount2(dir, MNT_DETACH), 0);
}

static void metadata_and_data_in_two_files_are_one_tree(void **state)
{
	struct scratch *scratch = *state;
	AUTO_FREE char *unused = make_image(scratch, "one");
	AUTO_FREE char *tree = text_format("%s/one", scratch->path);
	AUTO_FREE char *meta = text_format("%s/meta", scratch->path);
	AUTO_FREE char *data = text_format("%s/data", scratch->path);
	AUTO_FREE char *option = text_format("--blobdev=%s", data);
	const char *const argv[] = { "mkfs.erofs", "--chunksize=4096", option, meta, tree, NULL };
	assert_int_equal(run_program(argv), 0);
	const char *files[] = { meta, data };
	struct err err = { 0 };
	int fd = -1;
	assert_int_equal(erofs_mount_open(files, 2, &fd, &err), 0);
	int program = openat(fd, "prog", O_RDONLY | O_CLOEXEC);
	char magic[4] = { 0 };
	assert_int_equal(read(program, magic, 4), 4);
	assert_memory_equal(magic, "\177ELF", 4);
	(void)close(program);
	(void)close(fd);
}

static void damaged_image_is_an_error_that_names_it(void **state)
{
	struct scratch *scratch = *state;
	AUTO_FREE char *file = text_format("%s/zero", scratch->path);
	int zero = open(file, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(zero, 65536), 0);
	(void)close(zero);
	const char *files[] = { file };
	struct err err = { 0 };
	int fd = -1;
	assert_error(erofs_mount_open(files, 1, &fd, &err), ERR_SYSTEM, "zero");
	assert_int_equal(fd, -1);
	assert_error(erofs_mount_open(files, 0, &fd, &err), ERR_LIMIT, "0 files");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SCRATCH(loop_devices_serve_where_files_cannot),
		IN_SCRATCH(image_on_a_tmpfs_falls_back_to_a_loop_device),
		IN_SCRATCH(metadata_and_data_in_two_files_are_one_tree),
		IN_SCRATCH(damaged_image_is_an_error_that_names_it),
	};
	int r = world_enter();
	return r != 0 ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
