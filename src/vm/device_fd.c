/* device_fd - a descriptor that a device's configuration names; apart from the table of devices, so
 * that a device needs none of the others. */
#include <errno.h>
#include <fcntl.h>

#include "base/fd.h"
#include "vm/device.h"

int device_take_fd(json *config, const char *key, int *ret_fd, struct err *err)
{
	int64_t number = json_get_int(config, key, -1);
	int fd = number >= 0 && number <= INT32_MAX ? (int)number : -1;
	if (fd < 0 || fcntl(fd, F_GETFD) < 0)
		return err_set(err, ERR_INVALID, "%s names no open descriptor", key);
	int r = fd_set_cloexec(fd, true);
	if (r < 0)
		return err_sys(err, -r, "take descriptor %d", fd);
	*ret_fd = fd;
	return 0;
}
