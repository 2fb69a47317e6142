/* state - the database: SQLite (WAL), numbered migrations, short transactions.  Only engine uses
 * it. Strings in records are owned by the record; *_done frees them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/text.h"

struct state;

/* Opens dir/moat.db (created, and migrated forward, where needed; a newer schema is refused with
 * both version numbers).  Safe for many short-lived processes: busy timeout first, BEGIN IMMEDIATE,
 * no checkpoint on close.  Not to be carried across fork. */
MUST_CHECK int state_open(const char *dir, struct state **ret_state, struct err *err);
void state_free(struct state *state);
DEFINE_AUTO(state)

struct state_layer {
	struct digest diff_id, blob; /* blob unset: not kept */
	uint64_t blob_bytes, tar_bytes, erofs_bytes;
	int compression;
};
struct state_image {
	struct digest id;       /* of the config blob */
	struct digest manifest; /* of the manifest blob */
	int64_t created_ns;     /* as the image says; 0 unknown */
	int64_t loaded_ns;
	uint64_t size_bytes;        /* sum of its layers' tar bytes, as docker images counts */
	struct state_layer *layers; /* owned, lowest first */
	size_t layers_len;
};
void state_image_done(struct state_image *image);

/* Acknowledged as durable (synchronous FULL): image, its layers and references in one transaction.
 * references are full names with tags; each moves here if it stood elsewhere. */
MUST_CHECK int state_image_put(struct state *state, const struct state_image *image,
	const struct strv *references, struct err *err);
MUST_CHECK int state_layer_find(struct state *state, const struct digest *diff_id,
	struct state_layer *ret_layer, struct err *err); /* -ENOENT silently */
/* By full reference, or by id prefix (hex, at least 1 digit; ERR_CONFLICT if ambiguous). */
MUST_CHECK int state_image_by_reference(struct state *state, const char *reference,
	struct state_image *ret_image, struct err *err);
MUST_CHECK int state_image_by_prefix(struct state *state, const char *hex_prefix,
	struct state_image *ret_image, struct err *err);
/* All images, newest first, with their references. */
typedef int state_image_fn(void *context, const struct state_image *image,
	const struct strv *references, struct err *err);
MUST_CHECK int state_image_each(struct state *state, state_image_fn *fn, void *context,
	struct err *err);
MUST_CHECK int state_references(struct state *state, const struct digest *image_id,
	struct strv *references, struct err *err);
MUST_CHECK int state_reference_set(struct state *state, const char *reference,
	const struct digest *image_id, struct err *err);
MUST_CHECK int state_reference_remove(struct state *state, const char *reference, struct err *err);
/* Removes the image with its references and returns (in *ret_layers, caller frees) the layers that
 * no other image uses, rows removed as well.  ERR_CONFLICT when a workload uses the image. */
MUST_CHECK int state_image_remove(struct state *state, const struct digest *id,
	struct state_layer **ret_layers, size_t *ret_layers_len, struct err *err);

struct state_workload {
	char *id;
	char *name;
	char *spec;  /* JSON: the resolved workload specification (engine/spec.h) */
	char *image; /* reference or id as the user gave it */
	struct digest image_id;
	int64_t created_ns;
	bool auto_remove;
};
void state_workload_done(struct state_workload *workload);
/* ERR_CONFLICT when the name is in use; the message names the holder's id.  Run-time row:
 * synchronous NORMAL. */
MUST_CHECK int state_workload_put(struct state *state, const struct state_workload *workload,
	struct err *err);
/* By complete id, then by name, then by unique id prefix; ERR_NOT_FOUND "no such workload: x". */
MUST_CHECK int state_workload_find(struct state *state, const char *name_or_id,
	struct state_workload *ret_workload, struct err *err);
typedef int state_workload_fn(void *context, const struct state_workload *workload,
	struct err *err);
/* Newest first. */
MUST_CHECK int state_workload_each(struct state *state, state_workload_fn *fn, void *context,
	struct err *err);
MUST_CHECK int state_workload_remove(struct state *state, const char *id, struct err *err);
