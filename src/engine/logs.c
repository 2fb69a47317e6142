/* logs - reading what a monitor wrote: CRI's log format, one line each
 *
 *     2016-10-06T00:17:09.669794202Z stdout F content
 *
 * (Kubernetes: kubelet and container runtime logging), P instead of F for a part of a longer line.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "engine/handle.h"
#include "engine/live.h"
#include "wire/monitor_msg.h"

#define CHUNK ((size_t)64 << 10)
#define LINE_MAX_BYTES ((size_t)1 << 20) /* the monitor splits far below this */

struct reader {
	const struct engine_logs *logs;
	int out_fd, err_fd; /* borrowed */
	struct text line;   /* the beginning of a line whose end has not been read */
	struct text out;    /* what waits to be written to stdout */
	struct text err;
	int64_t skip;         /* lines before the tail */
	bool is_continued[2]; /* the last part of that stream was P */
	bool is_past_until;
};

static int flush(struct reader *reader)
{
	int r = fd_write_all(reader->out_fd, text_string(&reader->out), reader->out.len);
	if (r == 0)
		r = fd_write_all(reader->err_fd, text_string(&reader->err), reader->err.len);
	text_clear(&reader->out);
	text_clear(&reader->err);
	return r;
}

static void take_line(struct reader *reader, struct view line)
{
	struct view rest = line;
	struct view time = view_cut(&rest, ' ');
	struct view stream = view_cut(&rest, ' ');
	struct view tag = view_cut(&rest, ' ');
	int64_t wall_ns;
	if (rest.data == NULL || clock_parse(time, 0, &wall_ns) < 0)
		return; /* cut by a power loss */
	const struct engine_logs *logs = reader->logs;
	if (logs->until_ns != 0 && wall_ns > logs->until_ns)
		reader->is_past_until = true;
	if (wall_ns < logs->since_ns || reader->is_past_until)
		return;
	bool is_err = view_is(stream, "stderr");
	bool is_start = !reader->is_continued[is_err];
	bool is_end = !view_is(tag, "P");
	reader->is_continued[is_err] = !is_end;
	if (reader->skip > 0) {
		reader->skip -= is_end;
		return;
	}
	struct text *to = is_err ? &reader->err : &reader->out;
	if (logs->timestamps && is_start) {
		text_add(to, time.data, time.len);
		text_puts(to, " ");
	}
	text_add(to, rest.data, rest.len);
	if (is_end)
		text_puts(to, "\n");
}

/* Lines of both streams must stay in order on a terminal: what waits for one is written before the
 * other gets anything. */
static int take_ordered(struct reader *reader, struct view line)
{
	size_t out_before = reader->out.len, err_before = reader->err.len;
	take_line(reader, line);
	bool both = (reader->out.len > out_before && err_before > 0) ||
		    (reader->err.len > err_before && out_before > 0);
	if (!both)
		return 0;
	if (out_before > 0) {
		int r = fd_write_all(reader->out_fd, reader->out.data, reader->out.len);
		text_clear(&reader->out);
		return r;
	}
	int r = fd_write_all(reader->err_fd, reader->err.data, reader->err.len);
	text_clear(&reader->err);
	return r;
}

static int take_bytes(struct reader *reader, struct view bytes)
{
	int r = 0;
	while (r == 0 && bytes.len > 0) {
		const char *end = memchr(bytes.data, '\n', bytes.len);
		if (end == NULL) {
			if (reader->line.len < LINE_MAX_BYTES)
				text_add(&reader->line, bytes.data, bytes.len);
			break;
		}
		size_t len = (size_t)(end - bytes.data);
		if (reader->line.len > 0) {
			text_add(&reader->line, bytes.data, len);
			r = take_ordered(reader, view_of_text(&reader->line));
			text_clear(&reader->line);
		} else {
			r = take_ordered(reader, (struct view){ bytes.data, len });
		}
		bytes = (struct view){ end + 1, bytes.len - len - 1 };
	}
	return r;
}

/* The end is where it was when we began, if nobody follows: another goes on writing, maybe faster.
 */
static uint64_t size_to_read(const struct reader *reader, int fd)
{
	struct stat st;
	return reader->logs->follow || fstat(fd, &st) < 0 ? UINT64_MAX : (uint64_t)st.st_size;
}

static int read_to_end(struct reader *reader, int fd, uint64_t size, struct err *err)
{
	AUTO_FREE char *buffer = mem_new(1, CHUNK);
	for (;;) {
		ssize_t n = read(fd, buffer, size < CHUNK ? (size_t)size : CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, errno, "read the log");
		size -= (uint64_t)n;
		int r = take_bytes(reader, (struct view){ buffer, (size_t)n });
		if (r == 0 && (n == 0 || reader->out.len + reader->err.len > CHUNK))
			r = flush(reader);
		if (r < 0)
			return r == -EPIPE ? r : err_sys(err, -r, "write the log");
		if (n == 0)
			return 0;
	}
}

/* Complete lines in the first size bytes of a file. */
static int count_lines(int fd, uint64_t size, int64_t *count, struct err *err)
{
	AUTO_FREE char *buffer = mem_new(1, CHUNK);
	off_t offset = 0;
	for (;;) {
		uint64_t left = size - (uint64_t)offset;
		ssize_t n = pread(fd, buffer, left < CHUNK ? (size_t)left : CHUNK, offset);
		if (n < 0)
			return err_sys(err, errno, "read the log");
		if (n == 0)
			return 0;
		offset += n;
		for (char *p = buffer; (p = memchr(p, '\n', (size_t)(buffer + n - p))) != NULL; p++)
			(*count)++;
	}
}

/* Follows until the workload's end is recorded and all of the log is read; opens the new file after
 * a rotation. */
static int follow(struct reader *reader, int run_fd, int data_fd, int *log_fd, struct err *err)
{
	AUTO_CLOSE int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	AUTO_DONE(text) path = { 0 };
	text_printf(&path, "/proc/self/fd/%d", data_fd);
	if (watch < 0 || inotify_add_watch(watch, text_string(&path),
				 IN_MODIFY | IN_MOVED_TO | IN_CREATE) < 0)
		return err_sys(err, errno, "watch the log");
	for (;;) {
		struct live live;
		/* First the state, then the bytes: all of a workload that has ended is read. */
		int r = live_read(run_fd, data_fd, &live, err);
		if (r == 0)
			r = read_to_end(reader, *log_fd, UINT64_MAX, err);
		if (r < 0 || reader->is_past_until)
			return r;
		struct stat old, now;
		if (fstatat(data_fd, MONITOR_LOG, &now, 0) == 0 && fstat(*log_fd, &old) == 0 &&
			now.st_ino != old.st_ino) {
			int next = openat(data_fd, MONITOR_LOG, O_RDONLY | O_CLOEXEC);
			if (next >= 0) {
				(void)close(*log_fd);
				*log_fd = next;
				continue;
			}
		}
		if (live.phase != WORKLOAD_RUNNING)
			return 0;
		struct pollfd wait = { .fd = watch, .events = POLLIN };
		if (poll(&wait, 1, -1) < 0 && errno != EINTR)
			return err_sys(err, errno, "wait for the log");
		char events[4096];
		(void)!read(watch, events, sizeof(events));
	}
}

static int read_logs(struct reader *reader, struct engine *engine, const char *id, int data_fd,
	struct err *err)
{
	AUTO_CLOSE int old_fd = openat(data_fd, MONITOR_LOG_OLD, O_RDONLY | O_CLOEXEC);
	AUTO_CLOSE int log_fd = openat(data_fd, MONITOR_LOG, O_RDONLY | O_CLOEXEC);
	if (log_fd < 0)
		return errno == ENOENT ? 0 : err_sys(err, errno, "open the log");
	uint64_t size = size_to_read(reader, log_fd);
	int r = 0;
	if (reader->logs->tail >= 0) {
		int64_t lines = 0;
		if (old_fd >= 0)
			r = count_lines(old_fd, UINT64_MAX, &lines, err);
		if (r == 0)
			r = count_lines(log_fd, size, &lines, err);
		reader->skip = lines > reader->logs->tail ? lines - reader->logs->tail : 0;
	}
	if (r == 0 && old_fd >= 0)
		r = read_to_end(reader, old_fd, UINT64_MAX, err);
	if (r == 0)
		r = read_to_end(reader, log_fd, size, err);
	AUTO_CLOSE int run_fd = openat(engine->run_fd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r == 0 && reader->logs->follow && run_fd >= 0)
		r = follow(reader, run_fd, data_fd, &log_fd, err);
	return r;
}

int engine_logs(struct engine *engine, const char *name, const struct engine_logs *logs, int out_fd,
	int err_fd, struct err *err)
{
	AUTO_DONE(workload) workload = { 0 };
	int r = engine_find(engine, name, &workload, err);
	if (r < 0)
		return r;
	AUTO_FREE char *path = engine_path(engine, "workloads/%s", workload.id);
	AUTO_CLOSE int data_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (data_fd < 0)
		return err_sys(err, errno, "open \"%s\"", path);
	struct reader reader = { .logs = logs, .out_fd = out_fd, .err_fd = err_fd };
	r = read_logs(&reader, engine, workload.id, data_fd, err);
	text_done(&reader.line);
	text_done(&reader.out);
	text_done(&reader.err);
	return r;
}
