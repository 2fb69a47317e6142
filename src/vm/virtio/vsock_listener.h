/* vsock_listener - the host's way to ports of the guest: clients of a unix socket that say
 * "CONNECT PORT\n" first (wire/guest_msg.h). */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

/* Who may connect besides root: the user that listens. */
MUST_CHECK int vsock_listener_check(int listener, uint32_t *ret_uid, struct err *err);
/* The next client (close-on-exec, not blocking): its descriptor, -EAGAIN when there is none now,
 * -EPERM for a client of another user (which is gone then), or another negative errno. */
MUST_CHECK int vsock_listener_accept(int listener, uint32_t uid);
/* Takes a client's line off its stream, when it is whole: 1 and the port; 0: more has to come;
 * -EBADMSG, or another negative errno, when none will. */
MUST_CHECK int vsock_greeting_read(int client, uint32_t *ret_port);
