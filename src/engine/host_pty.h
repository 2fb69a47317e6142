/* host_pty - a terminal whose line discipline is somebody else's: a machine's moat-guest has the
 * real one, this end only carries its bytes and its size. */
#pragma once

#include "base/cleanup.h"
#include "base/err.h"

/* A new pty of the host in raw mode: the master goes to console_socket (SCM_RIGHTS), *ret_terminal
 * is the other end. */
MUST_CHECK int host_pty_open(int console_socket, int *ret_terminal, struct err *err);
