/* guest_msg - what the machine's process (vm/), a command (engine/) and moat-guest say to each other
 * over vsock streams.  A message is a header and its data; both little-endian, as x86 and vsock are.
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

#include <stdint.h>

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
	GUEST_STDIN,  /* data; empty: end of input */
	GUEST_OUTPUT  /* value: 1 or 2; data */
};

#define GUEST_MSG_DATA_MAX 65536
#define GUEST_START_MAX (4u << 20) /* START and EXEC may be larger than a data message */

struct guest_msg_header {
	uint32_t type, value, len;
};
