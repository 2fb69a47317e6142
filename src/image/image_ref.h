/* image_ref - private part: what the parser knows of single parts. */
#pragma once

#include <stdbool.h>

bool image_ref_is_tag(const char *text); /* "latest", "v1.2" */
