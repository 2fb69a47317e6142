/* monitor_client - one message to, or from, the other side of a monitor's socket.  Both sides use
 * it; whether a call waits is the socket's own O_NONBLOCK. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "wire/monitor_msg.h"

/* The socket of a workload, by the descriptor of its run directory (so that the length of a path
 * does not matter).  Close-on-exec. */
MUST_CHECK int monitor_socket_listen(int run_dir, int *ret_socket, struct err *err);
MUST_CHECK int monitor_socket_connect(int run_dir, int *ret_socket, struct err *err);

/* data_len at most MONITOR_MSG_DATA_MAX.  0, or a negative errno: -EAGAIN, -EPIPE. */
MUST_CHECK int monitor_send(int socket, enum monitor_msg_type type, uint32_t value,
	const void *data, size_t data_len);
/* The number of data bytes, or a negative errno: -EAGAIN, -ENODATA at the end of the connection,
 * -EBADMSG for a packet that is no message. */
MUST_CHECK ssize_t monitor_receive(int socket, struct monitor_msg *ret_msg);
