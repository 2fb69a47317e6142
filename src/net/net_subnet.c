/* net_subnet - a range of addresses that this host does not use yet (net.h).
 *
 * What is in use: every address of every interface with its prefix, and the destination of every
 * route in every table, VPNs included; only default routes cover nothing here.  The candidates
 * leave out what Docker (172.17-172.20) and podman (10.88) take for their first networks, as they
 * may be installed later. */
#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <stddef.h>

#include "net/net.h"
#include "net/netlink.h"

enum { SUBNET_PREFIX = 16 };

static const uint32_t candidates[] = {
	/* host byte order */
	0xac1e0000, /* 172.30.0.0 */
	0xac1d0000, /* 172.29.0.0 */
	0xac1c0000, /* 172.28.0.0 */
	0xac1b0000, /* 172.27.0.0 */
	0xac1a0000, /* 172.26.0.0 */
	0x0a570000, /* 10.87.0.0 */
	0x0a560000, /* 10.86.0.0 */
	0x0a550000, /* 10.85.0.0 */
	0xc0a80000, /* 192.168.0.0 */
};

struct used {
	bool covered[ARRAY_LEN(candidates)];
};

static uint32_t prefix_mask(unsigned prefix_len)
{
	return prefix_len == 0 ? 0 : UINT32_MAX << (32 - prefix_len);
}

static int cover(struct used *used, const struct nlattr *attribute, unsigned prefix_len)
{
	if (attribute == NULL || prefix_len == 0 || prefix_len > 32 ||
		nla_len(attribute) < (int)sizeof(uint32_t))
		return 0;
	uint32_t address = ntohl(nla_get_u32(attribute));
	uint32_t mask = prefix_mask(prefix_len < SUBNET_PREFIX ? prefix_len : SUBNET_PREFIX);
	for (size_t i = 0; i < ARRAY_LEN(candidates); i++)
		if (((candidates[i] ^ address) & mask) == 0)
			used->covered[i] = true;
	return 0;
}

static int take_route(void *context, struct nlmsghdr *message)
{
	const struct rtmsg *route = nlmsg_data(message);
	if (message->nlmsg_type != RTM_NEWROUTE || route->rtm_family != AF_INET)
		return 0;
	return cover(context, nlmsg_find_attr(message, sizeof(*route), RTA_DST),
		route->rtm_dst_len);
}

static int take_address(void *context, struct nlmsghdr *message)
{
	const struct ifaddrmsg *address = nlmsg_data(message);
	if (message->nlmsg_type != RTM_NEWADDR || address->ifa_family != AF_INET)
		return 0;
	return cover(context, nlmsg_find_attr(message, sizeof(*address), IFA_ADDRESS),
		address->ifa_prefixlen);
}

static struct nl_msg *dump_request(int type)
{
	/* rtmsg and ifaddrmsg both begin with the family and are zero elsewhere */
	struct rtmsg body = { .rtm_family = AF_INET };
	size_t len = type == RTM_GETROUTE ? sizeof(struct rtmsg) : sizeof(struct ifaddrmsg);
	struct nl_msg *message = nlmsg_alloc_simple(type, NLM_F_DUMP);
	if (message != NULL && nlmsg_append(message, &body, len, NLMSG_ALIGNTO) < 0) {
		nlmsg_free(message);
		return NULL;
	}
	return message;
}

int net_subnet_choose(struct in_addr *ret_address, unsigned *ret_prefix_len, struct err *err)
{
	AUTO_DONE(netlink) netlink = { .fd = -1 };
	struct used used = { 0 };
	int r = netlink_open(NETLINK_ROUTE, -1, &netlink, err);
	if (r == 0)
		r = netlink_query(&netlink, dump_request(RTM_GETADDR), take_address, &used,
			"list the host's addresses", err);
	if (r == 0)
		r = netlink_query(&netlink, dump_request(RTM_GETROUTE), take_route, &used,
			"list the host's routes", err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_LEN(candidates); i++) {
		if (used.covered[i])
			continue;
		ret_address->s_addr = htonl(candidates[i] + 1);
		*ret_prefix_len = SUBNET_PREFIX;
		return 0;
	}
	return err_set(err, ERR_CONFLICT,
		"addresses or routes of this host cover all %zu subnets moat would choose from: "
		"name a free one",
		ARRAY_LEN(candidates));
}
