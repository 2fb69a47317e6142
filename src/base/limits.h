/* limits - the named limits of limits.def as constants. */
#pragma once

/* GNU C lets an enumerator be as wide as its value needs. */
enum {
#define LIMIT(symbol, value, meaning) symbol = (value),
#include "base/limits.def"
#undef LIMIT
};
