/* netlink - one netlink socket and its requests.  Messages are built with libnl (its typed objects
 * for links, addresses and routes); sending is done here, because libnl's own calls fill caches or
 * lose the kernel's errno and words. */
#pragma once

#include <linux/netlink.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

struct nl_msg; /* libnl's: netlink/msg.h */

struct netlink {
	int fd;            /* owned */
	uint32_t sequence; /* of the last request */
};

/* protocol: NETLINK_ROUTE, NETLINK_NETFILTER.  netns_fd: the network namespace the socket shall
 * work in; -1: the caller's. */
MUST_CHECK int netlink_open(int protocol, int netns_fd, struct netlink *ret_netlink,
	struct err *err);
void netlink_done(struct netlink *netlink);

/* Called for each message of an answer; what it returns below 0 ends the query. */
typedef int netlink_message_fn(void *context, struct nlmsghdr *message);

/* Sends take_message (NULL: out of memory) and waits for its end: 0 or the kernel's negative errno.
 * fn NULL: answers are not wanted.  what is for the error: "create bridge moat0". */
MUST_CHECK int netlink_query(struct netlink *netlink, struct nl_msg *take_message,
	netlink_message_fn *fn, void *context, const char *what, struct err *err);
