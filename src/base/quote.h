/* quote - text from outside on its way to a terminal or a log (THREATS rule 15): control characters
 * (C0, DEL, C1), bidirectional overrides and bytes that are not UTF-8 become \n, \t or \xNN; the
 * rest stays, the backslash too: the result is for eyes, not for parsing back. */
#pragma once

#include "base/text.h"

void quote_add(struct text *out, struct view outside);
/* In memory the caller owns. */
char *quote_string(const char *outside);
/* Whether all of it is well-formed UTF-8 (RFC 3629). */
bool quote_is_utf8(const char *string);
/* For a line whose size is fixed: the same bytes become '?', in place. */
void quote_flatten(char *line);
