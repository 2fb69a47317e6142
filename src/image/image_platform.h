/* image_platform - which images this machine can run.  Private to image/. */
#pragma once

#include "image/image.h"

struct image_platform {
	const char *machine;      /* as uname(2) says it */
	const char *architecture; /* as image-spec (Go) says it */
	const char *variant;      /* the one an image may name; NULL: none */
};

#define IMAGE_PLATFORM_OS "linux"

/* Of this machine; an unlisted machine has the architecture "unknown". */
struct image_platform image_platform_host(void);
/* Does a descriptor's platform object (image-spec image-index.md) mean this machine? */
bool image_platform_is_host(json *platform);
