/* iov - a piece of a request's buffers, as readv() and writev() take it. */
#pragma once

#include <stdint.h>
#include <sys/uio.h>

/* Bytes [offset, offset + len) of the first iov_len parts, or as many of them as there are; ret_iov
 * has room for iov_len parts.  Returns how many it has. */
unsigned iov_slice(const struct iovec *iov, unsigned iov_len, uint64_t offset, uint64_t len,
	struct iovec *ret_iov);
