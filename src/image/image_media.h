/* image_media - media types and what they say.  Private to image/. */
#pragma once

#include "image/image.h"

enum image_media_role {
	IMAGE_MEDIA_INDEX,
	IMAGE_MEDIA_MANIFEST,
	IMAGE_MEDIA_CONFIG,
	IMAGE_MEDIA_LAYER,
};

struct image_media {
	const char *name;
	enum image_media_role role;
	int compression; /* of a layer */
};

/* The row of media_types.def, or NULL; name may be NULL. */
const struct image_media *image_media_find(const char *name);
