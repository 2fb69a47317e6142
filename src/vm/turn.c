/* turn - see turn.h. */
#include "vm/turn.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

static void on_turn(void *context, int fd, uint32_t events)
{
	const struct turn *turn = context;
	eventfd_t count;
	(void)events;
	(void)!eventfd_read(fd, &count);
	turn->fn(turn->context);
}

int turn_open(struct turn *turn, struct loop *loop, turn_fn *fn, void *context, struct err *err)
{
	AUTO_CLOSE int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return err_sys(err, errno, "make an eventfd");
	struct loop_watch *watch = NULL;
	int r = loop_watch_fd(loop, fd, EPOLLIN, on_turn, turn, &watch, err);
	if (r == 0)
		*turn = (struct turn){ TAKE_FD(fd), watch, fn, context };
	return r;
}

void turn_done(struct turn *turn)
{
	if (turn->watch == NULL)
		return;
	loop_remove(TAKE(turn->watch));
	(void)close(TAKE_FD(turn->fd));
}

void turn_ask(const struct turn *turn)
{
	(void)!eventfd_write(turn->fd, 1);
}
