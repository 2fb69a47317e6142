/* monitor_msg - what a workload's monitor and its clients say to each other: one message a packet
 * on a SOCK_SEQPACKET unix socket (RUN/ID/monitor.sock, or a socketpair made at the start).
 *
 *     client                              monitor
 *     ATTACH wanted streams           ->
 *                                     <-  ATTACHED, or REFUSED and the end
 *     STDIN, RESIZE                   ->
 *                                     <-  OUTPUT ...
 *                                     <-  EXIT, when all output was sent and the record is written
 *     CLEANED (only with WILL_CLEAN)  ->
 *
 * An ATTACH that is in the socket before the monitor is executed is obeyed before the first byte of
 * output is read, so that a client made with the workload misses nothing.  A client that does not
 * read stops the workload's output, not the monitor; one that goes away is forgotten. */
#pragma once

#include <stdint.h>

#define MONITOR_MSG_DATA_MAX 65536

enum monitor_msg_type {
	/* client to monitor */
	MONITOR_ATTACH = 1, /* value: bits of enum monitor_stream; again: the last one counts */
	MONITOR_STDIN,      /* data; empty: end of input (ignored with a terminal) */
	MONITOR_RESIZE,     /* value: rows << 16 | columns */
	MONITOR_DETACH,     /* nothing more is sent to this client but the end of the connection */
	MONITOR_CLEANED,    /* after EXIT, from a client that announced MONITOR_WILL_CLEAN: it has
			       removed or restarted the workload, the exit command is not needed */
	/* monitor to client */
	MONITOR_ATTACHED, /* value: 1 with a terminal, else 0; the answer to ATTACH */
	MONITOR_OUTPUT,   /* value: MONITOR_STDOUT or MONITOR_STDERR; data */
	MONITOR_EXIT,     /* value: wait status, or MONITOR_STATUS_UNKNOWN; sent last, after all
			     output and after the record of the exit is written */
	MONITOR_REFUSED   /* data: why (no room for another client) */
};

enum monitor_stream {
	MONITOR_STDIN_BIT = 1, /* may send STDIN; its going away ends a stdin_once workload's */
	MONITOR_STDOUT = 2,
	MONITOR_STDERR = 4,
	MONITOR_WILL_CLEAN = 8 /* no stream: this client does what the exit command would do */
};

#define MONITOR_STATUS_UNKNOWN UINT32_MAX

struct monitor_msg {
	uint32_t type;
	uint32_t value;
	uint8_t data[MONITOR_MSG_DATA_MAX]; /* the packet's length tells how much of it counts */
};

#define MONITOR_MSG_HEADER 8

/* Where a monitor keeps its things; names below the workload's run and data directories.
 * RUN/ID/: monitor.sock, monitor.lock (flocked while the monitor is responsible: until the exit is
 *          recorded), stdin, stdout, stderr (FIFOs), init (text: "PID START_TICKS\n")
 * DATA/ID/: log, log.1 (CRI log format), exit (text: "STATUS OOM WALL_NS\n"; STATUS is a wait
 *          status or "unknown", OOM is 1 if the kernel killed a member for want of memory)
 * Where the data directory is full, exit is written to RUN/ID/ instead. */
#define MONITOR_SOCKET "monitor.sock"
#define MONITOR_LOCK "monitor.lock"
#define MONITOR_INIT "init"
#define MONITOR_FIFO_STDIN "stdin"
#define MONITOR_FIFO_STDOUT "stdout"
#define MONITOR_FIFO_STDERR "stderr"
#define MONITOR_LOG "log"
#define MONITOR_LOG_OLD "log.1"
#define MONITOR_EXIT_FILE "exit"

/* The log is the CRI's: "2016-10-06T00:17:09.669794202Z stdout F line\n".  A record with P instead
 * of F does not end a line: the next one of its stream goes on where it stops.  Written so are
 * lines over MONITOR_LOG_LINE_MAX, lines whose end did not come in 0.2 s (a prompt), and a last
 * line without an end.  log becomes log.1 between two records. */
#define MONITOR_LOG_LINE_MAX 16384
