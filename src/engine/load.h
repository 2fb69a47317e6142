/* load - what `load` and `import` (and later `pull` and `build`) do alike: layers into EROFS files,
 * documents into blobs, rows into the database. */
#pragma once

#include "engine/extract.h"
#include "state/state.h"

#define LOAD_PARALLEL_MAX 16 /* layers converted at once; no more than there are CPUs */

/* A layer's bytes and what they must be. */
struct load_layer {
	const char *name; /* borrowed; for errors */
	int fd;           /* where its bytes are: pread from offset, size of them */
	uint64_t offset, size;
	enum layer_compression compression;
	bool detect;                 /* nothing declares the compression: look */
	struct digest blob, diff_id; /* unset: not declared */
};
/* Converts those that are not stored yet; fills image->layers.  Between store_begin() and
 * store_end(). */
MUST_CHECK int load_layers(struct engine *engine, const struct load_layer *layers, size_t len,
	struct state_image *image, struct err *err);

struct load_image {
	struct view config;
	struct view manifest; /* empty: made from the layers */
	int64_t created_ns;
	const struct strv *references; /* full names */
};
/* Documents, merged metadata and rows of an image whose layers are loaded. */
MUST_CHECK int load_image(struct engine *engine, const struct load_image *wanted,
	struct state_image *image, struct err *err);
