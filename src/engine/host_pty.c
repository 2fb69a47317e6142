#include "engine/host_pty.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "base/fd.h"

int host_pty_open(int console_socket, int *ret_terminal, struct err *err)
{
	AUTO_CLOSE int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	int unlocked = 0;
	if (master < 0 || ioctl(master, TIOCSPTLCK, &unlocked) < 0)
		return err_sys(err, errno, "make a terminal");
	AUTO_CLOSE int terminal = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct termios mode;
	if (terminal < 0 || tcgetattr(terminal, &mode) < 0)
		return err_sys(err, errno, "open the terminal");
	cfmakeraw(&mode);
	if (tcsetattr(terminal, TCSANOW, &mode) < 0)
		return err_sys(err, errno, "set the terminal");
	int r = fd_send(console_socket, "", 1, &master, 1);
	if (r < 0)
		return err_sys(err, -r, "hand over the terminal");
	*ret_terminal = TAKE_FD(terminal);
	return 0;
}
