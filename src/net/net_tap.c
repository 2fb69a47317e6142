/* net_tap - a virtual machine's place on a bridge: a tap device (net.h).
 *
 * The device is not persistent: it lives as long as its descriptor, so that whatever becomes of the
 * machine's process, the interface goes with it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>

#include "net/net.h"
#include "net/net_mac.h"
#include "net/net_request.h"
#include "net/netlink.h"

#define TUN_DEVICE "/dev/net/tun"
#define VNET_HEADER_BYTES 12 /* of a virtio 1.0 device (virtio 1.2, 5.1.6) */

static int make_tap(const struct net_port *port, int *ret_fd, struct err *err)
{
	AUTO_CLOSE int fd = open(TUN_DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno,
			"open " TUN_DEVICE " (a network of virtual machines needs the module tun)");
	/* VNET_HDR: packets carry the virtio-net header, so that checksums and segmentation can be
	 * left to the other side (linux/Documentation/networking/tuntap.rst). */
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	memcpy(request.ifr_name, port->host_name, strlen(port->host_name));
	int header = VNET_HEADER_BYTES;
	if (ioctl(fd, TUNSETIFF, &request) < 0 || ioctl(fd, TUNSETVNETHDRSZ, &header) < 0)
		return err_sys(err, errno, "create the tap device");
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int net_tap_open(const struct net_bridge *bridge, struct net_port *port, int *ret_fd,
	struct err *err)
{
	if (strlen(port->host_name) >= IFNAMSIZ)
		return err_set(err, ERR_INVALID, "interface name \"%s\" is longer than %d bytes",
			port->host_name, IFNAMSIZ - 1);
	net_mac_of(port->address, port->mac);
	unsigned index = if_nametoindex(bridge->name);
	if (index == 0)
		return err_sys(err, errno, "find bridge %s", bridge->name);
	AUTO_CLOSE int fd = -1;
	AUTO_DONE(netlink) netlink = { .fd = -1 };
	int r = make_tap(port, &fd, err);
	if (r == 0)
		r = netlink_open(NETLINK_ROUTE, -1, &netlink, err);
	if (r == 0)
		r = netlink_query(&netlink, net_request_attach(port->host_name, index), NULL, NULL,
			"put the tap device on the bridge", err);
	if (r < 0)
		return err_wrap(err, r, "port %s of bridge %s", port->host_name, bridge->name);
	*ret_fd = TAKE_FD(fd);
	return 0;
}
