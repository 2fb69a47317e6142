/* sparse_plan - see sparse_plan.h.  EROFS gives every chunk of a file, hole or not, one entry in a
 * table, and all chunks one size: small chunks make the table large, large ones store zeros around
 * each extent.  So the size that costs the fewest bytes in all is taken, and a file for which that
 * is not less than storing it whole has no holes worth keeping. */
#include "layer/sparse_plan.h"

#include "base/mem.h"
#include "layer/erofs_format.h"
#include "layer/tar.h"
#include "layer/tree.h"

struct cost {
	uint64_t bytes;
	size_t runs;
};

static uint64_t whole_blocks(uint64_t bytes)
{
	return (bytes + EROFS_BLOCK - 1) & ~(uint64_t)(EROFS_BLOCK - 1);
}

/* Goes through the runs that the extents make in chunks of 1 << bits bytes; fills runs if there is
 * room for them (NULL: only counts). */
static struct cost walk_runs(const struct tar_extent *extents, size_t extents_len, uint64_t size,
	unsigned bits, struct tree_run *runs)
{
	struct cost cost = { .bytes = 0 };
	uint64_t end = 0; /* the chunk after the last run */
	for (size_t i = 0; i < extents_len; i++) {
		if (extents[i].len == 0)
			continue;
		uint64_t first = extents[i].offset >> bits;
		uint64_t last = (extents[i].offset + extents[i].len - 1) >> bits;
		bool is_new = cost.runs == 0 || first > end;
		cost.runs += is_new;
		if (!is_new && last < end)
			continue;
		uint64_t from = is_new || first > end ? first : end;
		cost.bytes += (last + 1 - from) << bits;
		end = last + 1;
		if (runs != NULL) {
			struct tree_run *run = &runs[cost.runs - 1];
			if (is_new)
				run->first = (uint32_t)first;
			run->count = (uint32_t)(end - run->first);
		}
	}
	/* The last chunk of a file ends with it. */
	if (cost.runs > 0 && end << bits > whole_blocks(size))
		cost.bytes -= (end << bits) - whole_blocks(size);
	return cost;
}

int sparse_plan_make(const struct tar_extent *extents, size_t extents_len, uint64_t size,
	struct sparse_plan *ret_plan, struct err *err)
{
	struct sparse_plan plan = { .size = size };
	struct cost best = { .bytes = whole_blocks(size), .runs = size > 0 };
	for (uint8_t bits = 0; bits <= EROFS_CHUNK_BITS_MASK && size > 0; bits++) {
		unsigned shift = EROFS_BLOCK_BITS + bits;
		uint64_t chunks = ((size - 1) >> shift) + 1;
		struct cost cost = walk_runs(extents, extents_len, size, shift, NULL);
		cost.bytes += chunks * sizeof(struct erofs_chunk);
		if (chunks <= UINT32_MAX && cost.bytes < best.bytes) {
			best = cost;
			plan.chunk_bits = bits;
			plan.has_holes = true;
		}
	}

	void *memory;
	int r = mem_try((best.runs + 1) * sizeof(struct tree_run), UINT32_MAX, &memory, err);
	if (r < 0)
		return r;
	plan.runs = memory;
	plan.runs_len = best.runs;
	if (plan.has_holes)
		(void)walk_runs(extents, extents_len, size, EROFS_BLOCK_BITS + plan.chunk_bits,
			plan.runs);
	*ret_plan = plan;
	return 0;
}

void sparse_plan_range(const struct sparse_plan *plan, size_t run, uint64_t *ret_start,
	uint64_t *ret_end)
{
	uint64_t limit = whole_blocks(plan->size);
	if (!plan->has_holes) {
		*ret_start = 0;
		*ret_end = limit;
		return;
	}
	unsigned shift = EROFS_BLOCK_BITS + plan->chunk_bits;
	const struct tree_run *at = &plan->runs[run];
	*ret_start = (uint64_t)at->first << shift;
	*ret_end = ((uint64_t)at->first + at->count) << shift;
	if (*ret_end > limit)
		*ret_end = limit;
}
