/* image_layout - OCI image layouts.  Private to image/. */
#pragma once

#include "image/image.h"
#include "image/image_source.h"

/* Adds the images of index.json that this machine can run. */
MUST_CHECK int image_layout_read(struct image_source *source, struct image_archive *archive,
	struct err *err);
