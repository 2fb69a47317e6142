/* monitor_client - packets of a monitor's socket; see monitor_msg.h for what they mean. */
#include "wire/monitor_client.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

static_assert(offsetof(struct monitor_msg, data) == MONITOR_MSG_HEADER, "a layout on a wire");

#define BACKLOG 64 /* connections that wait; a monitor accepts at once */

static int socket_at(int run_dir, struct sockaddr_un *ret_address, struct err *err)
{
	*ret_address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	(void)snprintf(ret_address->sun_path, sizeof(ret_address->sun_path),
		"/proc/self/fd/%d/" MONITOR_SOCKET, run_dir);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	return fd < 0 ? err_sys(err, errno, "make a socket for the monitor") : fd;
}

int monitor_socket_listen(int run_dir, int *ret_socket, struct err *err)
{
	struct sockaddr_un address;
	AUTO_CLOSE int fd = socket_at(run_dir, &address, err);

	if (fd < 0)
		return fd;
	/* A killed monitor leaves its socket behind; the caller holds the lock. */
	if (unlinkat(run_dir, MONITOR_SOCKET, 0) < 0 && errno != ENOENT)
		return err_sys(err, errno, "remove the old %s", MONITOR_SOCKET);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return err_sys(err, errno, "bind %s", MONITOR_SOCKET);
	if (listen(fd, BACKLOG) < 0)
		return err_sys(err, errno, "listen at %s", MONITOR_SOCKET);
	*ret_socket = TAKE_FD(fd);
	return 0;
}

int monitor_socket_connect(int run_dir, int *ret_socket, struct err *err)
{
	struct sockaddr_un address;
	AUTO_CLOSE int fd = socket_at(run_dir, &address, err);

	if (fd < 0)
		return fd;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return err_sys(err, errno, "connect to the workload's monitor");
	*ret_socket = TAKE_FD(fd);
	return 0;
}

int monitor_send(int socket, enum monitor_msg_type type, uint32_t value, const void *data,
	size_t data_len)
{
	uint32_t header[2] = { type, value };
	/* iovec has no const; sendmsg only reads. */
	struct iovec parts[2] = { { header, sizeof(header) },
		{ (void *)(uintptr_t)data, data_len } };
	struct msghdr packet = { .msg_iov = parts, .msg_iovlen = 2 };

	while (sendmsg(socket, &packet, MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

ssize_t monitor_receive(int socket, struct monitor_msg *ret_msg)
{
	for (int resets = 0;;) {
		ssize_t n = recv(socket, ret_msg, sizeof(*ret_msg), 0);

		if (n >= MONITOR_MSG_HEADER)
			return n - MONITOR_MSG_HEADER;
		if (n >= 0)
			return n == 0 ? -ENODATA : -EBADMSG;
		/* A peer that closed with our messages unread: what it sent before that still
		 * waits behind the error (unix(7), net/unix/af_unix.c unix_release_sock). */
		if (errno == ECONNRESET && resets++ == 0)
			continue;
		if (errno != EINTR)
			return -errno;
	}
}
