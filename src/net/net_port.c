/* net_port - a workload's place on a bridge: a veth pair (net.h).
 *
 * Four messages: the pair, with one end up and on the bridge and the other inside; then inside what
 * net_card.c does. */
#include <errno.h>
#include <net/if.h>
#include <string.h>

#include "net/net.h"
#include "net/net_card.h"
#include "net/net_mac.h"
#include "net/net_request.h"
#include "net/netlink.h"

static int make_pair(const struct net_bridge *bridge, const struct net_port *port, int netns_fd,
	struct err *err)
{
	unsigned index = if_nametoindex(bridge->name);
	if (index == 0)
		return err_sys(err, errno, "find bridge %s", bridge->name);
	const struct net_link outside = { port->host_name, NULL, index, -1, true };
	const struct net_link inside = { NET_CARD_NAME, port->mac, 0, netns_fd, false };
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

int net_port_connect(const struct net_bridge *bridge, struct net_port *port, int netns_fd,
	struct err *err)
{
	if (strlen(port->host_name) >= IFNAMSIZ)
		return err_set(err, ERR_INVALID, "interface name \"%s\" is longer than %d bytes",
			port->host_name, IFNAMSIZ - 1);
	net_mac_of(port->address, port->mac);
	int r = make_pair(bridge, port, netns_fd, err);
	if (r == 0) {
		r = net_card_configure(port->address, bridge->prefix_len, bridge->address, netns_fd,
			err);
		if (r < 0) {
			int removed = net_port_remove(port->host_name, NULL);
			(void)removed; /* else it goes with the namespace; the first error counts */
		}
	}
	return r < 0 ? err_wrap(err, r, "port %s of bridge %s", port->host_name, bridge->name) : 0;
}
