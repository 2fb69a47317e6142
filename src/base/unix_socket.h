/* unix_socket - unix sockets below a directory's descriptor, so that the length of its path does
 * not matter (unix(7): 107 bytes). */
#pragma once

#include "base/cleanup.h"
#include "base/err.h"

/* Listens at DIR/NAME; one that is there already goes.  type: SOCK_STREAM, SOCK_SEQPACKET.
 * Close-on-exec. */
MUST_CHECK int unix_socket_listen(int dir_fd, const char *name, int type, int *ret_socket,
	struct err *err);
MUST_CHECK int unix_socket_connect(int dir_fd, const char *name, int type, int *ret_socket,
	struct err *err);
