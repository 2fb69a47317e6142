/* iov - see iov.h. */
#include "vm/virtio/iov.h"

unsigned iov_slice(const struct iovec *iov, unsigned iov_len, uint64_t offset, uint64_t len,
	struct iovec *ret_iov)
{
	unsigned count = 0;
	for (unsigned i = 0; i < iov_len && len > 0; i++) {
		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		uint64_t part = iov[i].iov_len - offset;
		if (part > len)
			part = len;
		ret_iov[count++] = (struct iovec){ (uint8_t *)iov[i].iov_base + offset, part };
		len -= part;
		offset = 0;
	}
	return count;
}
