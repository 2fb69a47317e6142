#include "test.h"

#include <sys/socket.h>

#include "base/unix_socket.h"

static void socket_is_reached_by_its_directory(void **state)
{
	const struct scratch *scratch = *state;
	AUTO_CLOSE int listener = -1;
	AUTO_CLOSE int near = -1;
	AUTO_CLOSE int second = -1;
	struct err err = { 0 };
	assert_error(unix_socket_connect(scratch->fd, "s", SOCK_STREAM, &near, &err), ERR_SYSTEM,
		"connect to s");
	assert_int_equal(unix_socket_listen(scratch->fd, "s", SOCK_STREAM, &listener, &err), 0);
	assert_int_equal(unix_socket_connect(scratch->fd, "s", SOCK_STREAM, &near, &err), 0);
	AUTO_CLOSE int far = accept(listener, NULL, NULL);
	char byte = 0;
	assert_int_equal(write(near, "x", 1), 1);
	assert_int_equal(read(far, &byte, 1), 1);
	assert_int_equal(byte, 'x');
	/* One that a killed process left is replaced. */
	assert_int_equal(unix_socket_listen(scratch->fd, "s", SOCK_STREAM, &second, &err), 0);
}

static void name_that_is_too_long_is_refused(void **state)
{
	const struct scratch *scratch = *state;
	char name[200];
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	struct err err = { 0 };
	int fd = -1;
	assert_error(unix_socket_listen(scratch->fd, name, SOCK_STREAM, &fd, &err), ERR_INVALID,
		"too long");
	assert_int_equal(fd, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SCRATCH(socket_is_reached_by_its_directory),
		IN_SCRATCH(name_that_is_too_long_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
