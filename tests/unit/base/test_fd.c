#include "test.h"

#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "fault.h"

static int open_at(const struct scratch *scratch, const char *name, int flags)
{
	int fd = openat(scratch->fd, name, flags | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	return fd;
}

static void transfers_survive_interruptions_and_short_counts(void **state)
{
	AUTO_CLOSE int fd = open_at(*state, "f", O_RDWR | O_CREAT);
	char bytes[6] = "";
	fault_set("write", 1, EINTR);
	assert_int_equal(fd_write_all(fd, "hello", 5), 0);
	assert_true(fault_clear());
	fault_set_short("pwrite64");
	assert_int_equal(fd_pwrite_all(fd, "world", 5, 5), 0);
	assert_true(fault_clear());
	fault_set("pwrite64", 1, EINTR);
	assert_int_equal(fd_pwrite_all(fd, "w", 1, 5), 0);
	assert_true(fault_clear());
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	fault_set("read", 1, EINTR);
	assert_int_equal(fd_read_exact(fd, bytes, 5), 0);
	assert_true(fault_clear());
	assert_string_equal(bytes, "hello");
	fault_set_short("pread64");
	assert_int_equal(fd_pread_exact(fd, bytes, 5, 5), 0);
	assert_true(fault_clear());
	fault_set("pread64", 1, EINTR);
	assert_int_equal(fd_pread_exact(fd, bytes, 5, 5), 0);
	assert_true(fault_clear());
	assert_string_equal(bytes, "world");
	assert_int_equal(fd_pread_exact(fd, bytes, 5, 6), -ENODATA);
	assert_int_equal(fd_read_exact(fd, bytes, 6), -ENODATA);
}

static void transfers_report_the_kernels_refusal(void **state)
{
	(void)state;
	char byte = 0;
	assert_int_equal(fd_write_all(-1, "x", 1), -EBADF);
	assert_int_equal(fd_pwrite_all(-1, "x", 1, 0), -EBADF);
	assert_int_equal(fd_read_exact(-1, &byte, 1), -EBADF);
	assert_int_equal(fd_pread_exact(-1, &byte, 1, 0), -EBADF);
	assert_int_equal(fd_write_all(-1, "", 0), 0);
}

static void fd_read_text_has_a_limit_and_leaves_the_text_alone(void **state)
{
	AUTO_CLOSE int fd = open_at(*state, "f", O_RDWR | O_CREAT);
	static const char bytes[10000];
	struct err err = { 0 };
	AUTO_DONE(text) text = { 0 };
	text_puts(&text, "x");
	assert_int_equal(fd_write_all(fd, bytes, sizeof(bytes)), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_error(fd_read_text(fd, 9999, "f", &text, &err), ERR_LIMIT, "limit of 9999");
	assert_int_equal(text.len, 1);
	assert_string_equal(text.data, "x");
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	fault_set("read", 2, EIO);
	assert_error(fd_read_text(fd, 10000, "f", &text, &err), ERR_SYSTEM, "read f: Input");
	assert_int_equal(text.len, 1);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	fault_set("read", 1, EINTR);
	assert_int_equal(fd_read_text(fd, 10000, "f", &text, &err), 0);
	assert_int_equal(text.len, 10001);
}

static void file_write_at_replaces_whole_files(void **state)
{
	const struct scratch *scratch = *state;
	struct err err = { 0 };
	AUTO_DONE(text) text = { 0 };
	struct stat st;
	assert_int_equal(mkdirat(scratch->fd, "d", 0700), 0);
	assert_int_equal(file_write_at(scratch->fd, "d/f", 0644, V("one"), &err), 0);
	assert_int_equal(file_write_at(scratch->fd, "d/f", 0664, V("two"), &err), 0);
	assert_int_equal(fstatat(scratch->fd, "d/f", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0664);
	assert_int_equal(file_read_at(scratch->fd, "d/f", 100, &text, &err), 0);
	assert_string_equal(text.data, "two");
	assert_int_equal(file_read_at(scratch->fd, "none", 100, &text, NULL), -ENOENT);
	assert_error(file_read_at(scratch->fd, "none", 100, &text, &err), ERR_SYSTEM, "open none");
	assert_error(file_write_at(scratch->fd, "none/f", 0644, V("x"), &err), ERR_SYSTEM,
		"create");
}

static void a_failed_file_write_leaves_the_old_file_alone(void **state)
{
	const struct scratch *scratch = *state;
	static const char *const functions[] = { "openat64", "write", "fchmod", "renameat" };
	for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
		struct err err = { 0 };
		AUTO_DONE(text) text = { 0 };
		assert_int_equal(file_write_at(scratch->fd, "f", 0644, V("old"), &err), 0);
		fault_set(functions[i], 1, ENOSPC);
		assert_error(file_write_at(scratch->fd, "f", 0644, V("new"), &err), ERR_NO_SPACE,
			"f: ");
		assert_true(fault_clear());
		assert_int_equal(file_read_at(scratch->fd, "f", 100, &text, &err), 0);
		assert_string_equal(text.data, "old");
		/* Nothing else is in the directory, so it can be removed without its contents. */
		assert_int_equal(unlinkat(scratch->fd, "f", 0), 0);
		assert_int_equal(rmdir(scratch->path), 0);
		assert_int_equal(mkdir(scratch->path, 0700), 0);
		int fd = open(scratch->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_int_equal(dup3(fd, scratch->fd, O_CLOEXEC), scratch->fd);
		assert_int_equal(close(fd), 0);
	}
}

static void file_poke_at_writes_into_what_is_there(void **state)
{
	const struct scratch *scratch = *state;
	struct err err = { 0 };
	AUTO_DONE(text) text = { 0 };
	assert_error(file_poke_at(scratch->fd, "f", "1", &err), ERR_SYSTEM, "open f");
	assert_int_equal(file_write_at(scratch->fd, "f", 0644, V("0"), &err), 0);
	fault_set("write", 1, EINTR);
	assert_int_equal(file_poke_at(scratch->fd, "f", "max", &err), 0);
	assert_int_equal(file_read_at(scratch->fd, "f", 100, &text, &err), 0);
	assert_string_equal(text.data, "max");
	fault_set_short("write");
	assert_error(file_poke_at(scratch->fd, "f", "max", &err), ERR_SYSTEM, "only 1 bytes");
	fault_set("write", 1, EINVAL);
	assert_error(file_poke_at(scratch->fd, "f", "max", &err), ERR_SYSTEM, "\"max\" to f");
}

static void flags_are_set_and_cleared(void **state)
{
	(void)state;
	AUTO_CLOSE int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_int_equal(fd_set_cloexec(fd, false), 0);
	assert_int_equal(fcntl(fd, F_GETFD), 0);
	assert_int_equal(fd_set_cloexec(fd, true), 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fd_set_nonblocking(fd, true), 0);
	assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
	assert_int_equal(fd_set_nonblocking(fd, false), 0);
	assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) == 0);
	assert_int_equal(fd_set_cloexec(-1, true), -EBADF);
	assert_int_equal(fd_set_nonblocking(-1, true), -EBADF);
}

static void a_direct_descriptor_takes_whole_blocks(void **state)
{
	const struct scratch *scratch = *state;
	AUTO_CLOSE int fd = open_at(scratch, "f", O_RDWR | O_CREAT);
	AUTO_CLOSE int null = open("/dev/full", O_RDWR | O_CLOEXEC);
	AUTO_FREE char *block = mem_new_pages(MEM_PAGE);
	memset(block, 'x', MEM_PAGE);
	int r = fd_set_direct(fd, true);
	assert_true(r == 0 || r == -EINVAL);
	assert_int_equal((fcntl(fd, F_GETFL) & O_DIRECT) != 0, r == 0);
	assert_int_equal(fd_pwrite_all(fd, block, MEM_PAGE, 0), 0);
	assert_int_equal(fd_set_direct(fd, false), 0);
	assert_int_equal(fcntl(fd, F_GETFL) & O_DIRECT, 0);
	assert_int_equal(fd_pwrite_all(fd, block, 1, MEM_PAGE), 0);
	assert_int_equal(fd_set_direct(null, true), -EINVAL);
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void only_the_kept_descriptors_stay_open(void **state)
{
	(void)state;
	pid_t pid = fork();
	if (pid == 0) {
		static const int keep[] = { 60, 41, 41, 3, 1, -1 };
		for (int fd = 3; fd < 70; fd++)
			(void)dup2(STDERR_FILENO, fd);
		bool ok = fd_close_others(keep, ARRAY_LEN(keep)) == 0;
		for (int fd = 0; fd < 70; fd++)
			ok = ok && is_open(fd) == (fd < 4 || fd == 41 || fd == 60);
		ok = ok && fd_close_others(NULL, 0) == 0 && !is_open(3) && is_open(2);
		_exit(ok ? 0 : 1);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void descriptors_travel_with_a_message(void **state)
{
	(void)state;
	static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET };
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		int pair[2], received[4];
		size_t count = 0;
		char bytes[8] = "";
		assert_int_equal(socketpair(AF_UNIX, types[i] | SOCK_CLOEXEC, 0, pair), 0);
		const int fds[] = { pair[0], pair[1] };
		assert_int_equal(fd_send(pair[0], "hello", 5, fds, 2), 0);
		assert_int_equal(fd_receive(pair[1], bytes, sizeof(bytes), received, 4, &count), 5);
		assert_string_equal(bytes, "hello");
		assert_int_equal(count, 2);
		assert_int_equal(fcntl(received[0], F_GETFD), FD_CLOEXEC);
		assert_int_equal(close(received[0]), 0);
		assert_int_equal(close(received[1]), 0);
		assert_int_equal(fd_send(pair[0], "x", 1, NULL, 0), 0);
		assert_int_equal(fd_receive(pair[1], bytes, 1, NULL, 0, &count), 1);
		assert_int_equal(count, 0);
		assert_int_equal(fd_send(pair[0], "", 0, NULL, 0), -EINVAL);
		assert_int_equal(fd_send(pair[0], "x", 1, fds, 254), -EINVAL);
		assert_int_equal(close(pair[0]), 0);
		/* The end, and no signal for writing after it. */
		assert_int_equal(fd_receive(pair[1], bytes, 1, NULL, 0, &count), 0);
		assert_int_equal(fd_send(pair[1], "x", 1, NULL, 0), -EPIPE);
		assert_int_equal(close(pair[1]), 0);
	}
}

static void surplus_descriptors_are_closed_and_refused(void **state)
{
	(void)state;
	int pair[2], received[1];
	size_t count = 9;
	char byte;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	int next = dup(0);
	assert_int_equal(close(next), 0);
	const int fds[] = { 0, 1, 2 };
	assert_int_equal(fd_send(pair[0], "x", 1, fds, 3), 0);
	assert_int_equal(fd_receive(pair[1], &byte, 1, received, 1, &count), -EMSGSIZE);
	assert_int_equal(count, 9);
	assert_false(is_open(next));
	/* A packet that was cut short is no message either. */
	assert_int_equal(fd_send(pair[0], "xyz", 3, fds, 1), 0);
	assert_int_equal(fd_receive(pair[1], &byte, 1, received, 1, &count), -EMSGSIZE);
	assert_false(is_open(next));
	fault_set("recvmsg", 1, EINTR);
	assert_int_equal(fd_send(pair[0], "x", 1, NULL, 0), 0);
	assert_int_equal(fd_receive(pair[1], &byte, 1, received, 1, &count), 1);
	assert_true(fault_clear());
	fault_set("sendmsg", 1, EINTR);
	assert_int_equal(fd_send(pair[0], "x", 1, NULL, 0), 0);
	assert_true(fault_clear());
	assert_int_equal(close(pair[0]), 0);
	assert_int_equal(close(pair[1]), 0);
}

static void a_lock_waits_until_its_deadline(void **state)
{
	AUTO_CLOSE int first = open_at(*state, "lock", O_RDWR | O_CREAT);
	AUTO_CLOSE int second = open_at(*state, "lock", O_RDWR);
	assert_int_equal(fd_lock(first, false, 0), 0);
	assert_int_equal(fd_lock(second, false, 0), 0);
	assert_int_equal(fd_lock(first, true, 0), -EWOULDBLOCK);
	uint64_t start = clock_monotonic_ns();
	assert_int_equal(fd_lock(first, true, 30), -EWOULDBLOCK);
	assert_true(clock_monotonic_ns() - start >= 30000000);
	assert_int_equal(flock(second, LOCK_UN), 0);
	assert_int_equal(fd_lock(first, true, 30), 0);
	fault_set("flock", 1, ENOLCK);
	assert_int_equal(fd_lock(first, true, 0), -ENOLCK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SCRATCH(transfers_survive_interruptions_and_short_counts),
		cmocka_unit_test(transfers_report_the_kernels_refusal),
		IN_SCRATCH(fd_read_text_has_a_limit_and_leaves_the_text_alone),
		IN_SCRATCH(file_write_at_replaces_whole_files),
		IN_SCRATCH(a_failed_file_write_leaves_the_old_file_alone),
		IN_SCRATCH(file_poke_at_writes_into_what_is_there),
		cmocka_unit_test(flags_are_set_and_cleared),
		IN_SCRATCH(a_direct_descriptor_takes_whole_blocks),
		cmocka_unit_test(only_the_kept_descriptors_stay_open),
		cmocka_unit_test(descriptors_travel_with_a_message),
		cmocka_unit_test(surplus_descriptors_are_closed_and_refused),
		IN_SCRATCH(a_lock_waits_until_its_deadline),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
