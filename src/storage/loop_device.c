/* loop_device - see loop_device.h.  LOOP_CTL_GET_FREE only names a device that is free now: another
 * process may take it first, which LOOP_CONFIGURE (Linux 5.8) reports as EBUSY without having
 * touched anything, so the loser asks for the next one. */
#include "storage/loop_device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>

#include "base/text.h"

enum { TRIES_MAX = 64 };

static int try_free_device(int control, int file_fd, int *ret_fd, char **ret_path)
{
	int number = ioctl(control, LOOP_CTL_GET_FREE);
	if (number < 0)
		return -errno;
	AUTO_FREE char *path = text_format("/dev/loop%d", number);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	struct loop_config config = {
		.fd = (unsigned)file_fd,
		.info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR,
	};
	if (ioctl(fd, LOOP_CONFIGURE, &config) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	*ret_path = TAKE(path);
	return 0;
}

int loop_device_attach(int file_fd, int *ret_fd, char **ret_path, struct err *err)
{
	AUTO_CLOSE int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	if (control < 0)
		return err_sys(err, errno,
			"open /dev/loop-control (is the module \"loop\" there?)");
	int r = -EBUSY;
	for (int i = 0; i < TRIES_MAX && r == -EBUSY; i++)
		r = try_free_device(control, file_fd, ret_fd, ret_path);
	return r < 0 ? err_sys(err, -r, "attach a loop device") : 0;
}
