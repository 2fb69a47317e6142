/* input - one message at most waits: while it does, the clients are not read, so a workload that
 * does not read its stdin slows down those who write to it and nothing else. */
#include "monitor/input.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/cleanup.h"
#include "base/mem.h"

/* Bytes written, 0 when none can be now, or -1: the workload has closed its stdin. */
static ssize_t input_try(struct input *in, const uint8_t *bytes, size_t len)
{
	ssize_t n;

	do
		n = write(in->fd, bytes, len);
	while (n < 0 && errno == EINTR);
	return n < 0 && errno == EAGAIN ? 0 : n;
}

static void input_close(struct input *in)
{
	loop_remove(TAKE(in->watch));
	if (in->fd >= 0)
		(void)close(TAKE_FD(in->fd));
	in->offset = in->len = 0;
}

static void input_on_event(void *context, int fd, uint32_t events)
{
	struct input *in = context;

	(void)fd;
	(void)events;
	ssize_t n = input_try(in, in->bytes + in->offset, in->len - in->offset);
	if (n >= 0) {
		in->offset += (size_t)n;
		if (in->offset < in->len)
			return;
		in->offset = in->len = 0;
		loop_remove(TAKE(in->watch));
	}
	if (n < 0 || in->ending)
		input_close(in);
	in->hold(in->context, false);
}

void input_init(struct input *input, struct loop *loop, uint8_t *bytes,
	void (*hold)(void *context, bool held), void *context)
{
	*input = (struct input){ .loop = loop,
		.fd = -1,
		.bytes = bytes,
		.hold = hold,
		.context = context };
}

void input_done(struct input *input)
{
	input_close(input);
}

void input_set(struct input *input, int take_fd)
{
	input_close(input);
	input->fd = take_fd;
}

void input_write(struct input *input, const uint8_t *bytes, size_t len)
{
	if (input->fd < 0 || input->ending)
		return;
	CHECK(input->len == 0 && len <= MONITOR_MSG_DATA_MAX);
	ssize_t n = input_try(input, bytes, len);
	if (n < 0) {
		input_close(input);
		return;
	}
	if ((size_t)n == len)
		return;
	if (loop_watch_fd(input->loop, input->fd, EPOLLOUT, input_on_event, input, &input->watch,
		    NULL) < 0) {
		input_close(input);
		return;
	}
	input->len = len - (size_t)n;
	memcpy(input->bytes, bytes + n, input->len);
	input->hold(input->context, true);
}

void input_end(struct input *input)
{
	input->ending = true;
	if (input->len == 0)
		input_close(input);
}
