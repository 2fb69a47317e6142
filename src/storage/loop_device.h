/* loop_device - a file as a read-only block device, for kernels that mount no plain files. */
#pragma once

#include "base/cleanup.h"
#include "base/err.h"

/* *ret_fd keeps the device until something has mounted it; the last user gone, the kernel frees it
 * (LO_FLAGS_AUTOCLEAR), also after a kill -9.  *ret_path is the caller's. */
MUST_CHECK int loop_device_attach(int file_fd, int *ret_fd, char **ret_path, struct err *err);
