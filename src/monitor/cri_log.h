/* cri_log - a workload's log: lines in the CRI's format, appended, rotated once.  Nothing here
 * fails: a log that cannot be written loses lines and says so when it can be written again. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "wire/monitor_msg.h"

enum cri_stream { CRI_STDOUT, CRI_STDERR, CRI_STREAM_COUNT };

#define CRI_LOG_WRITE_MAX 131072 /* 64 KiB of ordinary lines with their prefixes */
#define CRI_LOG_PREFIX_MAX (CLOCK_RFC3339_MAX + 16) /* "TIME stdout F " */
#define CRI_LOG_NOTE_MAX 192

/* The large part, apart so that its owner can keep small things together: pages that were never
 * needed are never there.  Zeroed by its owner, page-aligned. */
struct cri_log_space {
	/* The write being put together, with room for a note in front. */
	_Alignas(4096) char records[CRI_LOG_NOTE_MAX + CRI_LOG_WRITE_MAX];
	_Alignas(4096) uint8_t tails[CRI_STREAM_COUNT][MONITOR_LOG_LINE_MAX];
};

/* The beginning of a line whose end has not come. */
struct cri_tail {
	uint8_t *bytes; /* borrowed from the space */
	size_t len;
	bool aged; /* was there at the last cri_log_tick() */
};

struct cri_log {
	struct cri_log_space *space; /* borrowed */
	char *records;               /* borrowed from the space */
	size_t records_len;
	struct cri_tail tails[CRI_STREAM_COUNT];
	int dir; /* borrowed */
	int fd;  /* owned; -1 after a rotation that failed */
	uint64_t size, max_bytes;
	uint64_t lost_bytes; /* of records, since the last write that worked */
	int lost_why;        /* errno */
	char full[CRI_LOG_PREFIX_MAX], partial[CRI_LOG_PREFIX_MAX]; /* of this cri_log_add() */
	size_t prefix_len;
};

/* Opens DIR/log, in place.  A record that a killed monitor left unfinished is cut off.  dir and
 * space are borrowed until cri_log_done(). */
MUST_CHECK int cri_log_open(struct cri_log *ret_log, struct cri_log_space *space, int dir,
	uint64_t max_bytes, struct err *err);
void cri_log_done(struct cri_log *log); /* does not flush */

/* Output read at wall_ns.  Complete lines are in the file on return; the rest is held. */
void cri_log_add(struct cri_log *log, enum cri_stream stream, int64_t wall_ns, const uint8_t *bytes,
	size_t len);
/* Whether the beginning of a line is held. */
bool cri_log_holds(const struct cri_log *log);
/* Writes what is held, as partial lines. */
void cri_log_flush(struct cri_log *log, int64_t wall_ns);
/* The same for what was held at the last tick already.  True while something is held. */
bool cri_log_tick(struct cri_log *log, int64_t wall_ns);
/* Gives pages that hold nothing back to the kernel. */
void cri_log_trim(struct cri_log *log);
