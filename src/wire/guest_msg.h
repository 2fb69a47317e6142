/* guest_msg - what the machine's process (vm/), a command (engine/) and moat-guest say to each
 * other over vsock streams.  A message is a header and its data; both little-endian, as x86 and
 * vsock are.
 *
 * The guest connects to host ports; the machine's process gives each port a descriptor or speaks
 * itself:
 *
 *   GUEST_PORT_CONTROL   guest                          machine
 *                        HELLO                      ->
 *                                                   <-  START (JSON, below)
 *                        READY                      ->      the workload is set up and waits
 *                                                   <-  GO
 *                        STARTED, or FAILED         ->      its exec has succeeded
 *                                                   <-  RESIZE, SIGNAL ...
 *                        EXITED                     ->      disks are synced; the machine may end
 *                        After EXITED the guest waits: the machine ends when what the workload
 *                        wrote last has left it.
 *   GUEST_PORT_STDIN, _STDOUT, _STDERR: plain bytes of the workload's streams, the end of a stream
 *                        is a shutdown.  With a terminal STDIN and STDOUT are one stream (_STDOUT),
 *                        the guest's pty does the line discipline.
 *
 * A command reaches moat-guest through the machine's socket RUN/ID/vm.sock (SOCK_STREAM): it writes
 * "CONNECT PORT\n", reads "OK\n", and is then connected to that port of the guest.  On
 * GUEST_PORT_SERVICE the first message says what it wants:
 *
 *   EXEC (JSON)     ->  STARTED or FAILED, then OUTPUT ..., EXITED   <-
 *                   ->  STDIN (empty: end), RESIZE, SIGNAL
 *   SIGNAL          ->  STARTED or FAILED                            <-   of the workload's init
 *
 * START is {"document": OCI runtime-spec document, "user": text, "root": {"metadata": device,
 * "layers": [device ...], "upper": device or "tmpfs"}, "network": {"mac", "address",
 * "prefix", "gateway"} or absent, "files": {"/etc/hosts": text ...}, "hostname": text,
 * "interactive": bool, "tty": bool, "clock_ns": nanoseconds since 1970}.  A device is
 * {"pmem": N} (the N-th virtio-pmem) or {"serial": text} (a block device's).
 * EXEC is {"args", "env", "cwd", "user", "tty", "interactive"} as of the document's process. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/text.h"

#define GUEST_CID 3

enum guest_port {
	GUEST_PORT_CONTROL = 1,
	GUEST_PORT_STDIN = 2,
	GUEST_PORT_STDOUT = 3,
	GUEST_PORT_STDERR = 4,
	GUEST_PORT_SERVICE = 1024 /* the guest listens */
};

enum guest_msg_type {
	GUEST_HELLO = 1, /* data: version text */
	GUEST_START,
	GUEST_READY,
	GUEST_GO,
	GUEST_STARTED,
	GUEST_FAILED, /* value: enum err_kind; data: one line */
	GUEST_EXITED, /* value: wait status */
	GUEST_RESIZE, /* value: rows << 16 | columns */
	GUEST_SIGNAL, /* value: signal number */
	GUEST_EXEC,
	GUEST_STDIN, /* data; empty: end of input */
	GUEST_OUTPUT /* value: 1 or 2; data */
};

#define GUEST_MSG_DATA_MAX 65536
#define GUEST_START_MAX (4u << 20) /* START and EXEC may be larger than a data message */

struct guest_msg_header {
	uint32_t type, value, len;
};

/* How much data a message of this type may have; 0 also for a type that is none. */
uint32_t guest_msg_limit(uint32_t type);

/* One message on a stream socket that blocks: 0 or a negative errno (-EPIPE without a signal,
 * -EMSGSIZE for data over the type's limit). */
MUST_CHECK int guest_msg_send(int socket, enum guest_msg_type type, uint32_t value,
	const void *data, size_t len);
/* Header, then data, appended to bytes: for a sender whose socket must not make it wait. */
void guest_msg_format(struct text *bytes, enum guest_msg_type type, uint32_t value,
	const void *data, size_t len);

struct guest_msg {
	uint32_t type, value;
	struct view data;
};

/* Takes messages out of a stream in pieces of any size.  Memory grows to the longest message seen,
 * at most a header and max_data bytes. */
struct guest_decoder {
	uint8_t *buffer; /* owned */
	size_t capacity, start, end;
	uint32_t max_data;
};
/* max_data: what this side expects at most, whatever a type's own limit is. */
void guest_decoder_init(struct guest_decoder *decoder, uint32_t max_data);
void guest_decoder_done(struct guest_decoder *decoder);
/* The next whole message: 1; 0 when more bytes are needed; -EBADMSG for an unknown type or more
 * data than its limit, again at each later call; -ENOMEM.  ret_msg's data is good until the next
 * call of any kind. */
MUST_CHECK int guest_decoder_next(struct guest_decoder *decoder, struct guest_msg *ret_msg);
/* Adds bytes that came, as many as there is room for (never none after guest_decoder_next() said
 * 0); returns how many. */
MUST_CHECK size_t guest_decoder_add(struct guest_decoder *decoder, const void *bytes, size_t len);
/* One read from a descriptor into the room there is: the number of bytes, 0 at the end of the
 * stream (-EBADMSG where that cuts a message), or a negative errno: -EAGAIN. */
MUST_CHECK ssize_t guest_decoder_read(struct guest_decoder *decoder, int fd);

/* The next message of a stream that blocks, reading as needed: 0, -ENODATA at its end, -EBADMSG, or
 * another negative errno. */
MUST_CHECK int guest_msg_receive(int fd, struct guest_decoder *decoder, struct guest_msg *ret_msg);
