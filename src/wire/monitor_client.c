/* monitor_client - packets of a monitor's socket; see monitor_msg.h for what they mean. */
#include "wire/monitor_client.h"

#include <assert.h>
#include <errno.h>
#include <sys/socket.h>

#include "base/unix_socket.h"

static_assert(offsetof(struct monitor_msg, data) == MONITOR_MSG_HEADER, "a layout on a wire");

int monitor_socket_listen(int run_dir, int *ret_socket, struct err *err)
{
	/* A killed monitor leaves its socket behind; the caller holds the lock. */
	return unix_socket_listen(run_dir, MONITOR_SOCKET, SOCK_SEQPACKET, ret_socket, err);
}

int monitor_socket_connect(int run_dir, int *ret_socket, struct err *err)
{
	return unix_socket_connect(run_dir, MONITOR_SOCKET, SOCK_SEQPACKET, ret_socket, err);
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
