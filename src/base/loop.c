/* loop - see loop.h.  Timers are timerfds and signals are signalfds, so everything is a descriptor
 * in one epoll set.
 *
 * A callback may remove any watch, also one whose event already waits in the same batch.  A removed
 * watch is therefore marked and kept until the batch is through, and freed then. */
#include "base/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

#include "base/mem.h"

enum { BATCH = 32 };

struct loop_watch {
	struct loop *loop; /* borrowed */
	struct loop_watch *next, *previous;
	int fd;       /* borrowed in a plain watch, else owned */
	bool removed; /* in the loop's list of the removed */
	void (*dispatch)(struct loop_watch *watch, uint32_t events);
	union {
		loop_fd_fn *fd_fn;
		loop_timer_fn *timer_fn;
		loop_signal_fn *signal_fn;
	};
	void *context; /* borrowed */
	int signal_number;
	bool was_blocked; /* the signal, before the watch */
};

struct loop {
	int epoll;                  /* owned */
	struct loop_watch *watches; /* owned */
	struct loop_watch *removed; /* owned; freed after the batch */
	bool stopped;
	int status;
};

int loop_new(struct loop **ret_loop, struct err *err)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll < 0)
		return err_sys(err, errno, "create an event loop");
	struct loop *loop = NEW(loop);
	loop->epoll = epoll;
	*ret_loop = loop;
	return 0;
}

static void free_removed(struct loop *loop)
{
	while (loop->removed != NULL) {
		struct loop_watch *watch = loop->removed;
		loop->removed = watch->next;
		free(watch);
	}
}

void loop_free(struct loop *loop)
{
	if (loop == NULL)
		return;
	while (loop->watches != NULL)
		loop_remove(loop->watches);
	free_removed(loop);
	(void)close(loop->epoll);
	free(loop);
}

static void dispatch_fd(struct loop_watch *watch, uint32_t events)
{
	watch->fd_fn(watch->context, watch->fd, events);
}

static void dispatch_timer(struct loop_watch *watch, uint32_t events)
{
	(void)events;
	uint64_t count;
	if (read(watch->fd, &count, sizeof(count)) == sizeof(count))
		watch->timer_fn(watch->context);
}

static void dispatch_signal(struct loop_watch *watch, uint32_t events)
{
	(void)events;
	struct signalfd_siginfo info;
	if (read(watch->fd, &info, sizeof(info)) == sizeof(info))
		watch->signal_fn(watch->context, watch->signal_number);
}

static struct loop_watch *watch_new(struct loop *loop, int fd,
	void (*dispatch)(struct loop_watch *watch, uint32_t events), void *context)
{
	struct loop_watch *watch = NEW(loop_watch);
	watch->loop = loop;
	watch->fd = fd;
	watch->dispatch = dispatch;
	watch->context = context;
	return watch;
}

/* Adds it to the epoll set and the list; on failure it is freed, not its descriptor. */
static int watch_add(struct loop_watch *take_watch, uint32_t events, struct err *err)
{
	struct loop *loop = take_watch->loop;
	struct epoll_event event = { .events = events, .data.ptr = take_watch };
	if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, take_watch->fd, &event) < 0) {
		int r = err_sys(err, errno, "watch descriptor %d", take_watch->fd);
		free(take_watch);
		return r;
	}
	take_watch->next = loop->watches;
	if (loop->watches != NULL)
		loop->watches->previous = take_watch;
	loop->watches = take_watch;
	return 0;
}

int loop_watch_fd(struct loop *loop, int fd, uint32_t events, loop_fd_fn *fn, void *context,
	struct loop_watch **ret_watch, struct err *err)
{
	struct loop_watch *watch = watch_new(loop, fd, dispatch_fd, context);
	watch->fd_fn = fn;
	int r = watch_add(watch, events, err);
	if (r == 0)
		*ret_watch = watch;
	return r;
}

int loop_change(struct loop_watch *watch, uint32_t events, struct err *err)
{
	struct epoll_event event = { .events = events, .data.ptr = watch };
	if (epoll_ctl(watch->loop->epoll, EPOLL_CTL_MOD, watch->fd, &event) < 0)
		return err_sys(err, errno, "watch descriptor %d", watch->fd);
	return 0;
}

int loop_watch_signal(struct loop *loop, int signal_number, loop_signal_fn *fn, void *context,
	struct loop_watch **ret_watch, struct err *err)
{
	sigset_t set, before;
	(void)sigemptyset(&set);
	if (sigaddset(&set, signal_number) < 0)
		return err_set(err, ERR_INVALID, "there is no signal %d", signal_number);
	if (sigprocmask(SIG_BLOCK, &set, &before) < 0)
		return err_sys(err, errno, "block signal %d", signal_number);
	bool was_blocked = sigismember(&before, signal_number) == 1;
	AUTO_CLOSE int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	int r = fd >= 0 ? 0 : err_sys(err, errno, "watch signal %d", signal_number);
	if (r == 0) {
		struct loop_watch *watch = watch_new(loop, fd, dispatch_signal, context);
		watch->signal_fn = fn;
		watch->signal_number = signal_number;
		watch->was_blocked = was_blocked;
		r = watch_add(watch, EPOLLIN, err);
		if (r == 0)
			*ret_watch = watch;
	}
	if (r == 0)
		(void)TAKE_FD(fd);
	else if (!was_blocked)
		(void)sigprocmask(SIG_UNBLOCK, &set, NULL);
	return r;
}

int loop_watch_timer(struct loop *loop, uint64_t delay_ms, loop_timer_fn *fn, void *context,
	struct loop_watch **ret_watch, struct err *err)
{
	AUTO_CLOSE int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	struct itimerspec when = { .it_value = { .tv_sec = (time_t)(delay_ms / 1000),
					   .tv_nsec = (long)(delay_ms % 1000) * 1000000 } };
	/* All zero would disarm it. */
	if (delay_ms == 0)
		when.it_value.tv_nsec = 1;
	if (fd < 0 || timerfd_settime(fd, 0, &when, NULL) < 0)
		return err_sys(err, errno, "set a timer");
	struct loop_watch *watch = watch_new(loop, fd, dispatch_timer, context);
	watch->timer_fn = fn;
	int r = watch_add(watch, EPOLLIN, err);
	if (r < 0)
		return r;
	(void)TAKE_FD(fd);
	*ret_watch = watch;
	return 0;
}

static void release_signal(const struct loop_watch *watch)
{
	if (watch->was_blocked)
		return;
	sigset_t set;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, watch->signal_number);
	(void)sigprocmask(SIG_UNBLOCK, &set, NULL);
}

void loop_remove(struct loop_watch *watch)
{
	if (watch == NULL)
		return;
	CHECK(!watch->removed);
	struct loop *loop = watch->loop;
	(void)epoll_ctl(loop->epoll, EPOLL_CTL_DEL, watch->fd, NULL);
	if (watch->dispatch != dispatch_fd)
		(void)close(watch->fd);
	if (watch->dispatch == dispatch_signal)
		release_signal(watch);

	if (watch->previous != NULL)
		watch->previous->next = watch->next;
	else
		loop->watches = watch->next;
	if (watch->next != NULL)
		watch->next->previous = watch->previous;
	watch->removed = true;
	watch->next = loop->removed;
	loop->removed = watch;
}

int loop_run(struct loop *loop, struct err *err)
{
	struct epoll_event events[BATCH];
	while (!loop->stopped) {
		int n = epoll_wait(loop->epoll, events, BATCH, -1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, errno, "wait for events");
		for (int i = 0; i < n && !loop->stopped; i++) {
			struct loop_watch *watch = events[i].data.ptr;
			if (!watch->removed)
				watch->dispatch(watch, events[i].events);
		}
		free_removed(loop);
	}
	loop->stopped = false;
	return loop->status;
}

void loop_stop(struct loop *loop, int status)
{
	loop->stopped = true;
	loop->status = status;
}
