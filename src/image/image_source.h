/* image_source - the small members of an archive, read within a budget and verified.  Private to
 * image/. */
#pragma once

#include "image/image.h"

struct image_source {
	const struct image_members *members; /* borrowed */
	uint64_t bytes;                      /* read so far */
	unsigned documents;                  /* read so far */
};

/* A member as it is.  ERR_LIMIT when the archive's documents are too many or too long. */
MUST_CHECK int image_source_read(struct image_source *source, const char *name,
	struct text *ret_text, struct err *err);
/* The blob that a descriptor declares, after its size and digest were found to be right. */
MUST_CHECK int image_source_blob(struct image_source *source,
	const struct image_descriptor *descriptor, struct text *ret_text, struct err *err);

/* An image-spec descriptor (descriptor.md).  media_type is borrowed from value and may be of any
 * kind; what names the document it stands in. */
MUST_CHECK int image_descriptor_read(json *value, const char *what,
	struct image_descriptor *ret_descriptor, struct err *err);
json *image_descriptor_json(const struct image_descriptor *descriptor);
