#include "engine/live.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/num.h"
#include "container/container.h"
#include "wire/monitor_msg.h"

#define RECORD_MAX 256
#define STATUS_MAX 16384 /* bytes of /proc/PID/status */
/* How long a monitor may take from the end of its init to the record on disk. */
#define RECORD_DEADLINE_MS 3000

int live_shell_status(int wait_status)
{
	if (WIFSIGNALED(wait_status))
		return 128 + WTERMSIG(wait_status);
	return WEXITSTATUS(wait_status);
}

static int64_t file_time(int dirfd, const char *name)
{
	struct stat st;
	if (fstatat(dirfd, name, &st, 0) < 0)
		return 0;
	return (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
}

bool live_monitor_lives(int run_fd)
{
	AUTO_CLOSE int fd = openat(run_fd, MONITOR_LOCK, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

static int read_init(int run_fd, struct live *live, struct err *err)
{
	AUTO_DONE(text) text = { 0 };
	int r = file_read_at(run_fd, MONITOR_INIT, RECORD_MAX, &text, NULL);
	if (r == -ENOENT)
		return 0;
	struct view rest = view_trim(view_of_text(&text));
	struct view pid = view_cut(&rest, ' ');
	int64_t number;
	if (r < 0 || num_parse(pid, 1, INT32_MAX, &number) < 0 ||
		num_parse_u64(rest, UINT64_MAX, &live->init.start_ticks) < 0)
		return err_set(err, ERR_DAMAGED, "the record of a workload's init is damaged");
	live->init.pid = (pid_t)number;
	live->has_init = true;
	live->started_ns = file_time(run_fd, MONITOR_INIT);
	AUTO_CLOSE int pidfd = -1;
	live->init_lives = proc_open(&live->init, &pidfd) == 0 && proc_wait_end(pidfd, 0) < 0;
	return 0;
}

int live_read_init(int run_fd, struct live *live)
{
	int r = read_init(run_fd, live, NULL);
	return r < 0 ? r : live->has_init ? 0 : -ENOENT;
}

/* "STATUS OOM WALL_NS\n"; STATUS is a wait status or "unknown".  A monitor whose data directory is
 * full writes it to the run directory. */
static int read_exit(int run_fd, int data_fd, struct live *live, bool *ret_is_there,
	struct err *err)
{
	AUTO_DONE(text) text = { 0 };
	int r = file_read_at(data_fd, MONITOR_EXIT_FILE, RECORD_MAX, &text, NULL);
	if (r == -ENOENT && run_fd >= 0)
		r = file_read_at(run_fd, MONITOR_EXIT_FILE, RECORD_MAX, &text, NULL);
	*ret_is_there = r == 0;
	if (r == -ENOENT)
		return 0;
	struct view rest = view_trim(view_of_text(&text));
	struct view status = view_cut(&rest, ' ');
	struct view oom = view_cut(&rest, ' ');
	int64_t number = -1;
	if (r < 0 ||
		(!view_is(status, "unknown") && num_parse(status, 0, INT32_MAX, &number) < 0) ||
		num_parse(rest, 0, INT64_MAX, &live->finished_ns) < 0)
		return err_set(err, ERR_DAMAGED, "the exit record of a workload is damaged");
	live->exit_status = number < 0 ? WORKLOAD_EXIT_UNKNOWN : live_shell_status((int)number);
	live->oom_killed = view_is(oom, "1");
	return 0;
}

int live_read(int run_fd, int data_fd, struct live *ret_live, struct err *err)
{
	struct live live = { .exit_status = 0 };
	bool has_exit;
	int r = read_exit(run_fd, data_fd, &live, &has_exit, err);
	if (r < 0)
		return r;
	if (run_fd >= 0) {
		r = read_init(run_fd, &live, err);
		if (r < 0)
			return r;
		live.monitor_lives = live_monitor_lives(run_fd);
	}
	if (live.started_ns == 0)
		live.started_ns = file_time(data_fd, MONITOR_LOG);
	if (has_exit) {
		live.phase = WORKLOAD_EXITED;
	} else if (live.has_init && (live.init_lives || live.monitor_lives)) {
		live.phase = WORKLOAD_RUNNING;
	} else if (live.started_ns != 0) {
		/* It ran once, and nobody saw its end: a host restart, or all was killed. */
		live.phase = WORKLOAD_EXITED;
		live.exit_status = WORKLOAD_EXIT_UNKNOWN;
	}
	*ret_live = live;
	return 0;
}

int live_write_init(int run_fd, const struct proc_id *init, struct err *err)
{
	AUTO_DONE(text) text = { 0 };
	text_printf(&text, "%d %ju\n", (int)init->pid, (uintmax_t)init->start_ticks);
	return file_write_at(run_fd, MONITOR_INIT, 0600, view_of_text(&text), err);
}

int live_write_exit(int data_fd, int wait_status, struct err *err)
{
	AUTO_DONE(text) text = { 0 };
	if (wait_status < 0)
		text_puts(&text, "unknown");
	else
		text_printf(&text, "%d", wait_status);
	text_printf(&text, " 0 %jd\n", (intmax_t)clock_wall_ns());
	return file_write_at(data_fd, MONITOR_EXIT_FILE, 0600, view_of_text(&text), err);
}

int live_wait_exit(int run_fd, int data_fd, int timeout_ms, struct live *ret_live, struct err *err)
{
	AUTO_CLOSE int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	AUTO_DONE(text) path = { 0 };
	text_printf(&path, "/proc/self/fd/%d", data_fd);
	AUTO_DONE(text) run_path = { 0 };
	text_printf(&run_path, "/proc/self/fd/%d", run_fd);
	if (watch < 0 || inotify_add_watch(watch, text_string(&path), IN_MOVED_TO) < 0 ||
		(run_fd >= 0 && inotify_add_watch(watch, text_string(&run_path), IN_MOVED_TO) < 0))
		return err_sys(err, errno, "watch for the end of a workload");

	struct live live;
	int r = live_read(run_fd, data_fd, &live, err);
	if (r < 0)
		return r;
	AUTO_CLOSE int pidfd = -1;
	if (live.phase == WORKLOAD_RUNNING)
		(void)!proc_open(&live.init, &pidfd);
	uint64_t start_ns = clock_monotonic_ns();
	while (live.phase == WORKLOAD_RUNNING) {
		/* The init's end wakes us too: then the record must follow soon. */
		struct pollfd fds[] = { { .fd = watch, .events = POLLIN },
			{ .fd = pidfd, .events = POLLIN } };
		int wait_ms = pidfd < 0 ? RECORD_DEADLINE_MS : timeout_ms;
		if (pidfd >= 0 && timeout_ms >= 0) {
			uint64_t passed_ms = (clock_monotonic_ns() - start_ns) / 1000000;
			wait_ms =
				passed_ms >= (uint64_t)timeout_ms ? 0 : timeout_ms - (int)passed_ms;
		}
		int n = poll(fds, ARRAY_LEN(fds), wait_ms);
		if (n < 0 && errno != EINTR)
			return err_sys(err, errno, "wait for the end of a workload");
		if (n == 0)
			return pidfd < 0 ? -ECHILD : -ETIMEDOUT;
		if (n > 0 && fds[1].revents != 0) {
			(void)close(pidfd);
			pidfd = -1;
		}
		char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
		(void)!read(watch, events, sizeof(events));
		r = live_read(run_fd, data_fd, &live, err);
		if (r < 0)
			return r;
	}
	*ret_live = live;
	return 0;
}

int live_monitor(const struct live *live, struct proc_id *ret_monitor)
{
	AUTO_CLOSE int fd = proc_open_file(live->init.pid, "status", O_RDONLY);
	AUTO_DONE(text) status = { 0 };
	int r = fd < 0 ? fd : fd_read_text(fd, STATUS_MAX, "status", &status, NULL);
	const char *line = r < 0 ? NULL : strstr(text_string(&status), "\nPPid:\t");
	struct view rest = view_of(line == NULL ? "" : line + strlen("\nPPid:\t"));
	int64_t pid;
	if (num_parse(view_cut(&rest, '\n'), 2, INT32_MAX, &pid) < 0)
		return -ESRCH;
	return proc_identify((pid_t)pid, ret_monitor);
}

int live_signal(const struct live *live, int signal_number, struct err *err)
{
	AUTO_CLOSE int pidfd = -1;
	int r = proc_open(&live->init, &pidfd);
	return r != 0 ? r : container_signal(pidfd, signal_number, err);
}
