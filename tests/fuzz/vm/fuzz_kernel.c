/* fuzz_kernel - any bytes as a kernel: what is packed in it lies in the file; it is refused with an
 * error, or loaded inside the guest's memory with an entry in what was loaded. */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/fd.h"
#include "vm/boot/boot.h"
#include "vm/layout.h"
#include "vm/vm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = { 0 };
	struct cpu_state state = { 0 };
	AUTO(guest_mem) mem = NULL;
	AUTO_CLOSE int kernel = memfd_create("kernel", MFD_CLOEXEC);
	if (fd_pwrite_all(kernel, data, size, 0) < 0 ||
		guest_mem_new(UINT64_C(64) << 20, false, &mem, &err) < 0)
		abort();
	const struct boot boot = {
		.kernel_fd = kernel,
		.initrd_fds = &kernel,
		.initrds = 1,
		.cmdline = "quiet",
	};
	struct vm_payload payload;
	if (vm_kernel_payload(kernel, &payload, &err) < 0 || payload.offset > size ||
		payload.size > size - payload.offset)
		abort();
	int r = boot_load(&boot, mem, &state, &err);
	if (r < 0 ? err.kind == ERR_NONE
		  : state.rip < LAYOUT_HIGH || guest_mem_at(mem, state.rip, 1) == NULL)
		abort();
	return 0;
}
