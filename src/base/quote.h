/* quote - text from outside on its way to a terminal or a log (THREATS rule 15): control bytes,
 * invalid UTF-8 and escapes become \xNN, \n, \t; the rest stays. */
#pragma once

#include "base/text.h"

void quote_add(struct text *out, struct view outside);
/* In memory the caller owns. */
char *quote_string(const char *outside);
