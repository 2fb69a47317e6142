/* library - see library.h.  No variable remembers the handle: dlopen of what is loaded already only
 * finds it by its name. */
#include "base/library.h"

#include <dlfcn.h>
#include <string.h>

int library_load(const struct library *library, const struct library_symbol *symbols, size_t len,
	struct err *err)
{
	void *handle = dlopen(library->name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	if (handle == NULL)
		return err_set(err, ERR_UNSUPPORTED, "cannot load %s %s: install %s", library->name,
			library->purpose, library->package);
	for (size_t i = 0; i < len; i++)
		if (dlsym(handle, symbols[i].name) == NULL)
			return err_set(err, ERR_UNSUPPORTED, "%s lacks %s", library->name,
				symbols[i].name);
	for (size_t i = 0; i < len; i++) {
		/* POSIX makes function and object pointers one size for this very use. */
		void *address = dlsym(handle, symbols[i].name);
		memcpy(symbols[i].slot, &address, sizeof(address));
	}
	return 0;
}
