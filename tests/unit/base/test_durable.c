#include "test.h"

#include <dirent.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/durable.h"
#include "base/fd.h"
#include "fault.h"

static int entries(const char *path)
{
	DIR *dir = opendir(path);
	int count = 0;
	while (readdir(dir) != NULL)
		count++;
	(void)closedir(dir);
	return count - 2;
}

static void assert_content(const struct scratch *scratch, const char *name, const char *content)
{
	AUTO_DONE(text) text = { 0 };
	assert_int_equal(file_read_at(scratch->fd, name, 100, &text, NULL), 0);
	assert_string_equal(text.data, content);
}

static void durable_write_creates_and_replaces(void **state)
{
	const struct scratch *scratch = *state;
	struct err err = { 0 };
	struct stat st;
	assert_int_equal(durable_write(scratch->fd, "f", 0640, V("one"), &err), 0);
	assert_content(scratch, "f", "one");
	assert_int_equal(durable_write(scratch->fd, "f", 0604, V("two"), &err), 0);
	assert_content(scratch, "f", "two");
	assert_int_equal(fstatat(scratch->fd, "f", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0604);
	assert_int_equal(entries(scratch->path), 1);
}

static void an_existing_name_is_kept_unless_replaced(void **state)
{
	const struct scratch *scratch = *state;
	struct err err = { 0 };
	AUTO_CLOSE int path_fd = openat(scratch->fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	AUTO_CLOSE int fd = -1;
	assert_int_equal(durable_write(path_fd, "f", 0600, V("old"), &err), 0);
	assert_int_equal(durable_temp(path_fd, &fd, &err), 0);
	assert_int_equal(fd_write_all(fd, "new", 3), 0);
	assert_int_equal(durable_link(fd, path_fd, "f", false, &err), 0);
	assert_content(scratch, "f", "old");
	assert_int_equal(durable_link(fd, path_fd, "f", true, &err), 0);
	assert_content(scratch, "f", "new");
	assert_int_equal(durable_sync_dir(path_fd, &err), 0);
	assert_int_equal(entries(scratch->path), 1);
}

/* Every call that durable_write makes, failing in turn, at its first, second, ... occurrence, with
 * an old file there or none.  What is left is the old file, or the new one complete (only the sync
 * of the directory comes after the name), and nothing else. */
static void every_failing_call_leaves_a_whole_file_or_none(void **state)
{
	const struct scratch *scratch = *state;
	static const char *const functions[] = { "openat64", "write", "fchmod", "fsync", "linkat",
		"renameat" };
	unsigned reached = 0;
	for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
		for (unsigned nth = 1; nth <= 3; nth++) {
			for (int there = 0; there < 2; there++) {
				struct err err = { 0 };
				(void)unlinkat(scratch->fd, "f", 0);
				if (there)
					assert_int_equal(durable_write(scratch->fd, "f", 0600,
								 V("old"), &err),
						0);
				fault_set(functions[i], nth, EIO);
				int r = durable_write(scratch->fd, "f", 0600, V("new"), &err);
				if (!fault_clear()) {
					assert_int_equal(r, 0);
					assert_content(scratch, "f", "new");
					continue;
				}
				reached++;
				assert_int_equal(r, -EIO);
				assert_true(view_starts(view_of(err.message), "write f: "));
				bool named =
					nth == 2 && (strcmp(functions[i], "openat64") == 0 ||
							    strcmp(functions[i], "fsync") == 0);
				assert_int_equal(entries(scratch->path), there || named);
				if (there || named)
					assert_content(scratch, "f", named ? "new" : "old");
			}
		}
	}
	/* openat64 and fsync twice each, write, fchmod and the first linkat, with and without an
	 * old file; the second linkat and the renameat only over an old one. */
	assert_int_equal(reached, 2 * 7 + 2);
}

static void an_interrupted_write_is_continued(void **state)
{
	const struct scratch *scratch = *state;
	struct err err = { 0 };
	fault_set_short("write");
	assert_int_equal(durable_write(scratch->fd, "f", 0600, V("whole"), &err), 0);
	assert_true(fault_clear());
	assert_content(scratch, "f", "whole");
}

static void linking_works_without_the_right_to_link_descriptors(void **state)
{
	const struct scratch *scratch = *state;
	struct err err = { 0 };
	fault_set("linkat", 1, ENOENT);
	assert_int_equal(durable_write(scratch->fd, "f", 0600, V("x"), &err), 0);
	assert_true(fault_clear());
	assert_content(scratch, "f", "x");
}

static void a_sync_that_fails_is_told(void **state)
{
	const struct scratch *scratch = *state;
	struct err err = { 0 };
	AUTO_CLOSE int fd = -1;
	assert_int_equal(durable_temp(scratch->fd, &fd, &err), 0);
	assert_int_equal(fd_write_all(fd, "data", 4), 0);
	assert_int_equal(durable_sync(fd, &err), 0);
	fault_set("fsync", 1, EIO);
	assert_int_equal(durable_sync(fd, &err), -EIO);
	assert_true(fault_clear());
}

static void beginning_to_sync_needs_a_file_but_no_disk(void **state)
{
	const struct scratch *scratch = *state;
	struct err err = { 0 };
	int ends[2];
	AUTO_CLOSE int fd = -1;
	AUTO_CLOSE int memory = memfd_create("file", MFD_CLOEXEC);
	assert_int_equal(durable_temp(scratch->fd, &fd, &err), 0);
	assert_int_equal(fd_write_all(fd, "data", 4), 0);
	assert_int_equal(durable_begin(fd, 0, 4, &err), 0);
	assert_int_equal(durable_begin(fd, 4096, DURABLE_STEP, &err), 0);
	assert_int_equal(durable_begin(memory, 0, 4, &err), 0);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(durable_begin(ends[1], 0, 4, &err), 0);
	(void)close(ends[0]);
	(void)close(ends[1]);
	assert_int_equal(durable_begin(-1, 0, 4, &err), -EBADF);
}

static void a_file_system_without_unnamed_files_is_named(void **state)
{
	const struct scratch *scratch = *state;
	struct err err = { 0 };
	fault_set("openat64", 1, EOPNOTSUPP);
	assert_error(durable_write(scratch->fd, "f", 0600, V("x"), &err), ERR_UNSUPPORTED,
		"O_TMPFILE");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SCRATCH(durable_write_creates_and_replaces),
		IN_SCRATCH(an_existing_name_is_kept_unless_replaced),
		IN_SCRATCH(every_failing_call_leaves_a_whole_file_or_none),
		IN_SCRATCH(an_interrupted_write_is_continued),
		IN_SCRATCH(linking_works_without_the_right_to_link_descriptors),
		IN_SCRATCH(a_sync_that_fails_is_told),
		IN_SCRATCH(beginning_to_sync_needs_a_file_but_no_disk),
		IN_SCRATCH(a_file_system_without_unnamed_files_is_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
