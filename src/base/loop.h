/* loop - the event loop: plain epoll.  One thread; callbacks may add and remove watches, their own
 * included. */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

struct loop;
struct loop_watch;

/* events are EPOLLIN, EPOLLOUT, EPOLLHUP, ... as they came. */
typedef void loop_fd_fn(void *context, int fd, uint32_t events);
typedef void loop_timer_fn(void *context);
typedef void loop_signal_fn(void *context, int signal_number);

MUST_CHECK int loop_new(struct loop **ret_loop, struct err *err);
void loop_free(struct loop *loop); /* NULL is fine; frees its watches */
DEFINE_AUTO(loop)

/* fd is borrowed and must stay open until the watch is removed. */
MUST_CHECK int loop_watch_fd(struct loop *loop, int fd, uint32_t events, loop_fd_fn *fn,
	void *context, struct loop_watch **ret_watch, struct err *err);
MUST_CHECK int loop_change(struct loop_watch *watch, uint32_t events, struct err *err);
/* Blocks the signal for this process and delivers it here. */
MUST_CHECK int loop_watch_signal(struct loop *loop, int signal_number, loop_signal_fn *fn,
	void *context, struct loop_watch **ret_watch, struct err *err);
/* Once, after delay_ms on the monotonic clock; the watch stays the caller's to remove. */
MUST_CHECK int loop_watch_timer(struct loop *loop, uint64_t delay_ms, loop_timer_fn *fn,
	void *context, struct loop_watch **ret_watch, struct err *err);
void loop_remove(struct loop_watch *watch); /* NULL is fine */

/* Runs until loop_stop(); returns its status, or a negative errno if epoll fails. */
MUST_CHECK int loop_run(struct loop *loop, struct err *err);
void loop_stop(struct loop *loop, int status);
