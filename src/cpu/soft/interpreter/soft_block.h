/* soft_block - decoded code, kept: straight pieces of it, found by where they are in the host's
 * memory, so that one piece serves all addresses it is mapped at. */
#pragma once

#include "cpu/soft/soft_vcpu.h"

enum { SOFT_BLOCK_OPS_MAX = 32 };

struct soft_block {
	uint8_t code_size;
	uint8_t ops_len;
	bool is_across;   /* its only instruction begins in one page and ends in the next */
	uint32_t version; /* of its page's code, when it was decoded */
	const _Atomic uint32_t *page_version; /* borrowed */
	/* What has followed it lately, and at which rip. */
	struct soft_link {
		struct soft_block *block;
		uint64_t rip;
	} link[2];
	uint64_t stamp;          /* of the TLB entry it was last compared under */
	const uint8_t *host;     /* of its first byte */
	struct soft_block *next; /* with the same hash */
	uint8_t *bytes;          /* what was decoded, bytes_len of it; behind the ops */
	uint16_t bytes_len;
	struct soft_op ops[];
};

MUST_CHECK int soft_blocks_new(struct soft_blocks **ret_blocks, struct err *err);
void soft_blocks_free(struct soft_blocks *blocks); /* NULL is fine */

/* The block at v->rip, decoded if need be.  Raises what fetching it meets.  Valid until the next
 * call. */
struct soft_block *soft_block_find(struct soft_vcpu *v);
/* The same where the last one, still valid, has just led there; not in ring 3. */
struct soft_block *soft_block_follow(struct soft_vcpu *v, struct soft_block *last);
