/* images - images by name. */
#pragma once

#include "engine/handle.h"
#include "image/image.h"

/* By reference ("busybox", "a/b:1", "name@sha256:..."), by "sha256:HEX" or by a prefix of the id.
 * ERR_NOT_FOUND: "no such image: x". */
MUST_CHECK int images_find(struct engine *engine, const char *name, struct state_image *ret_image,
	struct err *err);
MUST_CHECK int images_config(struct engine *engine, const struct digest *id,
	struct image_config *ret_config, struct err *err);
