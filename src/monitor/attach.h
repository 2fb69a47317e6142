/* attach - the clients of a monitor, and the output that not all of them have taken yet. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/loop.h"
#include "wire/monitor_msg.h"

/* What the clients do, told to the owner. */
struct attach_ops {
	void (*input)(void *context, const uint8_t *bytes, size_t len); /* len 0: end of input */
	void (*input_gone)(void *context); /* a client that could send input went */
	void (*resize)(void *context, unsigned rows, unsigned columns);
	/* A client took output, went, or said it has cleaned up: ask what follows. */
	void (*changed)(void *context);
};

/* Output of one stream; the bytes stay where they are until everybody has them. */
struct attach_segment {
	enum monitor_stream stream;
	const uint8_t *bytes; /* borrowed */
	size_t len;
};

/* While the workload runs there is one: the next read waits for the slowest client.  At its end
 * what its two FIFOs still held comes on top. */
#define ATTACH_SEGMENTS 3

struct attach_client {
	struct attach *attach; /* borrowed */
	int fd;                /* owned; -1: a free place */
	struct loop_watch *watch;
	uint32_t wanted;        /* bits of enum monitor_stream */
	size_t segment, offset; /* what it has taken */
	bool exit_sent;
};

struct attach {
	struct loop *loop;            /* borrowed */
	const struct attach_ops *ops; /* borrowed */
	void *context;                /* borrowed */
	struct monitor_msg *message;  /* borrowed; the one being received */
	struct attach_client clients[LIMIT_ATTACH_CLIENTS];
	struct attach_segment segments[ATTACH_SEGMENTS];
	size_t segments_len;
	bool terminal;
	bool input_held; /* the workload does not read: clients that may send wait */
	bool finished, cleaned;
	uint32_t status;
};

/* In place; message is memory for one message. */
void attach_init(struct attach *attach, struct loop *loop, const struct attach_ops *ops,
	void *context, struct monitor_msg *message);
void attach_done(struct attach *attach);

/* A connected socket.  Messages that wait in it are obeyed before this returns.  Without a free
 * place it is told so and closed. */
void attach_add(struct attach *attach, int take_fd);
/* Offers output to all.  False when not all took it: no more may come (but for ATTACH_SEGMENTS in
 * total) and bytes must stay until attach_is_taken(). */
bool attach_output(struct attach *attach, struct attach_segment output);
bool attach_is_taken(const struct attach *attach);
/* While held, nothing is read from clients that may send input. */
void attach_hold_input(struct attach *attach, bool held);

/* The end: each client gets its remaining output and the exit, then its connection is closed; only
 * those that announced MONITOR_WILL_CLEAN stay until they close it. */
void attach_finish(struct attach *attach, uint32_t status);
bool attach_is_empty(const struct attach *attach);
bool attach_has_cleaner(const struct attach *attach);
