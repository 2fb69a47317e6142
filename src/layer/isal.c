/* isal - see isal.h.  No variable remembers the handle: dlopen of what is loaded already only finds
 * it by its name. */
#include "layer/isal.h"

#include <dlfcn.h>
#include <stddef.h>

#define ISAL_NAME "libisal.so.2"

int isal_load(struct isal *ret_isal, struct err *err)
{
	void *library = dlopen(ISAL_NAME, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	if (library == NULL)
		return err_set(err, ERR_UNSUPPORTED,
			"cannot load " ISAL_NAME " to inflate layers: install libisal2");

	struct isal isal = { 0 };
	const struct {
		const char *name;
		void *function;
	} wanted[] = {
		{ "isal_inflate_init", &isal.inflate_init },
		{ "isal_inflate_reset", &isal.inflate_reset },
		{ "isal_inflate", &isal.inflate },
		{ "isal_gzip_header_init", &isal.gzip_header_init },
		{ "isal_read_gzip_header", &isal.read_gzip_header },
	};
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
		/* POSIX makes function and object pointers one size for this very use. */
		void *symbol = dlsym(library, wanted[i].name);
		if (symbol == NULL)
			return err_set(err, ERR_UNSUPPORTED, ISAL_NAME " lacks %s", wanted[i].name);
		*(void **)wanted[i].function = symbol;
	}
	*ret_isal = isal;
	return 0;
}
