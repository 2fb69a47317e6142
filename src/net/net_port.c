/* net_port - a workload's place on a bridge: a veth pair (net.h).
 *
 * Four messages: the pair, with one end up and on the bridge and the other inside; then inside: up,
 * the address, the default route. */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>

#include "net/net.h"
#include "net/net_mac.h"
#include "net/net_request.h"
#include "net/netlink.h"

#define PORT_INSIDE "eth0"

static int make_pair(const struct net_bridge *bridge, const struct net_port *port, int netns_fd,
	struct err *err)
{
	unsigned index = if_nametoindex(bridge->name);
	if (index == 0)
		return err_sys(err, errno, "find bridge %s", bridge->name);
	const struct net_link outside = { port->host_name, NULL, index, -1, true };
	const struct net_link inside = { PORT_INSIDE, port->mac, 0, netns_fd, false };
	AUTO_DONE(netlink) netlink = { .fd = -1 };
	int r = netlink_open(NETLINK_ROUTE, -1, &netlink, err);
	if (r < 0)
		return r;
	r = netlink_query(&netlink, net_request_veth(&outside, &inside), NULL, NULL,
		"create a veth pair", err);
	if (r != -EEXIST)
		return r;
	/* host_name is this workload's own: what has it is left from a start that was cut. */
	r = netlink_query(&netlink, net_request_delete(port->host_name), NULL, NULL,
		"remove what has the name", err);
	if (r < 0 && r != -ENODEV)
		return r;
	return netlink_query(&netlink, net_request_veth(&outside, &inside), NULL, NULL,
		"create a veth pair", err);
}

static int set_inside(const struct net_bridge *bridge, const struct net_port *port, int netns_fd,
	struct err *err)
{
	AUTO_DONE(netlink) netlink = { .fd = -1 };
	int r = netlink_open(NETLINK_ROUTE, netns_fd, &netlink, err);
	if (r < 0)
		return r;
	/* Device ioctls work on any socket, in that socket's namespace. */
	struct ifreq request = { .ifr_name = PORT_INSIDE };
	if (ioctl(netlink.fd, SIOCGIFINDEX, &request) < 0)
		return err_sys(err, errno, "find " PORT_INSIDE);
	unsigned index = (unsigned)request.ifr_ifindex;
	r = netlink_query(&netlink, net_request_up(PORT_INSIDE), NULL, NULL,
		"bring " PORT_INSIDE " up", err);
	if (r < 0)
		return r;
	r = netlink_query(&netlink,
		net_request_address(RTM_NEWADDR, index, port->address, bridge->prefix_len), NULL,
		NULL, "set the address", err);
	if (r < 0)
		return r;
	return netlink_query(&netlink, net_request_default_route(index, bridge->address), NULL,
		NULL, "set the default route", err);
}

int net_port_connect(const struct net_bridge *bridge, struct net_port *port, int netns_fd,
	struct err *err)
{
	if (strlen(port->host_name) >= IFNAMSIZ)
		return err_set(err, ERR_INVALID, "interface name \"%s\" is longer than %d bytes",
			port->host_name, IFNAMSIZ - 1);
	net_mac_of(port->address, port->mac);
	int r = make_pair(bridge, port, netns_fd, err);
	if (r == 0) {
		r = set_inside(bridge, port, netns_fd, err);
		if (r < 0) {
			int removed = net_port_remove(port->host_name, NULL);
			(void)removed; /* else it goes with the namespace; the first error counts */
		}
	}
	return r < 0 ? err_wrap(err, r, "port %s of bridge %s", port->host_name, bridge->name) : 0;
}
