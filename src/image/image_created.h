/* image_created - the date in an image's configuration.  Private to image/. */
#pragma once

#include "base/clock.h"

/* Nanoseconds since 1970; 0 where text is NULL, no RFC 3339 date, or out of range (Docker writes
 * year 1 for an unknown date).  The date only informs: a bad one is no reason to refuse. */
int64_t image_created_parse(const char *text);
/* As Go writes it: RFC 3339 with no trailing zeros. */
const char *image_created_text(int64_t created_ns, char buffer[CLOCK_RFC3339_MAX]);
