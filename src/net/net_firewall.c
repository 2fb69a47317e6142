/* net_firewall - outbound NAT and the borders of a bridge (net.h).
 *
 * One table of our own per bridge, put in place whole or not at all:
 *	- what leaves the subnet by another interface gets the host's address;
 *	- the bridge's ports may go anywhere; from elsewhere only answers come in.
 * Its chain names carry the subnet, so one question tells whether the table is there and for this
 * subnet; what is there is asked over netlink and nothing is done where it fits.
 *
 * A packet needs the consent of every table.  Where iptables' FORWARD chain drops by default
 * (Docker sets that), rules with our comment go to the head of DOCKER-USER, made for that, or of
 * FORWARD itself.  Docker may come later than our table: this is asked on each call as well.
 * Not seen: the legacy iptables back end, and other programs' tables that drop. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <stdio.h>
#include <string.h>

#include "net/net.h"
#include "net/netlink.h"
#include "net/nft_query.h"

#define FOREIGN_TABLE "filter"
#define FOREIGN_BASE "FORWARD"

/* Where an accept may be added, the better place first. */
static const char *const foreign_chains[] = { "DOCKER-USER", FOREIGN_BASE };

struct firewall_names {
	char table[32];  /* and the comment of rules elsewhere */
	char suffix[32]; /* "172.30.0.0-16" */
	char subnet[32]; /* "172.30.0.0/16" */
};

/* The name becomes part of a ruleset text. */
static int check_bridge_name(const char *name, struct err *err)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
	size_t len = strlen(name);
	if (len == 0 || len > 15 || strspn(name, allowed) != len)
		return err_set(err, ERR_INVALID,
			"bridge name \"%s\": 1 to 15 letters, digits, \"_\", \".\", \"-\" are "
			"meant",
			name);
	return 0;
}

static int table_name(const char *bridge, struct firewall_names *names, struct err *err)
{
	int r = check_bridge_name(bridge, err);
	if (r == 0)
		(void)snprintf(names->table, sizeof(names->table), "moat-%s", bridge);
	return r;
}

static int make_names(const struct net_bridge *bridge, struct firewall_names *names,
	struct err *err)
{
	if (bridge->prefix_len == 0 || bridge->prefix_len > 32)
		return err_set(err, ERR_INVALID, "bridge %s has no subnet", bridge->name);
	uint32_t mask = UINT32_MAX << (32 - bridge->prefix_len);
	struct in_addr network = { .s_addr = bridge->address.s_addr & htonl(mask) };
	char text[INET_ADDRSTRLEN];
	(void)inet_ntop(AF_INET, &network, text, sizeof(text));
	(void)snprintf(names->suffix, sizeof(names->suffix), "%s-%u", text, bridge->prefix_len);
	(void)snprintf(names->subnet, sizeof(names->subnet), "%s/%u", text, bridge->prefix_len);
	return table_name(bridge->name, names, err);
}

static void add_own_table(const struct net_bridge *bridge, const struct firewall_names *names,
	struct text *rules)
{
	const char *name = bridge->name;
	/* Added first, as deleting what is not there would fail; then made anew. */
	text_printf(rules, "add table ip %s\ndelete table ip %s\n", names->table, names->table);
	text_printf(rules, "table ip %s {\n", names->table);
	text_printf(rules,
		"\tchain nat-%s {\n"
		"\t\ttype nat hook postrouting priority 100; policy accept;\n"
		"\t\tip saddr %s oifname != \"%s\" masquerade\n"
		"\t}\n",
		names->suffix, names->subnet, name);
	text_printf(rules,
		"\tchain forward-%s {\n"
		"\t\ttype filter hook forward priority 0; policy accept;\n"
		"\t\tiifname \"%s\" accept\n"
		"\t\toifname \"%s\" ct state established,related accept\n"
		"\t\toifname \"%s\" drop\n"
		"\t}\n"
		"}\n",
		names->suffix, name, name, name);
}

static int own_table_fits(struct netlink *netlink, const struct firewall_names *names,
	bool *ret_fits, struct err *err)
{
	char chain[64];
	uint32_t policy;
	(void)snprintf(chain, sizeof(chain), "forward-%s", names->suffix);
	int r = nft_query_chain(netlink, names->table, chain, &policy, err);
	if (r < 0 && r != -ENOENT)
		return r;
	*ret_fits = r == 0;
	return 0;
}

/* The accepts this bridge needs in a foreign chain, where they are not there yet. */
static int add_foreign_rules(struct netlink *netlink, const char *bridge_name,
	const struct firewall_names *names, struct text *rules, struct err *err)
{
	uint32_t policy = NF_ACCEPT;
	int r = nft_query_chain(netlink, FOREIGN_TABLE, FOREIGN_BASE, &policy, err);
	if (r == -ENOENT || (r == 0 && policy != NF_DROP))
		return 0;
	const char *chain = NULL;
	for (size_t i = 0; r == 0 && chain == NULL && i < ARRAY_LEN(foreign_chains); i++) {
		r = nft_query_chain(netlink, FOREIGN_TABLE, foreign_chains[i], &policy, err);
		if (r == 0)
			chain = foreign_chains[i];
		else if (r == -ENOENT)
			r = 0;
	}
	if (r < 0 || chain == NULL)
		return r;
	struct nft_rules present = { 0 };
	r = nft_query_rules(netlink, FOREIGN_TABLE, chain, names->table, &present, err);
	if (r < 0 || present.len > 0)
		return r;
	static const char *const directions[] = { "iifname", "oifname" };
	for (size_t i = 0; i < ARRAY_LEN(directions); i++)
		text_printf(rules,
			"insert rule ip " FOREIGN_TABLE " %s %s \"%s\" accept comment \"%s\"\n",
			chain, directions[i], bridge_name, names->table);
	return 0;
}

int net_firewall_ensure(const struct net_bridge *bridge, net_ruleset_fn *run_firewall,
	void *context, struct err *err)
{
	struct firewall_names names;
	AUTO_DONE(netlink) netlink = { .fd = -1 };
	AUTO_DONE(text) rules = { 0 };
	bool fits = false;
	int r = make_names(bridge, &names, err);
	if (r == 0)
		r = netlink_open(NETLINK_NETFILTER, -1, &netlink, err);
	if (r == 0)
		r = own_table_fits(&netlink, &names, &fits, err);
	if (r < 0)
		return r;
	if (!fits)
		add_own_table(bridge, &names, &rules);
	r = add_foreign_rules(&netlink, bridge->name, &names, &rules, err);
	if (r < 0 || rules.len == 0)
		return r;
	r = run_firewall(context, text_string(&rules), err);
	return r < 0 ? err_wrap(err, r, "firewall of bridge %s", bridge->name) : 0;
}

int net_firewall_remove(const char *bridge_name, net_ruleset_fn *run_firewall, void *context,
	struct err *err)
{
	struct firewall_names names;
	AUTO_DONE(netlink) netlink = { .fd = -1 };
	AUTO_DONE(text) rules = { 0 };
	int r = table_name(bridge_name, &names, err);
	if (r == 0)
		r = netlink_open(NETLINK_NETFILTER, -1, &netlink, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_LEN(foreign_chains); i++) {
		struct nft_rules found = { 0 };
		r = nft_query_rules(&netlink, FOREIGN_TABLE, foreign_chains[i], names.table, &found,
			NULL);
		if (r < 0)
			continue; /* no such chain; a deletion below tells what else may be wrong */
		for (size_t n = 0; n < found.len; n++)
			text_printf(&rules, "delete rule ip " FOREIGN_TABLE " %s handle %ju\n",
				foreign_chains[i], (uintmax_t)found.handles[n]);
	}
	text_printf(&rules, "add table ip %s\ndelete table ip %s\n", names.table, names.table);
	r = run_firewall(context, text_string(&rules), err);
	return r < 0 ? err_wrap(err, r, "firewall of bridge %s", bridge_name) : 0;
}
