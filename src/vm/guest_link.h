/* guest_link - the machine's end of the control stream (wire/guest_msg.h): hands START to the
 * guest, tells the launcher what comes of it, and ends the machine with the workload's status.
 * Configuration:
 *
 *   start      START's JSON as text; or start_fd, a descriptor of a file or pipe that holds it
 *   report_fd  pipe to the launcher, which waits there with report_wait()
 *   go_fd      pipe from the launcher: one byte lets the workload go; its end before that ends the
 *              machine
 *   tty_fd     where the workload has a terminal: the pty's slave, whose size the guest learns (the
 *              process holds it as its controlling terminal, so that SIGWINCH comes); absent or -1
 * else
 *
 * The descriptors are taken. */
#pragma once

#include "base/json.h"
#include "base/loop.h"

struct guest_link;

/* The machine shall end with this exit status: once, from the loop. */
typedef void guest_link_ended_fn(void *context, int status);

/* take_stream: a stream socket whose other end is the guest's, eventually. */
MUST_CHECK int guest_link_new(json *config, int take_stream, struct loop *loop,
	guest_link_ended_fn *ended, void *context, struct guest_link **ret_link, struct err *err);
/* The machine has failed: tells the launcher why, if it still waits for the workload's start. */
void guest_link_failed(struct guest_link *link, const struct err *why);
void guest_link_free(struct guest_link *link);
DEFINE_AUTO(guest_link)
