/* net_bridge - the bridge of a network (net.h).
 *
 * The usual call finds everything there and costs a few ioctls and one read.  Racing callers may
 * both try to create: the second sees EEXIST, and of two addresses the kernel lists the first added
 * first; whose address is not that one takes it back.
 *
 * No spanning tree: ports forward at once.  The bridge has a fixed MAC, as it would otherwise take
 * the lowest of its ports' and neighbours' ARP entries for the gateway would go stale. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/fd.h"
#include "net/net.h"
#include "net/net_mac.h"
#include "net/net_request.h"
#include "net/netlink.h"

#define FORWARD_FILE "/proc/sys/net/ipv4/ip_forward"

static struct in_addr request_address(const struct ifreq *request)
{
	struct sockaddr_in address;
	memcpy(&address, &request->ifr_addr, sizeof(address));
	return address.sin_addr;
}

/* -ENODEV: not there; -EADDRNOTAVAIL: without an address; -ENETDOWN: not up. */
static int read_bridge(struct net_bridge *bridge)
{
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	struct ifreq request = { 0 };
	memcpy(request.ifr_name, bridge->name, sizeof(bridge->name));
	if (ioctl(fd, SIOCGIFFLAGS, &request) < 0)
		return -errno;
	bool is_up = (request.ifr_flags & IFF_UP) != 0;
	if (ioctl(fd, SIOCGIFADDR, &request) < 0)
		return -errno;
	struct in_addr address = request_address(&request);
	if (ioctl(fd, SIOCGIFNETMASK, &request) < 0)
		return -errno;
	uint32_t mask = ntohl(request_address(&request).s_addr);
	if (!is_up)
		return -ENETDOWN;
	bridge->address = address;
	bridge->prefix_len = (unsigned)__builtin_popcount(mask);
	return 0;
}

static int make_link(struct netlink *netlink, const struct net_bridge *bridge, struct err *err)
{
	uint8_t mac[6];
	net_mac_of(bridge->address, mac);
	const struct net_link link = { .name = bridge->name,
		.mac = mac,
		.netns_fd = -1,
		.is_up = true };
	int r = netlink_query(netlink, net_request_bridge(&link), NULL, NULL, "create the bridge",
		err);
	if (r != -EEXIST)
		return r;
	return netlink_query(netlink, net_request_up(bridge->name), NULL, NULL,
		"bring the bridge up", err);
}

static int make_address(struct netlink *netlink, const struct net_bridge *bridge, unsigned index,
	struct err *err)
{
	int r = netlink_query(netlink,
		net_request_address(RTM_NEWADDR, index, bridge->address, bridge->prefix_len), NULL,
		NULL, "give the bridge its address", err);
	return r == -EEXIST ? 0 : r;
}

static int make_bridge(struct net_bridge *bridge, struct err *err)
{
	if (bridge->address.s_addr == 0 || bridge->prefix_len == 0 || bridge->prefix_len > 30)
		return err_set(err, ERR_INVALID,
			"a bridge needs an address and a prefix of 1 to 30");
	AUTO_DONE(netlink) netlink = { .fd = -1 };
	int r = netlink_open(NETLINK_ROUTE, -1, &netlink, err);
	if (r == 0)
		r = make_link(&netlink, bridge, err);
	if (r < 0)
		return r;
	struct net_bridge found = *bridge;
	r = read_bridge(&found);
	unsigned index = if_nametoindex(bridge->name);
	if (r == -EADDRNOTAVAIL) {
		r = make_address(&netlink, bridge, index, err);
		if (r < 0)
			return r;
		r = read_bridge(&found);
	}
	if (r < 0)
		return err_sys(err, -r, "read the address");
	if (found.address.s_addr != bridge->address.s_addr) {
		int removed = netlink_query(&netlink,
			net_request_address(RTM_DELADDR, index, bridge->address,
				bridge->prefix_len),
			NULL, NULL, "take back an address", NULL);
		(void)removed; /* it may never have been added */
	}
	*bridge = found;
	return 0;
}

/* Written only where it is off: a host that set it keeps it as it is. */
static int enable_forwarding(struct err *err)
{
	AUTO_DONE(text) value = { 0 };
	int r = file_read_at(AT_FDCWD, FORWARD_FILE, 16, &value, err);
	if (r < 0 || text_string(&value)[0] != '0')
		return r;
	return file_poke_at(AT_FDCWD, FORWARD_FILE, "1", err);
}

int net_bridge_ensure(struct net_bridge *bridge, struct err *err)
{
	int r = read_bridge(bridge);
	if (r == -ENODEV || r == -EADDRNOTAVAIL || r == -ENETDOWN)
		r = make_bridge(bridge, err);
	else if (r < 0)
		r = err_sys(err, -r, "read the address");
	if (r == 0)
		r = enable_forwarding(err);
	return r < 0 ? err_wrap(err, r, "bridge %s", bridge->name) : 0;
}

static int remove_link(const char *name, struct err *err)
{
	AUTO_DONE(netlink) netlink = { .fd = -1 };
	int r = netlink_open(NETLINK_ROUTE, -1, &netlink, err);
	if (r == 0)
		r = netlink_query(&netlink, net_request_delete(name), NULL, NULL, "remove the link",
			err);
	return r == -ENODEV ? 0 : r;
}

int net_bridge_remove(const char *name, struct err *err)
{
	int r = remove_link(name, err);
	return r < 0 ? err_wrap(err, r, "bridge %s", name) : 0;
}

int net_port_remove(const char *host_name, struct err *err)
{
	int r = remove_link(host_name, err);
	return r < 0 ? err_wrap(err, r, "port %s", host_name) : 0;
}
