#include "engine/backend.h"

#include <string.h>

#define BACKEND(isolation, symbol) extern const struct backend symbol;
#include "engine/backends.def"
#undef BACKEND

static const struct backend *const backends[] = {
#define BACKEND(isolation, symbol) &symbol,
#include "engine/backends.def"
#undef BACKEND
};

const struct backend *const *backend_all(size_t *ret_len)
{
	*ret_len = ARRAY_LEN(backends);
	return backends;
}

int backend_find(const char *isolation, const struct backend **ret_backend, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(backends); i++) {
		if (strcmp(backends[i]->name, isolation) == 0) {
			*ret_backend = backends[i];
			return 0;
		}
	}
	if (strcmp(isolation, "vm") == 0)
		return err_set(err, ERR_UNSUPPORTED,
			"isolation vm: this version of moat has no virtual machine wall yet, use "
			"--isolation container");
	return err_set(err, ERR_INVALID, "unknown isolation \"%s\": use container or vm",
		isolation);
}
