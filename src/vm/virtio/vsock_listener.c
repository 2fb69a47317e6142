/* vsock_listener - see vsock_listener.h.
 *
 * A line is looked at before it is taken, so that bytes behind it, which are the guest's, stay in
 * the kernel and no buffer is needed for those who say nothing. */
#include "vm/virtio/vsock_listener.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/fd.h"
#include "base/num.h"
#include "base/text.h"

enum { LINE_MAX_BYTES = 32 };

int vsock_listener_check(int listener, uint32_t *ret_uid, struct err *err)
{
	/* Of a listening socket these are the credentials of who called listen(). */
	struct ucred peer;
	socklen_t len = sizeof(peer);
	int is_listening = 0;
	socklen_t int_len = sizeof(is_listening);
	if (getsockopt(listener, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &int_len) < 0)
		return err_sys(err, errno, "look at the machine's socket");
	if (!is_listening)
		return err_set(err, ERR_INVALID, "descriptor %d does not listen", listener);
	if (getsockopt(listener, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return err_sys(err, errno, "find the owner of the machine's socket");
	int r = fd_set_nonblocking(listener, true);
	if (r < 0)
		return err_sys(err, -r, "descriptor %d", listener);
	*ret_uid = peer.uid;
	return 0;
}

int vsock_listener_accept(int listener, uint32_t uid)
{
	int client;
	do
		client = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	while (client < 0 && (errno == EINTR || errno == ECONNABORTED));
	if (client < 0)
		return -errno;
	struct ucred peer;
	socklen_t len = sizeof(peer);
	if (getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
		(peer.uid == uid || peer.uid == 0))
		return client;
	(void)close(client);
	return -EPERM;
}

static ssize_t receive(int client, char *bytes, size_t len, int flags)
{
	struct iovec part = { bytes, len };
	struct msghdr msg = { .msg_iov = &part, .msg_iovlen = 1 };
	ssize_t n;
	do
		n = recvmsg(client, &msg, flags);
	while (n < 0 && errno == EINTR);
	return n;
}

int vsock_greeting_read(int client, uint32_t *ret_port)
{
	char line[LINE_MAX_BYTES];
	ssize_t n = receive(client, line, sizeof(line), MSG_PEEK);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	if (n == 0)
		return -ENODATA;
	const char *end = memchr(line, '\n', (size_t)n);
	if (end == NULL)
		return n == sizeof(line) ? -EBADMSG : 0;

	static const char word[] = "CONNECT ";
	size_t len = (size_t)(end - line), word_len = sizeof(word) - 1;
	uint64_t port;
	if (len <= word_len || memcmp(line, word, word_len) != 0 ||
		num_parse_u64((struct view){ line + word_len, len - word_len }, UINT32_MAX, &port) <
			0)
		return -EBADMSG;
	if (receive(client, line, len + 1, 0) != (ssize_t)len + 1)
		return -EBADMSG;
	*ret_port = (uint32_t)port;
	return 1;
}
