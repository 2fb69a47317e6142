/* floor_link - see floor_link.h.  Each function opens a socket of its own, as a socket belongs to
 * the namespace it was made in.  Requests go one by one: rtnetlink acknowledges in about 10 us. */
#define _GNU_SOURCE
#include "floor_link.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUEST_MAX = 1024 };

struct request {
	struct nlmsghdr head;
	uint8_t body[REQUEST_MAX];
};

static void *request_init(struct request *q, int type, int flags, size_t fixed)
{
	memset(q, 0, sizeof(*q));
	q->head.nlmsg_type = (uint16_t)type;
	q->head.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
	q->head.nlmsg_len = (uint32_t)NLMSG_LENGTH(fixed);
	return q->body;
}

static struct rtattr *attr_add(struct request *q, int type, const void *data, size_t len)
{
	struct rtattr *a = (struct rtattr *)((char *)q + NLMSG_ALIGN(q->head.nlmsg_len));
	if (NLMSG_ALIGN(q->head.nlmsg_len) + RTA_SPACE(len) > sizeof(*q))
		abort();
	a->rta_type = (uint16_t)type;
	a->rta_len = (uint16_t)RTA_LENGTH(len);
	if (len > 0)
		memcpy(RTA_DATA(a), data, len);
	q->head.nlmsg_len = (uint32_t)(NLMSG_ALIGN(q->head.nlmsg_len) + RTA_ALIGN(a->rta_len));
	return a;
}

static void attr_string(struct request *q, int type, const char *text)
{
	(void)attr_add(q, type, text, strlen(text) + 1);
}

/* What was added since the attribute began becomes its content. */
static void attr_nest_end(struct request *q, struct rtattr *nest)
{
	nest->rta_len = (uint16_t)((char *)q + q->head.nlmsg_len - (char *)nest);
}

static int request_send(int fd, const struct request *q)
{
	struct {
		struct nlmsghdr head;
		struct nlmsgerr error;
		uint8_t rest[REQUEST_MAX];
	} answer;
	if (send(fd, q, q->head.nlmsg_len, 0) < 0)
		return -errno;
	ssize_t n = recv(fd, &answer, sizeof(answer), 0);
	if (n < 0)
		return -errno;
	return answer.head.nlmsg_type == NLMSG_ERROR ? answer.error.error : -EPROTO;
}

static int rtnetlink_open(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	return fd < 0 ? -errno : fd;
}

static int link_up(int fd, unsigned index)
{
	struct request q;
	struct ifinfomsg *info = request_init(&q, RTM_NEWLINK, 0, sizeof(*info));
	info->ifi_index = (int)index;
	info->ifi_flags = info->ifi_change = IFF_UP;
	return request_send(fd, &q);
}

static int address_add(int fd, unsigned index, uint32_t address, uint8_t prefix)
{
	struct request q;
	struct ifaddrmsg *info =
		request_init(&q, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, sizeof(*info));
	info->ifa_family = AF_INET;
	info->ifa_prefixlen = prefix;
	info->ifa_index = index;
	(void)attr_add(&q, IFA_LOCAL, &address, sizeof(address));
	(void)attr_add(&q, IFA_ADDRESS, &address, sizeof(address));
	return request_send(fd, &q);
}

static int route_default(int fd, uint32_t gateway)
{
	struct request q;
	struct rtmsg *info = request_init(&q, RTM_NEWROUTE, NLM_F_CREATE, sizeof(*info));
	info->rtm_family = AF_INET;
	info->rtm_table = RT_TABLE_MAIN;
	info->rtm_protocol = RTPROT_BOOT;
	info->rtm_type = RTN_UNICAST;
	(void)attr_add(&q, RTA_GATEWAY, &gateway, sizeof(gateway));
	return request_send(fd, &q);
}

int link_bridge_ensure(const char *name, uint32_t address, uint8_t prefix)
{
	int fd = rtnetlink_open();
	if (fd < 0)
		return fd;
	struct request q;
	(void)request_init(&q, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
	attr_string(&q, IFLA_IFNAME, name);
	struct rtattr *nest = attr_add(&q, IFLA_LINKINFO, NULL, 0);
	attr_string(&q, IFLA_INFO_KIND, "bridge");
	attr_nest_end(&q, nest);
	int r = request_send(fd, &q);
	if (r == 0)
		r = address_add(fd, if_nametoindex(name), address, prefix);
	if (r == 0)
		r = link_up(fd, if_nametoindex(name));
	(void)close(fd);
	return r == -EEXIST ? 0 : r;
}

int link_veth_make(const char *name, const char *bridge, pid_t pid)
{
	unsigned master = if_nametoindex(bridge);
	int fd = rtnetlink_open();
	if (fd < 0)
		return fd;
	struct request q;
	struct ifinfomsg *info =
		request_init(&q, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(*info));
	info->ifi_flags = info->ifi_change = IFF_UP;
	attr_string(&q, IFLA_IFNAME, name);
	(void)attr_add(&q, IFLA_MASTER, &master, sizeof(master));
	struct rtattr *link = attr_add(&q, IFLA_LINKINFO, NULL, 0);
	attr_string(&q, IFLA_INFO_KIND, "veth");
	struct rtattr *data = attr_add(&q, IFLA_INFO_DATA, NULL, 0);
	struct ifinfomsg empty = { 0 };
	struct rtattr *peer = attr_add(&q, VETH_INFO_PEER, &empty, sizeof(empty));
	attr_string(&q, IFLA_IFNAME, "eth0");
	(void)attr_add(&q, IFLA_NET_NS_PID, &pid, sizeof(pid));
	attr_nest_end(&q, peer);
	attr_nest_end(&q, data);
	attr_nest_end(&q, link);
	int r = request_send(fd, &q);
	(void)close(fd);
	return r;
}

int link_loopback_up(void)
{
	int fd = rtnetlink_open();
	if (fd < 0)
		return fd;
	int r = link_up(fd, 1);
	(void)close(fd);
	return r;
}

int link_eth0_up(uint32_t address, uint8_t prefix, uint32_t gateway)
{
	int fd = rtnetlink_open();
	if (fd < 0)
		return fd;
	unsigned index = if_nametoindex("eth0");
	int r = address_add(fd, index, address, prefix);
	if (r == 0)
		r = link_up(fd, index);
	if (r == 0)
		r = route_default(fd, gateway);
	(void)close(fd);
	return r;
}
