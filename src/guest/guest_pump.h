/* guest_pump - bytes from one descriptor to another, in an event loop, one buffer of them at most
 * on the way. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/loop.h"

#define GUEST_PUMP_BYTES 65536

struct guest_pump {
	struct loop *loop; /* borrowed */
	int from, to;      /* owned, nonblocking; -1: ended, gone */
	struct loop_watch *readable, *writable;
	void (*end)(void *context); /* all was read and written, or cannot be */
	void *context;
	bool is_started;
	uint64_t moved;     /* bytes written or thrown away so far */
	size_t offset, len; /* what waits in bytes */
	uint8_t bytes[GUEST_PUMP_BYTES];
};

/* Both descriptors are the pump's from here on, also on failure; -1 for to throws all away.  One
 * descriptor cannot be in two pumps: duplicate it. */
MUST_CHECK int guest_pump_start(struct guest_pump *pump, struct loop *loop, int take_from,
	int take_to, void (*end)(void *context), void *context, struct err *err);
/* Whether it still has something to do. */
bool guest_pump_is_running(const struct guest_pump *pump);
void guest_pump_done(struct guest_pump *pump);
