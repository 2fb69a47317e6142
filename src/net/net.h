/* net - bridges, veth, addresses, the firewall table.  Remembers nothing: engine names everything.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/text.h"

struct net_bridge {
	char name[16];          /* "moat0" */
	struct in_addr address; /* of the host on the bridge, also the gateway */
	unsigned prefix_len;
};

/* A subnet for a bridge that no route or interface of this host covers: the first free of a fixed
 * list of private ranges. */
MUST_CHECK int net_subnet_choose(struct in_addr *ret_address, unsigned *ret_prefix_len,
	struct err *err);

/* The bridge with its address, up, IPv4 forwarding on; created where missing (racing callers are
 * fine).  On return *bridge has the address the bridge really has. */
MUST_CHECK int net_bridge_ensure(struct net_bridge *bridge, struct err *err);
MUST_CHECK int net_bridge_remove(const char *name, struct err *err);

/* The table "ip moat-NAME" with outbound NAT of the bridge's subnet; one transaction.  Where it is
 * already there nothing is done (asked over netlink, no helper).  run_firewall applies a ruleset
 * text in the helper role (libnftables).  An accept for the bridge is added to DOCKER-USER (or
 * the iptables FORWARD chain) where a foreign forward policy is drop. */
typedef int net_ruleset_fn(void *context, const char *ruleset, struct err *err);
MUST_CHECK int net_firewall_ensure(const struct net_bridge *bridge, net_ruleset_fn *run_firewall,
	void *context, struct err *err);
MUST_CHECK int net_firewall_remove(const char *bridge_name, net_ruleset_fn *run_firewall,
	void *context, struct err *err);
/* Body of the role "firewall": opens libnftables first thing, runs the ruleset read from fd 0. */
MUST_CHECK int net_firewall_main(struct err *err);

/* An address of the bridge's subnet for owner, reserved by a symbolic link DIR/ADDRESS to the
 * owner's id (exclusive, and never without content); the search starts behind the owner's hash so
 * that addresses are not reused at once.  is_alive tells stale owners: their addresses are taken
 * over when no other is free. */
MUST_CHECK int net_address_reserve(int dir_fd, const struct net_bridge *bridge, const char *owner,
	bool (*is_alive)(void *context, const char *owner), void *context,
	struct in_addr *ret_address, struct err *err);
MUST_CHECK int net_address_release(int dir_fd, const char *owner, struct in_addr address,
	struct err *err);

/* A veth pair: host_name on the bridge, "eth0" inside netns_fd with the MAC made from the address
 * (02:42:...), the address, up, default route by the bridge. */
struct net_port {
	const char *host_name; /* at most 15 bytes: "mt" and 12 digits of the id */
	struct in_addr address;
	uint8_t mac[6]; /* out */
};
MUST_CHECK int net_port_connect(const struct net_bridge *bridge, struct net_port *port,
	int netns_fd, struct err *err);
/* The same place for a virtual machine: a tap device with virtio-net headers on the bridge, up.  It
 * lives as long as the descriptor, which is non-blocking. */
MUST_CHECK int net_tap_open(const struct net_bridge *bridge, struct net_port *port, int *ret_fd,
	struct err *err);
MUST_CHECK int net_port_remove(const char *host_name, struct err *err); /* 0 if it is gone */

/* The card that a virtual machine was given: known by its MAC, it moves from the caller's network
 * namespace to netns_fd as "eth0" with the address, up, default route by the gateway. */
struct net_card {
	uint8_t mac[6];
	struct in_addr address, gateway;
	unsigned prefix_len;
};
MUST_CHECK int net_card_connect(const struct net_card *card, int netns_fd, struct err *err);
/* "02:42:ac:1e:00:02"; -EINVAL. */
MUST_CHECK int net_mac_parse(const char *text, uint8_t ret_mac[6]);

/* The resolv.conf a workload gets: the host's (or systemd-resolved's own) search, domain and
 * options lines, and its name servers without loopback and IPv6 ones, which a workload cannot
 * reach.  With no server left no public one is made up: the text then begins with
 * NET_RESOLV_NO_SERVER, and the caller should warn. */
#define NET_RESOLV_NO_SERVER "# moat: this host has no name server that a workload can reach"
MUST_CHECK int net_resolv_conf(struct text *ret_text, struct err *err);
