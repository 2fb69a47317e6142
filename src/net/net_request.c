/* net_request - see net_request.h.  The kernel takes a master, "up", and a namespace for the peer
 * in the message that creates a link; only the peer of a veth pair cannot come up there (it has no
 * other end yet: ENOTCONN). */
#include "net/net_request.h"

#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/veth.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>

#include "base/cleanup.h"

static void link_done(struct rtnl_link **link)
{
	if (*link != NULL)
		rtnl_link_put(*link);
}
#define AUTO_LINK __attribute__((cleanup(link_done))) struct rtnl_link *

static void nl_addr_done(struct nl_addr **addr)
{
	if (*addr != NULL)
		nl_addr_put(*addr);
}
#define AUTO_ADDR __attribute__((cleanup(nl_addr_done))) struct nl_addr *

static void link_fill(struct rtnl_link *object, const struct net_link *link)
{
	rtnl_link_set_name(object, link->name);
	if (link->is_up)
		rtnl_link_set_flags(object, IFF_UP);
	if (link->master != 0)
		rtnl_link_set_master(object, (int)link->master);
	if (link->netns_fd >= 0)
		rtnl_link_set_ns_fd(object, link->netns_fd);
	if (link->mac != NULL) {
		AUTO_ADDR mac = nl_addr_build(AF_LLC, link->mac, 6);
		rtnl_link_set_addr(object, mac);
	}
}

static struct nl_msg *link_message(struct rtnl_link *object, int flags)
{
	struct nl_msg *message = NULL;
	return rtnl_link_build_add_request(object, flags, &message) < 0 ? NULL : message;
}

struct nl_msg *net_request_bridge(const struct net_link *link)
{
	AUTO_LINK object = rtnl_link_alloc();
	if (object == NULL || rtnl_link_set_type(object, "bridge") < 0)
		return NULL;
	link_fill(object, link);
	return link_message(object, NLM_F_CREATE | NLM_F_EXCL);
}

struct nl_msg *net_request_veth(const struct net_link *link, const struct net_link *peer)
{
	AUTO_LINK object = rtnl_link_veth_alloc();
	if (object == NULL)
		return NULL;
	link_fill(object, link);
	struct rtnl_link *peer_object = rtnl_link_veth_get_peer(object);
	link_fill(peer_object, peer);
	rtnl_link_put(peer_object);
	return link_message(object, NLM_F_CREATE | NLM_F_EXCL);
}

struct nl_msg *net_request_attach(const char *name, unsigned master)
{
	AUTO_LINK object = rtnl_link_alloc();
	if (object == NULL)
		return NULL;
	link_fill(object, &(struct net_link){ name, NULL, master, -1, true });
	return link_message(object, 0);
}

struct nl_msg *net_request_up(const char *name)
{
	return net_request_attach(name, 0);
}

struct nl_msg *net_request_move(unsigned index, const char *name, int netns_fd)
{
	AUTO_LINK object = rtnl_link_alloc();
	if (object == NULL)
		return NULL;
	rtnl_link_set_ifindex(object, (int)index);
	link_fill(object, &(struct net_link){ .name = name, .netns_fd = netns_fd });
	return link_message(object, 0);
}

struct nl_msg *net_request_delete(const char *name)
{
	AUTO_LINK object = rtnl_link_alloc();
	if (object == NULL)
		return NULL;
	rtnl_link_set_name(object, name);
	struct nl_msg *message = NULL;
	return rtnl_link_build_delete_request(object, &message) < 0 ? NULL : message;
}

struct nl_msg *net_request_address(int type, unsigned index, struct in_addr address,
	unsigned prefix_len)
{
	AUTO_ADDR local = nl_addr_build(AF_INET, &address, sizeof(address));
	struct rtnl_addr *object = rtnl_addr_alloc();
	struct nl_msg *message = NULL;
	if (local != NULL && object != NULL) {
		nl_addr_set_prefixlen(local, (int)prefix_len);
		rtnl_addr_set_ifindex(object, (int)index);
		int r = rtnl_addr_set_local(object, local);
		if (r == 0)
			r = type == RTM_NEWADDR
				    ? rtnl_addr_build_add_request(object, NLM_F_CREATE | NLM_F_EXCL,
					      &message)
				    : rtnl_addr_build_delete_request(object, 0, &message);
		if (r < 0)
			message = NULL;
	}
	if (object != NULL)
		rtnl_addr_put(object);
	return message;
}

struct nl_msg *net_request_default_route(unsigned index, struct in_addr gateway)
{
	AUTO_ADDR via = nl_addr_build(AF_INET, &gateway, sizeof(gateway));
	AUTO_ADDR all = nl_addr_build(AF_INET, &(struct in_addr){ 0 }, sizeof(struct in_addr));
	struct rtnl_route *route = rtnl_route_alloc();
	struct rtnl_nexthop *hop = rtnl_route_nh_alloc();
	struct nl_msg *message = NULL;
	if (via != NULL && all != NULL && route != NULL && hop != NULL) {
		nl_addr_set_prefixlen(all, 0);
		rtnl_route_nh_set_ifindex(hop, (int)index);
		rtnl_route_nh_set_gateway(hop, via);
		rtnl_route_add_nexthop(route, TAKE(hop));
		rtnl_route_set_family(route, AF_INET);
		if (rtnl_route_set_dst(route, all) < 0 ||
			rtnl_route_build_add_request(route, NLM_F_CREATE | NLM_F_EXCL, &message) <
				0)
			message = NULL;
	}
	if (hop != NULL)
		rtnl_route_nh_free(hop);
	if (route != NULL)
		rtnl_route_put(route);
	return message;
}
