/* input - what clients type, on its way to the workload's stdin: a FIFO, or the terminal's master.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"
#include "wire/monitor_msg.h"

struct input {
	struct loop *loop; /* borrowed */
	int fd; /* owned, nonblocking; -1: the workload takes no input, it is thrown away */
	struct loop_watch *watch;
	uint8_t *bytes; /* borrowed, of MONITOR_MSG_DATA_MAX: what the workload did not take yet */
	size_t offset, len;
	bool ending; /* closes when all is taken */
	void (*hold)(void *context, bool held);
	void *context;
};

/* In place.  hold is called with true when no more can be taken, with false when it can again. */
void input_init(struct input *input, struct loop *loop, uint8_t *bytes,
	void (*hold)(void *context, bool held), void *context);
void input_done(struct input *input);
void input_set(struct input *input, int take_fd);
/* Only while not held. */
void input_write(struct input *input, const uint8_t *bytes, size_t len);
/* End of input, after what waits. */
void input_end(struct input *input);
