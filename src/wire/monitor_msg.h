/* monitor_msg - what a workload's monitor and its clients say to each other: one message a packet
 * on a SOCK_SEQPACKET unix socket (RUN/ID/monitor.sock, or a socketpair made at the start). */
#pragma once

#include <stdint.h>

#define MONITOR_MSG_DATA_MAX 16384

enum monitor_msg_type {
	/* client to monitor */
	MONITOR_ATTACH =
		1,      /* value: bits of enum monitor_stream that are wanted; stdin: may send */
	MONITOR_STDIN,  /* data; empty: end of input */
	MONITOR_RESIZE, /* value: rows << 16 | columns */
	MONITOR_DETACH,
	/* monitor to client */
	MONITOR_OUTPUT, /* value: MONITOR_STDOUT or MONITOR_STDERR; data */
	MONITOR_EXIT,   /* value: wait status; sent last, after all output and after the record
			   of the exit is written */
	MONITOR_REFUSED /* data: why (no room for another client) */
};

enum monitor_stream { MONITOR_STDIN_BIT = 1, MONITOR_STDOUT = 2, MONITOR_STDERR = 4 };

struct monitor_msg {
	uint32_t type;
	uint32_t value;
	uint8_t data[MONITOR_MSG_DATA_MAX]; /* the packet's length tells how much of it counts */
};

#define MONITOR_MSG_HEADER 8

/* Where a monitor keeps its things; names below the workload's run and data directories.
 * RUN/ID/: monitor.sock, monitor.lock (flocked while the monitor lives), stdin, stdout, stderr
 *          (FIFOs), init (text: "PID START_TICKS\n")
 * DATA/ID/: log, log.1 (CRI log format), exit (text: "STATUS OOM WALL_NS\n"; STATUS is a wait
 *          status or "unknown") */
#define MONITOR_SOCKET "monitor.sock"
#define MONITOR_LOCK "monitor.lock"
#define MONITOR_INIT "init"
#define MONITOR_LOG "log"
#define MONITOR_LOG_OLD "log.1"
#define MONITOR_EXIT_FILE "exit"
