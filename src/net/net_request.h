/* net_request - messages for links, addresses and routes, made with libnl's typed objects (no
 * caches).  NULL: out of memory. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct nl_msg; /* libnl's: netlink/msg.h */

struct net_link {
	const char *name;
	const uint8_t *mac; /* 6 bytes; NULL: the kernel's choice */
	unsigned master;    /* interface index of the bridge; 0: none */
	int netns_fd;       /* where it appears; -1: in the socket's namespace */
	bool is_up;
};

struct nl_msg *net_request_bridge(const struct net_link *link);
struct nl_msg *net_request_veth(const struct net_link *link, const struct net_link *peer);
struct nl_msg *net_request_up(const char *name);
/* An existing link comes up on the bridge of that interface index. */
struct nl_msg *net_request_attach(const char *name, unsigned master);
/* The interface of this index gets the name and the namespace. */
struct nl_msg *net_request_move(unsigned index, const char *name, int netns_fd);
struct nl_msg *net_request_delete(const char *name);

/* type: RTM_NEWADDR, RTM_DELADDR */
struct nl_msg *net_request_address(int type, unsigned index, struct in_addr address,
	unsigned prefix_len);
struct nl_msg *net_request_default_route(unsigned index, struct in_addr gateway);
