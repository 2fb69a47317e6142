#include "base/unix_socket.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#define BACKLOG 64 /* connections that wait to be accepted */

static int socket_at(int dir_fd, const char *name, int type, struct sockaddr_un *ret_address,
	struct err *err)
{
	*ret_address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	int n = snprintf(ret_address->sun_path, sizeof(ret_address->sun_path),
		"/proc/self/fd/%d/%s", dir_fd, name);
	if (n < 0 || (size_t)n >= sizeof(ret_address->sun_path))
		return err_set(err, ERR_INVALID, "the name of socket %s is too long", name);
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	return fd < 0 ? err_sys(err, errno, "make a socket for %s", name) : fd;
}

int unix_socket_listen(int dir_fd, const char *name, int type, int *ret_socket, struct err *err)
{
	struct sockaddr_un address;
	AUTO_CLOSE int fd = socket_at(dir_fd, name, type, &address, err);
	if (fd < 0)
		return fd;
	/* Who listened before was killed: its socket stays behind. */
	if (unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
		return err_sys(err, errno, "remove the old %s", name);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return err_sys(err, errno, "bind %s", name);
	if (listen(fd, BACKLOG) < 0)
		return err_sys(err, errno, "listen at %s", name);
	*ret_socket = TAKE_FD(fd);
	return 0;
}

int unix_socket_connect(int dir_fd, const char *name, int type, int *ret_socket, struct err *err)
{
	struct sockaddr_un address;
	AUTO_CLOSE int fd = socket_at(dir_fd, name, type, &address, err);
	if (fd < 0)
		return fd;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return err_sys(err, errno, "connect to %s", name);
	*ret_socket = TAKE_FD(fd);
	return 0;
}
