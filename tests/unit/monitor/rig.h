/* rig - a real moat-monitor on a workload that is a shell script, started as the engine does it: a
 * process S clones the init and becomes the monitor.  Any failure of the rig's own ends the test.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/text.h"
#include "wire/monitor_args.h"
#include "wire/monitor_client.h"

struct rig {
	char *path;            /* owned; holds run/ and data/ */
	int run_dir, data_dir; /* owned */
	int client;            /* owned; the first client's end, blocking; -1: closed */
	pid_t monitor, init;
	int monitor_pidfd, init_pidfd; /* owned */
	struct monitor_msg *message;   /* owned; the last one received */
	ssize_t message_len;           /* of its data */
};

struct rig_options {
	const char *script; /* for /bin/busybox sh -c, with $RUN and $DATA set */
	uint32_t attach;    /* the first client's ATTACH; 0: there is no first client */
	bool stdin_fifo, stdin_once, terminal;
	int log_limit_kib;      /* 0: the default */
	const char *oom_events; /* content of a file that stands for memory.events; NULL: none */
	const char *const *exit_command;
	bool data_is_tiny; /* DATA is a tmpfs of 256 KiB: needs a mount namespace of the test's own
			    */
};

/* cmocka's setup and teardown: *state is a struct rig with its directories. */
int rig_make(void **state);
int rig_remove(void **state);
#define ON_RIG(test) cmocka_unit_test_setup_teardown(test, rig_make, rig_remove)

/* Starts both; the init waits for rig_go().  (The lock is taken, the socket listens.) */
void rig_start(struct rig *rig, const struct rig_options *options);
void rig_go(struct rig *rig);
/* As another process of moat's does after a kill of the monitor. */
void rig_adopt(struct rig *rig, const struct rig_options *options);
void rig_kill_monitor(struct rig *rig);

/* A further client; wanted 0: only connected. */
int rig_connect(struct rig *rig, uint32_t wanted);
/* The next message, at most ten seconds: its type, or a negative errno. */
int rig_receive(struct rig *rig, int client);
/* Collects OUTPUT of a stream up to the EXIT, whose value is returned. */
uint32_t rig_collect(struct rig *rig, int client, enum monitor_stream stream, struct text *output);
void rig_send(int client, enum monitor_msg_type type, uint32_t value, const void *data, size_t len);

/* Until the file is there and holds the words; the file's text, caller owns. */
char *rig_await_file(int dir, const char *name, const char *words);
/* The end of the monitor with this status, at most ten seconds. */
void rig_await_end(struct rig *rig);
char *rig_log(struct rig *rig, const char *name);
/* What the log says without times and tags, lines joined, one stream ("stdout"); checks each
 * record's form.  Caller owns. */
char *rig_log_text(struct rig *rig, const char *name, const char *stream, size_t *ret_len);
/* "Pss" and the like of the monitor, in KiB. */
unsigned rig_memory_kib(const struct rig *rig, const char *field);
