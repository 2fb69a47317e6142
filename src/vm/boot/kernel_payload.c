/* kernel_payload - where in a bzImage the kernel itself is (Documentation/arch/x86/boot.rst,
 * "payload_offset" and "payload_length", from protocol 2.08 on).  A bzImage is a program that
 * decompresses it; whoever does that once need not do it at each start. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "vm/boot/bzimage.h"
#include "vm/vm.h"

enum {
	PAYLOAD_OFFSET = 0x248, /* from the protected-mode part on */
	PAYLOAD_LENGTH = 0x24c,
	HEAD_BYTES = 0x250,
	VERSION_MIN = 0x208,
	LEAD_BYTES = 6, /* the longest */
};

/* What each begins with, and how many bytes the build adds behind it: the size of what comes out,
 * where the format itself does not end with that (scripts/Makefile.lib, "size_append"). */
static const struct format {
	const char *compression, *lead;
	size_t lead_len, tail;
} formats[] = {
	{ "gzip", "\x1f\x8b", 2, 0 },
	{ "lz4", "\x02\x21\x4c\x18", 4, 4 },
	{ "xz",
		"\xfd"
		"7zXZ",
		6, 4 },
	{ "zstd", "\x28\xb5\x2f\xfd", 4, 4 },
};

int vm_kernel_payload(int fd, struct vm_payload *ret_payload, struct err *err)
{
	uint8_t head[HEAD_BYTES], lead[LEAD_BYTES];
	struct stat st;
	*ret_payload = (struct vm_payload){ 0 };
	if (fstat(fd, &st) < 0)
		return err_sys(err, errno, "look at the kernel");
	uint64_t size = (uint64_t)st.st_size;
	if (size < sizeof(head))
		return 0;
	int r = fd_pread_exact(fd, head, sizeof(head), 0);
	if (r < 0)
		return err_sys(err, -r, "read the kernel");
	if (!bzimage_is(head) || bzimage_get(head, BZIMAGE_VERSION, 2) < VERSION_MIN)
		return 0;
	uint64_t offset = bzimage_setup_bytes(head) + bzimage_get(head, PAYLOAD_OFFSET, 4);
	uint64_t length = bzimage_get(head, PAYLOAD_LENGTH, 4);
	if (length < sizeof(lead) || offset > size || length > size - offset)
		return 0;
	r = fd_pread_exact(fd, lead, sizeof(lead), offset);
	if (r < 0)
		return err_sys(err, -r, "read the kernel");
	for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
		if (memcmp(lead, formats[i].lead, formats[i].lead_len) != 0)
			continue;
		*ret_payload = (struct vm_payload){ .offset = offset,
			.size = length - formats[i].tail,
			.compression = formats[i].compression };
	}
	return 0;
}
