/* net_card - a workload's end of its connection, whatever made it: a veth pair (net_port.c), or the
 * network card of a virtual machine. */
#include "net/net_card.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <string.h>
#include <sys/ioctl.h>

#include "net/net.h"
#include "net/net_request.h"
#include "net/netlink.h"

int net_card_configure(struct in_addr address, unsigned prefix_len, struct in_addr gateway,
	int netns_fd, struct err *err)
{
	AUTO_DONE(netlink) netlink = { .fd = -1 };
	int r = netlink_open(NETLINK_ROUTE, netns_fd, &netlink, err);
	if (r < 0)
		return r;
	/* Device ioctls work on any socket, in that socket's namespace. */
	struct ifreq request = { .ifr_name = NET_CARD_NAME };
	if (ioctl(netlink.fd, SIOCGIFINDEX, &request) < 0)
		return err_sys(err, errno, "find " NET_CARD_NAME);
	unsigned index = (unsigned)request.ifr_ifindex;
	r = netlink_query(&netlink, net_request_up(NET_CARD_NAME), NULL, NULL,
		"bring " NET_CARD_NAME " up", err);
	if (r < 0)
		return r;
	r = netlink_query(&netlink, net_request_address(RTM_NEWADDR, index, address, prefix_len),
		NULL, NULL, "set the address", err);
	if (r < 0)
		return r;
	return netlink_query(&netlink, net_request_default_route(index, gateway), NULL, NULL,
		"set the default route", err);
}

/* The index of the interface with this MAC, or 0. */
static unsigned find_by_mac(const uint8_t mac[6], int socket)
{
	struct if_nameindex *all = if_nameindex();
	unsigned index = 0;
	for (struct if_nameindex *i = all; i != NULL && i->if_name != NULL && index == 0; i++) {
		struct ifreq request = { .ifr_flags = 0 };
		memcpy(request.ifr_name, i->if_name, strnlen(i->if_name, IFNAMSIZ - 1));
		if (ioctl(socket, SIOCGIFHWADDR, &request) == 0 &&
			request.ifr_hwaddr.sa_family == ARPHRD_ETHER &&
			memcmp(request.ifr_hwaddr.sa_data, mac, 6) == 0)
			index = i->if_index;
	}
	if (all != NULL)
		if_freenameindex(all);
	return index;
}

int net_card_connect(const struct net_card *card, int netns_fd, struct err *err)
{
	AUTO_DONE(netlink) netlink = { .fd = -1 };
	int r = netlink_open(NETLINK_ROUTE, -1, &netlink, err);
	if (r < 0)
		return r;
	unsigned index = find_by_mac(card->mac, netlink.fd);
	if (index == 0)
		return err_set(err, ERR_NOT_FOUND,
			"the machine has no network card %02x:%02x:%02x:%02x:%02x:%02x",
			card->mac[0], card->mac[1], card->mac[2], card->mac[3], card->mac[4],
			card->mac[5]);
	r = netlink_query(&netlink, net_request_move(index, NET_CARD_NAME, netns_fd), NULL, NULL,
		"hand the network card to the workload", err);
	return r < 0 ? r
		     : net_card_configure(card->address, card->prefix_len, card->gateway, netns_fd,
			       err);
}
