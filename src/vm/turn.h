/* turn - a device's way to stop in the middle of much work and be called again, after the other
 * devices have had their turn. */
#pragma once

#include "base/cleanup.h"
#include "base/err.h"
#include "base/loop.h"

typedef void turn_fn(void *context);

struct turn {
	int fd;                   /* owned eventfd */
	struct loop_watch *watch; /* owned */
	turn_fn *fn;
	void *context; /* borrowed */
};

/* A turn that is all zero bytes and was never opened may be done, too. */
MUST_CHECK int turn_open(struct turn *turn, struct loop *loop, turn_fn *fn, void *context,
	struct err *err);
void turn_done(struct turn *turn);
/* Calls fn soon, once for any number of calls. */
void turn_ask(const struct turn *turn);
