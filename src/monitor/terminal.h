/* terminal - the master of a workload's terminal: how it arrives, its size. */
#pragma once

#include <stdbool.h>
#include <sys/ioctl.h>

#include "base/loop.h"

struct terminal {
	int console; /* owned; where the master arrives; -1: it has, or there is none */
	int master;  /* owned, nonblocking; -1: none yet */
	int peer;    /* owned; the other side */
	struct loop_watch *watch;
	struct winsize size; /* the last one asked for */
	bool sized;
	void (*arrived)(void *context, int master); /* master is borrowed */
	void *context;
};

/* In place.  arrived is called once, from the loop or from terminal_receive(). */
MUST_CHECK int terminal_init(struct terminal *terminal, struct loop *loop, int take_console,
	void (*arrived)(void *context, int master), void *context, struct err *err);
void terminal_done(struct terminal *terminal);
/* Takes the master if it waits at the console socket. */
void terminal_receive(struct terminal *terminal);
/* Now, or when the master arrives. */
void terminal_resize(struct terminal *terminal, unsigned rows, unsigned columns);
