/* console - a pty made inside the container.
 *
 * The master comes from the container's own devpts, so ptsname and /dev/pts inside agree.  The
 * other end is opened from the master by TIOCGPTPEER, never by a path: a devpts of the image's
 * making cannot hand us another file (CVE-2025-52565), and /dev/console is bound from that
 * descriptor. */
#include "container/console.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <termios.h>

#include "base/fd.h"
#include "base/path.h"
#include "container/container_spec.h"
#include "container/mount_tree.h"

int console_open(int root_fd, const struct spec_process *process, int console_socket,
	int *ret_terminal, struct err *err)
{
	AUTO_CLOSE int master = path_at_open_beneath(root_fd, "dev/pts/ptmx", O_RDWR | O_NOCTTY, 0);
	struct statfs fs;
	if (master < 0)
		return err_sys(err, -master, "open a terminal: /dev/pts/ptmx of the container");
	if (fstatfs(master, &fs) < 0 || fs.f_type != DEVPTS_SUPER_MAGIC)
		return err_set(err, ERR_DENIED, "/dev/pts of the container is no devpts");
	int unlocked = 0;
	if (ioctl(master, TIOCSPTLCK, &unlocked) < 0)
		return err_sys(err, errno, "unlock the container's terminal");
	AUTO_CLOSE int terminal = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (terminal < 0)
		return err_sys(err, errno, "open the container's terminal");
	const struct winsize size = { .ws_row = process->rows, .ws_col = process->columns };
	if (size.ws_row != 0 && ioctl(master, TIOCSWINSZ, &size) < 0)
		return err_sys(err, errno, "set the size of the container's terminal");
	int r = fd_send(console_socket, "", 1, &master, 1);
	if (r < 0)
		return err_sys(err, -r, "hand over the container's terminal");
	*ret_terminal = TAKE_FD(terminal);
	return 0;
}

int console_bind(int dev_fd, int terminal, struct err *err)
{
	AUTO_CLOSE int target = openat(dev_fd, "console",
		O_CREAT | O_EXCL | O_NOFOLLOW | O_RDONLY | O_CLOEXEC, 0600);
	if (target < 0)
		return err_sys(err, errno, "make /dev/console");
	AUTO_CLOSE int clone =
		open_tree(terminal, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (clone < 0)
		return err_sys(err, errno, "bind the terminal at /dev/console");
	return mount_attach(clone, target, "/dev/console", err);
}

int console_attach(int take_terminal, struct err *err)
{
	AUTO_CLOSE int terminal = take_terminal;
	if (ioctl(terminal, TIOCSCTTY, 0) < 0)
		return err_sys(err, errno, "take the terminal");
	for (int fd = 0; fd <= 2; fd++)
		if (dup2(terminal, fd) < 0)
			return err_sys(err, errno, "open stdin, stdout and stderr");
	if (terminal <= 2)
		(void)TAKE_FD(terminal);
	return 0;
}
