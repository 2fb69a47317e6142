/* sparse_plan - how a file with holes is laid out: which chunk size, and which chunks have data. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

struct tar_extent;
struct tree_run;

struct sparse_plan {
	uint64_t size;
	bool has_holes; /* else one run is the whole file, which then needs no chunks */
	uint8_t chunk_bits;
	struct tree_run *runs; /* owned by the caller of sparse_plan_make() */
	size_t runs_len;
};

/* extents as in struct tar_entry. */
MUST_CHECK int sparse_plan_make(const struct tar_extent *extents, size_t extents_len, uint64_t size,
	struct sparse_plan *ret_plan, struct err *err);
/* The bytes of the file that a run covers; the end is a whole block. */
void sparse_plan_range(const struct sparse_plan *plan, size_t run, uint64_t *ret_start,
	uint64_t *ret_end);
