/* image_plan - one image of an archive, from its manifest or from docker-archive's list.  Private
 * to image/. */
#pragma once

#include "image/image.h"
#include "image/image_source.h"

void image_plan_done(struct image_plan *plan);

/* From the OCI or Docker manifest that manifest declares; its media type is a table's. */
MUST_CHECK int image_plan_from_manifest(struct image_source *source,
	const struct image_descriptor *manifest, struct image_plan *ret_plan, struct err *err);
/* From an entry of manifest.json. */
MUST_CHECK int image_plan_from_docker(struct image_source *source, json *entry,
	struct image_plan *ret_plan, struct err *err);

/* A name with a tag, familiar or full; ERR_INVALID when it is none.  One with a digest instead is
 * no reference that could be moved here: it adds nothing. */
MUST_CHECK int image_plan_add_reference(struct image_plan *plan, const char *name, struct err *err);

/* The RepoTags of an entry of manifest.json. */
MUST_CHECK int image_plan_add_tags(struct image_plan *plan, json *entry, struct err *err);

/* Refuses a document that is an index and a manifest at once (CVE-2021-41190), or whose own
 * mediaType differs from the declared one (NULL: none was declared). */
MUST_CHECK int image_document_check(json *document, bool is_index, const char *media_type,
	const char *what, struct err *err);

MUST_CHECK int image_archive_add(struct image_archive *archive, struct image_plan *take_plan,
	struct err *err);
