/* netlink - see netlink.h. */
#include "net/netlink.h"

#include <errno.h>
#include <fcntl.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/proc.h"

/* The kernel fills at most this much for a reader with no more room (NLMSG_GOODSIZE). */
enum { RECEIVE_MAX = 8192, ANSWER_TIMEOUT_S = 5 };

static int open_socket(int protocol)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	if (fd < 0)
		return -errno;
	static const struct timeval timeout = { .tv_sec = ANSWER_TIMEOUT_S };
	static const int on = 1;
	/* Without these (before Linux 4.12) errors only say less. */
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) == 0)
		return fd;
	int r = -errno;
	(void)close(fd);
	return r;
}

/* A socket belongs to the namespace its maker is in: the thread is there for one call only. */
static int open_socket_in(int protocol, int netns_fd, struct err *err)
{
	AUTO_CLOSE int home = proc_open_file(gettid(), "ns/net", O_RDONLY);
	if (home < 0)
		return err_sys(err, -home, "open the own network namespace");
	if (setns(netns_fd, CLONE_NEWNET) < 0)
		return err_sys(err, errno, "enter the workload's network namespace");
	int fd = open_socket(protocol);
	if (setns(home, CLONE_NEWNET) < 0) {
		int errnum = errno;
		cleanup_close(&fd);
		return err_sys(err, errnum, "return to the own network namespace");
	}
	return fd < 0 ? err_sys(err, -fd, "open a netlink socket") : fd;
}

int netlink_open(int protocol, int netns_fd, struct netlink *ret_netlink, struct err *err)
{
	int fd = netns_fd < 0 ? open_socket(protocol) : open_socket_in(protocol, netns_fd, err);
	if (fd < 0)
		return netns_fd < 0 ? err_sys(err, -fd, "open a netlink socket") : fd;
	*ret_netlink = (struct netlink){ .fd = fd };
	return 0;
}

void netlink_done(struct netlink *netlink)
{
	cleanup_close(&netlink->fd);
	netlink->fd = -1;
}

/* NLMSGERR_ATTR_MSG (linux/netlink.h): a sentence of the kernel, or NULL. */
static const char *error_words(struct nlmsghdr *message)
{
	if ((message->nlmsg_flags & NLM_F_ACK_TLVS) == 0)
		return NULL;
	const struct nlmsgerr *error = nlmsg_data(message);
	int skip = (int)sizeof(*error);
	if ((message->nlmsg_flags & NLM_F_CAPPED) == 0)
		skip += (int)(error->msg.nlmsg_len - sizeof(error->msg));
	struct nlattr *words = nlmsg_find_attr(message, skip, NLMSGERR_ATTR_MSG);
	return words != NULL ? nla_get_string(words) : NULL;
}

static int finish(struct nlmsghdr *message, const char *what, struct err *err)
{
	int code = 0;
	if (nlmsg_datalen(message) >= (int)sizeof(int))
		code = *(const int *)nlmsg_data(message);
	if (code >= 0)
		return 0;
	const char *words = message->nlmsg_type == NLMSG_ERROR ? error_words(message) : NULL;
	return words != NULL ? err_sys(err, -code, "%s: %s", what, words)
			     : err_sys(err, -code, "%s", what);
}

static int send_message(struct netlink *netlink, struct nl_msg *message)
{
	struct nlmsghdr *header = nlmsg_hdr(message);
	header->nlmsg_seq = ++netlink->sequence;
	header->nlmsg_flags |= NLM_F_REQUEST;
	if ((header->nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP)
		header->nlmsg_flags |= NLM_F_ACK;
	return send(netlink->fd, header, header->nlmsg_len, 0) < 0 ? -errno : 0;
}

/* One datagram of the answer: 1 when it was the last. */
static int take_datagram(struct netlink *netlink, netlink_message_fn *fn, void *context,
	const char *what, struct err *err)
{
	_Alignas(struct nlmsghdr) char buffer[RECEIVE_MAX];
	ssize_t n = recv(netlink->fd, buffer, sizeof(buffer), MSG_TRUNC);
	if (n < 0 && errno == EINTR)
		return 0;
	if (n < 0)
		return err_sys(err, errno, "%s: read the answer", what);
	if ((size_t)n > sizeof(buffer))
		return err_sys(err, EMSGSIZE, "%s: the answer has %zd bytes", what, n);
	int left = (int)n;
	for (struct nlmsghdr *message = (struct nlmsghdr *)(void *)buffer; nlmsg_ok(message, left);
		message = nlmsg_next(message, &left)) {
		if (message->nlmsg_seq != netlink->sequence)
			continue;
		if (message->nlmsg_type == NLMSG_ERROR || message->nlmsg_type == NLMSG_DONE) {
			int r = finish(message, what, err);
			return r < 0 ? r : 1;
		}
		int r = fn != NULL ? fn(context, message) : 0;
		if (r < 0)
			return err_sys(err, -r, "%s", what);
	}
	return 0;
}

int netlink_query(struct netlink *netlink, struct nl_msg *take_message, netlink_message_fn *fn,
	void *context, const char *what, struct err *err)
{
	if (take_message == NULL)
		return err_sys(err, ENOMEM, "%s", what);
	int r = send_message(netlink, take_message);
	nlmsg_free(take_message);
	if (r < 0)
		return err_sys(err, -r, "%s: send the request", what);
	do {
		r = take_datagram(netlink, fn, context, what, err);
	} while (r == 0);
	return r < 0 ? r : 0;
}
