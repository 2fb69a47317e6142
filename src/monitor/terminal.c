/* terminal - the init makes the pty inside the container's own devpts and sends the master.  The
 * monitor also keeps the other side open: without it the master reports a hang-up, again and again,
 * whenever no process of the workload happens to have the terminal open.  It does not keep the
 * workload from its SIGHUP when the monitor is killed: that comes from closing the master. */
#include "monitor/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/fd.h"

#define CONSOLE_SAID_MAX 256 /* bytes beside the descriptor: runtimes send the peer's name */

static void terminal_on_event(void *context, int fd, uint32_t events)
{
	(void)fd;
	(void)events;
	terminal_receive(context);
}

static void terminal_close_console(struct terminal *t)
{
	loop_remove(TAKE(t->watch));
	if (t->console >= 0)
		(void)close(TAKE_FD(t->console));
}

int terminal_init(struct terminal *terminal, struct loop *loop, int take_console,
	void (*arrived)(void *context, int master), void *context, struct err *err)
{
	*terminal = (struct terminal){ .console = take_console,
		.master = -1,
		.peer = -1,
		.arrived = arrived,
		.context = context };
	if (take_console < 0)
		return 0;
	int r = fd_set_nonblocking(take_console, true);
	if (r < 0)
		return err_sys(err, -r, "read the console socket");
	return loop_watch_fd(loop, take_console, EPOLLIN, terminal_on_event, terminal,
		&terminal->watch, err);
}

void terminal_done(struct terminal *terminal)
{
	terminal_close_console(terminal);
	if (terminal->master >= 0)
		(void)close(TAKE_FD(terminal->master));
	if (terminal->peer >= 0)
		(void)close(TAKE_FD(terminal->peer));
}

void terminal_receive(struct terminal *terminal)
{
	char said[CONSOLE_SAID_MAX];
	int fd = -1;
	size_t fds_len = 0;

	if (terminal->console < 0)
		return;
	ssize_t n = fd_receive(terminal->console, said, sizeof(said), &fd, 1, &fds_len);
	if (n == -EAGAIN || n == -EINTR)
		return;
	terminal_close_console(terminal);
	if (n < 0 || fds_len == 0)
		return;
	if (fd_set_nonblocking(fd, true) < 0) {
		(void)close(fd);
		return;
	}
	terminal->master = fd;
	/* ioctl_tty(2): opens the peer whatever mount namespace its devpts is in. */
	terminal->peer = ioctl(fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (terminal->sized)
		(void)ioctl(fd, TIOCSWINSZ, &terminal->size);
	terminal->arrived(terminal->context, fd);
}

void terminal_resize(struct terminal *terminal, unsigned rows, unsigned columns)
{
	terminal->size = (struct winsize){ .ws_row = (unsigned short)rows,
		.ws_col = (unsigned short)columns };
	terminal->sized = true;
	if (terminal->master >= 0)
		(void)ioctl(terminal->master, TIOCSWINSZ, &terminal->size);
}
