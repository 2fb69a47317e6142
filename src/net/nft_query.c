/* nft_query - see nft_query.h (linux/netfilter/nf_tables.h; numbers are big-endian there). */
#include "net/nft_query.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <stdbool.h>
#include <string.h>

/* A comment is stored by nft in the rule's user data: type, length with the final zero, text
 * (libnftnl's udata.h). */
enum { UDATA_RULE_COMMENT = 0, UDATA_HEADER = 2 };

enum { HEADER = sizeof(struct nfgenmsg) };

static struct nl_msg *request(int type, int flags)
{
	const struct nfgenmsg header = { .nfgen_family = NFPROTO_IPV4, .version = NFNETLINK_V0 };
	struct nl_msg *message = nlmsg_alloc_simple((NFNL_SUBSYS_NFTABLES << 8) | type, flags);
	if (message != NULL && nlmsg_append(message, (void *)(uintptr_t)&header, sizeof(header),
				       NLMSG_ALIGNTO) < 0) {
		nlmsg_free(message);
		return NULL;
	}
	return message;
}

static struct nl_msg *put_names(struct nl_msg *message, int table_attribute, const char *table,
	int chain_attribute, const char *chain)
{
	if (message != NULL && (nla_put_string(message, table_attribute, table) < 0 ||
				       nla_put_string(message, chain_attribute, chain) < 0)) {
		nlmsg_free(message);
		return NULL;
	}
	return message;
}

static int take_chain(void *context, struct nlmsghdr *message)
{
	uint32_t *policy = context;
	const struct nlattr *attribute = nlmsg_find_attr(message, HEADER, NFTA_CHAIN_POLICY);
	if (attribute != NULL && nla_len(attribute) >= (int)sizeof(*policy))
		*policy = ntohl(nla_get_u32(attribute));
	return 0;
}

int nft_query_chain(struct netlink *netlink, const char *table, const char *chain,
	uint32_t *ret_policy, struct err *err)
{
	struct nl_msg *message = put_names(request(NFT_MSG_GETCHAIN, 0), NFTA_CHAIN_TABLE, table,
		NFTA_CHAIN_NAME, chain);
	struct err refused = { 0 };
	uint32_t policy = NF_ACCEPT;
	int r = netlink_query(netlink, message, take_chain, &policy, "ask for a firewall chain",
		&refused);
	if (r == -ENOENT)
		return r;
	if (r < 0)
		return err_copy(err, &refused);
	*ret_policy = policy;
	return 0;
}

struct wanted {
	const char *comment;
	struct nft_rules *rules;
};

static bool has_comment(const struct nlattr *userdata, const char *comment)
{
	const uint8_t *bytes = nla_data(userdata);
	size_t left = (size_t)nla_len(userdata), len = strlen(comment) + 1;
	while (left >= UDATA_HEADER && left - UDATA_HEADER >= bytes[1]) {
		if (bytes[0] == UDATA_RULE_COMMENT && bytes[1] == len &&
			memcmp(bytes + UDATA_HEADER, comment, len) == 0)
			return true;
		left -= UDATA_HEADER + bytes[1];
		bytes += UDATA_HEADER + bytes[1];
	}
	return false;
}

static int take_rule(void *context, struct nlmsghdr *message)
{
	const struct wanted *wanted = context;
	const struct nlattr *userdata = nlmsg_find_attr(message, HEADER, NFTA_RULE_USERDATA);
	const struct nlattr *handle = nlmsg_find_attr(message, HEADER, NFTA_RULE_HANDLE);
	if (userdata == NULL || handle == NULL || nla_len(handle) < (int)sizeof(uint64_t) ||
		!has_comment(userdata, wanted->comment))
		return 0;
	if (wanted->rules->len < ARRAY_LEN(wanted->rules->handles))
		wanted->rules->handles[wanted->rules->len++] = be64toh(nla_get_u64(handle));
	return 0;
}

int nft_query_rules(struct netlink *netlink, const char *table, const char *chain,
	const char *comment, struct nft_rules *ret_rules, struct err *err)
{
	struct nl_msg *message = put_names(request(NFT_MSG_GETRULE, NLM_F_DUMP), NFTA_RULE_TABLE,
		table, NFTA_RULE_CHAIN, chain);
	struct nft_rules rules = { 0 };
	struct wanted wanted = { .comment = comment, .rules = &rules };
	int r = netlink_query(netlink, message, take_rule, &wanted,
		"list the rules of a firewall chain", err);
	if (r == 0)
		*ret_rules = rules;
	return r;
}
