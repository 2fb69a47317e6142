/* kernel_check - whether a file is a kernel at all (vm.h); the loader knows more. */
#include <elf.h>
#include <string.h>

#include "base/fd.h"
#include "vm/vm.h"

int vm_kernel_check(int fd, struct text *ret_what, struct err *err)
{
	char head[0x240] = { 0 };
	int r = fd_pread_exact(fd, head, sizeof(head), 0);
	if (r == 0 && memcmp(head + 0x202, "HdrS", 4) == 0)
		text_printf(ret_what, "bzImage, boot protocol %d.%02d", head[0x207], head[0x206]);
	else if (r == 0 && memcmp(head, ELFMAG, SELFMAG) == 0)
		text_puts(ret_what, "ELF");
	else
		return err_set(err, ERR_INVALID,
			"not a kernel: neither a bzImage nor an ELF program for x86-64");
	return 0;
}
