/* Kernel modules out of packages: any bytes at all. */
#include <stdlib.h>

#include "vm/vm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vm_module module;
	struct err err = { 0 };
	const struct view bytes = { (const char *)data, size };
	if (vm_module_read(bytes, &module, &err) < 0)
		return 0;
	/* What it returns lies inside what it was given. */
	if (module.depends.data < bytes.data ||
		module.depends.data + module.depends.len > bytes.data + size ||
		module.vermagic.data < bytes.data ||
		module.vermagic.data + module.vermagic.len > bytes.data + size)
		abort();
	return 0;
}
