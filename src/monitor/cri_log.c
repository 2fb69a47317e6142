/* cri_log - one write for many lines.
 *
 * All records of one cri_log_add() have the same time, so they share one prefix, made once. Records
 * are copied into one buffer and written when it is full and before cri_log_add() returns.  Copying
 * costs less than a writev() of pieces where they lie: the kernel needs longer for two pieces a
 * line than the processor for their bytes (measured on ext4, CPU for lines of 100, 20 and 2
 * bytes: 1.5, 2.3 and 2.7 times less with the copy).
 *
 * Invariants: the file ends with a newline at every return, also when the disk is full (what a
 * short write left is cut off again), so every reader sees whole records and any later monitor may
 * append. The note about lost bytes is put in front of the first records that fit again and written
 * together with them, or not at all. */
#include "monitor/cri_log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/text.h"

/* A record of the longest line: prefix, line, newline. */
#define RECORD_MAX (CRI_LOG_PREFIX_MAX + MONITOR_LOG_LINE_MAX + 1)
static_assert(RECORD_MAX <= CRI_LOG_WRITE_MAX, "each record fits");

static const char *const stream_names[CRI_STREAM_COUNT] = { "stdout", "stderr" };

static int log_open_file(struct cri_log *log)
{
	struct stat st;
	int fd = openat(log->dir, MONITOR_LOG, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
		0600);

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0) {
		int r = -errno;
		(void)close(fd);
		return r;
	}
	log->fd = fd;
	log->size = (uint64_t)st.st_size;
	return 0;
}

static int log_rotate(struct cri_log *log)
{
	if (log->fd >= 0)
		(void)close(TAKE_FD(log->fd));
	if (renameat(log->dir, MONITOR_LOG, log->dir, MONITOR_LOG_OLD) < 0 && errno != ENOENT)
		return -errno;
	return log_open_file(log);
}

/* One write; 0 or a negative errno, then the file is as it was. */
static int log_append(struct cri_log *log, const char *bytes, size_t len)
{
	int r = 0;

	if (log->fd < 0 || (log->size > 0 && log->size + len > log->max_bytes))
		r = log_rotate(log);
	if (r < 0)
		return r;
	ssize_t n = write(log->fd, bytes, len);
	if (n == (ssize_t)len) {
		log->size += len;
		return 0;
	}
	if (n < 0)
		return -errno;
	/* Others may have truncated the file, so its size, not ours, is what counts. */
	off_t end = lseek(log->fd, 0, SEEK_END);
	if (end >= n && ftruncate(log->fd, end - n) < 0)
		return -errno;
	return -ENOSPC; /* the usual reason of a short write; the next one would tell */
}

static void log_write_records(struct cri_log *log)
{
	char *bytes = log->records;
	size_t len = log->records_len;

	if (len == 0)
		return;
	if (log->lost_bytes > 0) {
		char note[CRI_LOG_NOTE_MAX];
		int n = snprintf(note, sizeof(note),
			"%.*s stderr F moat: %ju bytes of log are missing here: %s\n",
			(int)strcspn(log->full, " "), log->full, (uintmax_t)log->lost_bytes,
			strerrordesc_np(log->lost_why));
		bytes -= n;
		len += (size_t)n;
		memcpy(bytes, note, (size_t)n);
	}
	int r = log_append(log, bytes, len);
	if (r < 0) {
		log->lost_bytes += log->records_len;
		log->lost_why = -r;
	} else {
		log->lost_bytes = 0;
	}
	log->records_len = 0;
}

static void log_prefixes(struct cri_log *log, enum cri_stream stream, int64_t wall_ns)
{
	char time[CLOCK_RFC3339_MAX];

	(void)clock_rfc3339(wall_ns, time);
	int n = snprintf(log->full, sizeof(log->full), "%s %s F ", time, stream_names[stream]);
	log->prefix_len = (size_t)n;
	memcpy(log->partial, log->full, sizeof(log->partial));
	log->partial[n - 2] = 'P';
}

static void log_put(struct cri_log *log, const void *bytes, size_t len)
{
	memcpy(log->records + log->records_len, bytes, len);
	log->records_len += len;
}

/* bytes, without a newline, after what is held of their line. */
static void log_record(struct cri_log *log, struct cri_tail *tail, bool partial,
	const uint8_t *bytes, size_t len)
{
	if (log->prefix_len + tail->len + len + 1 > CRI_LOG_WRITE_MAX - log->records_len)
		log_write_records(log);
	log_put(log, partial ? log->partial : log->full, log->prefix_len);
	log_put(log, tail->bytes, tail->len);
	log_put(log, bytes, len);
	log_put(log, "\n", 1);
	tail->len = 0;
}

static void log_tail_flush(struct cri_log *log, enum cri_stream stream, int64_t wall_ns)
{
	if (log->tails[stream].len == 0)
		return;
	log_prefixes(log, stream, wall_ns);
	log_record(log, &log->tails[stream], true, log->tails[stream].bytes, 0);
	log_write_records(log);
}

/* Cuts what stands after the last newline: a kill in the middle of a write left it. */
static int log_mend(struct cri_log *log)
{
	uint8_t end[512];

	while (log->size > 0) {
		size_t len = log->size < sizeof(end) ? (size_t)log->size : sizeof(end);
		ssize_t n = pread(log->fd, end, len, (off_t)(log->size - len));
		if (n != (ssize_t)len)
			return n < 0 ? -errno : -EIO;
		const uint8_t *newline = memrchr(end, '\n', len);
		size_t keep = newline == NULL ? 0 : (size_t)(newline - end) + 1;
		if (keep == len)
			return 0;
		log->size -= len - keep;
		if (ftruncate(log->fd, (off_t)log->size) < 0)
			return -errno;
	}
	return 0;
}

int cri_log_open(struct cri_log *ret_log, struct cri_log_space *space, int dir, uint64_t max_bytes,
	struct err *err)
{
	struct cri_log log = { .space = space,
		.records = space->records + CRI_LOG_NOTE_MAX,
		.dir = dir,
		.fd = -1,
		.max_bytes = max_bytes };

	for (int i = 0; i < CRI_STREAM_COUNT; i++)
		log.tails[i].bytes = space->tails[i];
	int r = log_open_file(&log);
	if (r == 0)
		r = log_mend(&log);
	if (r < 0) {
		cri_log_done(&log);
		return err_sys(err, -r, "open the workload's log");
	}
	*ret_log = log;
	return 0;
}

void cri_log_done(struct cri_log *log)
{
	if (log->fd >= 0)
		(void)close(TAKE_FD(log->fd));
}

void cri_log_add(struct cri_log *log, enum cri_stream stream, int64_t wall_ns, const uint8_t *bytes,
	size_t len)
{
	struct cri_tail *tail = &log->tails[stream];

	log_prefixes(log, stream, wall_ns);
	while (len > 0) {
		const uint8_t *newline = memchr(bytes, '\n', len);
		size_t content = newline == NULL ? len : (size_t)(newline - bytes);
		size_t room = MONITOR_LOG_LINE_MAX - tail->len;

		if (content > room) {
			log_record(log, tail, true, bytes, room);
			bytes += room;
			len -= room;
		} else if (newline != NULL) {
			log_record(log, tail, false, bytes, content);
			bytes += content + 1;
			len -= content + 1;
		} else {
			if (tail->len == 0)
				tail->aged = false;
			memcpy(tail->bytes + tail->len, bytes, len);
			tail->len += len;
			break;
		}
	}
	log_write_records(log);
}

bool cri_log_holds(const struct cri_log *log)
{
	bool held = false;

	for (int i = 0; i < CRI_STREAM_COUNT; i++)
		held = held || log->tails[i].len > 0;
	return held;
}

void cri_log_flush(struct cri_log *log, int64_t wall_ns)
{
	for (int i = 0; i < CRI_STREAM_COUNT; i++)
		log_tail_flush(log, (enum cri_stream)i, wall_ns);
}

bool cri_log_tick(struct cri_log *log, int64_t wall_ns)
{
	for (int i = 0; i < CRI_STREAM_COUNT; i++) {
		struct cri_tail *tail = &log->tails[i];
		if (tail->aged)
			log_tail_flush(log, (enum cri_stream)i, wall_ns);
		tail->aged = tail->len > 0;
	}
	return cri_log_holds(log);
}

void cri_log_trim(struct cri_log *log)
{
	(void)madvise(log->space->records, sizeof(log->space->records), MADV_DONTNEED);
	for (int i = 0; i < CRI_STREAM_COUNT; i++)
		if (log->tails[i].len == 0)
			(void)madvise(log->tails[i].bytes, MONITOR_LOG_LINE_MAX, MADV_DONTNEED);
}
