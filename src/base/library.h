/* library - shared libraries that are loaded when they are first needed (docs/decisions/0001). */
#pragma once

#include <stddef.h>

#include "base/cleanup.h"
#include "base/err.h"

struct library {
	const char *name;    /* "libext2fs.so.2" */
	const char *package; /* Debian's, for the person who lacks it */
	const char *purpose; /* "to make a disk" */
};

/* A symbol, and the pointer that gets its address: to a function, or to a pointer to a variable. */
struct library_symbol {
	const char *name;
	void *slot;
};

/* Fills all slots.  Once loaded the library stays: a later call opens
 * no file, so it works inside a jail.  ERR_UNSUPPORTED where the library or a symbol is not there.
 */
MUST_CHECK int library_load(const struct library *library, const struct library_symbol *symbols,
	size_t len, struct err *err);
