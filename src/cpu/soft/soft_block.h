/* soft_block - decoded code, kept: straight pieces of it, found by where they are in the host's
 * memory, so that one piece serves all addresses it is mapped at. */
#pragma once

#include "cpu/soft/soft_vcpu.h"

enum { SOFT_BLOCK_OPS_MAX = 32 };

struct soft_block {
	const uint8_t *host; /* of its first byte */
	uint8_t code_size;
	bool is_across; /* its only instruction begins in one page and ends in the next */
	uint8_t ops_len;
	uint16_t bytes_len;
	uint32_t stamp;                       /* of the TLB entry it was last compared under */
	uint32_t version;                     /* of its page's code, when it was decoded */
	const _Atomic uint32_t *page_version; /* borrowed */
	struct soft_block *next;              /* with the same hash */
	uint8_t *bytes;                       /* what was decoded; behind the ops */
	struct soft_op ops[];
};

MUST_CHECK int soft_blocks_new(struct soft_blocks **ret_blocks, struct err *err);
void soft_blocks_free(struct soft_blocks *blocks); /* NULL is fine */

/* The block at v->rip, decoded if need be.  Raises what fetching it meets.  Valid until the next
 * call. */
const struct soft_block *soft_block_find(struct soft_vcpu *v);
