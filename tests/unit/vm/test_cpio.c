#include "test.h"

#include <sys/stat.h>

#include "base/fd.h"
#include "base/spawn.h"
#include "vm/vm.h"

static int make_file(const struct scratch *scratch, const char *name)
{
	return openat(scratch->fd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

/* What busybox's cpio, which is not ours, makes of the archive. */
static char *listing(const struct scratch *scratch, const char *name)
{
	AUTO_FREE char *command =
		text_format("cd %s && busybox cpio -tv <%s 2>&1", scratch->path, name);
	const char *argv[] = { "/bin/sh", "-c", command, NULL };
	const char *envp[] = { "PATH=/usr/bin:/bin", "TZ=UTC", NULL };
	const struct spawn spawn = { .argv = argv, .envp = envp };
	struct text out = { 0 };
	struct err err = { 0 };
	if (spawn_collect(&spawn, (struct view){ NULL, 0 }, 10000, &out, &err) < 0)
		fail_msg("%s", err.message);
	return text_take(&out);
}

static void archive_is_what_another_cpio_reads(void **state)
{
	const struct scratch *scratch = *state;
	int fd = make_file(scratch, "a.cpio"), source = make_file(scratch, "source");
	assert_int_equal(fd_write_all(source, "skip this, take that", 20), 0);
	struct vm_cpio cpio = { .fd = fd };
	const struct vm_cpio_entry entries[] = {
		{ .name = "lib", .mode = S_IFDIR | 0755 },
		{ .name = "lib/five", .mode = S_IFREG | 0644, .bytes = V("12345") },
		{ .name = "lib/none", .mode = S_IFREG | 0600 },
		{ .name = "console", .mode = S_IFCHR | 0600, .major = 5, .minor = 1 },
		{ .name = "that",
			.mode = S_IFREG | 0755,
			.has_source = true,
			.source_fd = source,
			.offset = 11,
			.size = 9 },
	};
	struct err err = { 0 };
	for (size_t i = 0; i < ARRAY_LEN(entries); i++)
		assert_int_equal(vm_cpio_add(&cpio, &entries[i], &err), 0);
	assert_int_equal(vm_cpio_end(&cpio, &err), 0);
	assert_int_equal(cpio.offset % 512, 0);
	struct stat st;
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, cpio.offset);
	AUTO_FREE char *text = listing(scratch, "a.cpio");
	assert_non_null(strstr(text, "drwxr-xr-x"));
	assert_non_null(strstr(text, "-rw-r--r-- 0/0         5 "));
	assert_non_null(strstr(text, "-rwxr-xr-x 0/0         9 "));
	assert_non_null(strstr(text, "crw------- 0/0"));
	assert_non_null(strstr(text, "lib/none"));

	AUTO_FREE char *command = text_format("cd %s && mkdir out && cd out && busybox cpio -id "
					      "<../a.cpio 2>/dev/null; "
					      "cat lib/five that",
		scratch->path);
	const char *argv[] = { "/bin/sh", "-c", command, NULL };
	const char *envp[] = { "PATH=/usr/bin:/bin", NULL };
	const struct spawn spawn = { .argv = argv, .envp = envp };
	struct text out = { 0 };
	assert_int_equal(spawn_collect(&spawn, (struct view){ NULL, 0 }, 10000, &out, &err), 0);
	assert_string_equal(text_string(&out), "12345take that");
	text_done(&out);
	(void)close(fd);
	(void)close(source);
}

static void archive_is_refused_what_it_cannot_hold(void **state)
{
	const struct scratch *scratch = *state;
	int fd = make_file(scratch, "a.cpio"), source = make_file(scratch, "source");
	struct vm_cpio cpio = { .fd = fd };
	struct vm_cpio_entry entry = { .name = "huge",
		.mode = S_IFREG,
		.has_source = true,
		.source_fd = source,
		.size = (uint64_t)UINT32_MAX + 1 };
	struct err err = { 0 };
	assert_error(vm_cpio_add(&cpio, &entry, &err), ERR_LIMIT, "too large");
	entry.size = 10; /* the file has none */
	assert_error(vm_cpio_add(&cpio, &entry, &err), ERR_SYSTEM, "read \"huge\"");
	char name[5000];
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	entry = (struct vm_cpio_entry){ .name = name, .mode = S_IFREG };
	assert_error(vm_cpio_add(&cpio, &entry, &err), ERR_LIMIT, "too long");
	(void)close(fd);
	(void)close(source);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SCRATCH(archive_is_what_another_cpio_reads),
		IN_SCRATCH(archive_is_refused_what_it_cannot_hold),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
