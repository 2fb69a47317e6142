/* capability - names and sets of capabilities, and putting them on (capabilities(7)). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/json.h"

/* The five sets of a process, a bit per capability number. */
struct capability_sets {
	uint64_t bounding, effective, permitted, inheritable, ambient;
};

#define CAPABILITY_BIT(number) (UINT64_C(1) << (number))

/* "CAP_CHOWN" to its number, or -1. */
int capability_find(const char *name);
/* Docker's fourteen, as a JSON array for the default document. */
json *capability_defaults(void);
/* The same as bits. */
uint64_t capability_default_bits(void);
/* process.capabilities of the runtime specification; a name this kernel interface does not have is
 * ERR_INVALID. */
MUST_CHECK int capability_parse(json *object, struct capability_sets *ret_sets, struct err *err);
/* The part of a wanted set that this process can give: what it lacks itself is left out, as
 * Docker's
 * --privileged does in a nested engine. */
MUST_CHECK int capability_clamp(struct capability_sets *sets, struct err *err);

/* Drops all not in sets->bounding from the bounding set; needs CAP_SETPCAP, so it comes first. */
MUST_CHECK int capability_bound(const struct capability_sets *sets, struct err *err);
/* Effective, permitted, inheritable, then ambient: after this the process has no more. */
MUST_CHECK int capability_apply(const struct capability_sets *sets, struct err *err);
