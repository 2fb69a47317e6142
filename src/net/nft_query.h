/* nft_query - what nf_tables has, asked over netlink (no libnftables: that costs a process). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "net/netlink.h"

/* Of the family ip.  -ENOENT, silently, when the chain is not there; *ret_policy is NF_DROP or
 * NF_ACCEPT, NF_ACCEPT too for a chain that is no base chain. */
MUST_CHECK int nft_query_chain(struct netlink *netlink, const char *table, const char *chain,
	uint32_t *ret_policy, struct err *err);

/* The rules of a chain that carry this comment. */
struct nft_rules {
	uint64_t handles[16];
	size_t len; /* handles beyond the array are not told */
};
MUST_CHECK int nft_query_rules(struct netlink *netlink, const char *table, const char *chain,
	const char *comment, struct nft_rules *ret_rules, struct err *err);
