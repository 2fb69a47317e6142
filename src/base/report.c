/* report - ready, failed, or silence.
 *
 * A failure carries the whole struct err, kind included, so that the caller's exit status is right
 * (127, 126, 125). */
#include "base/report.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"

#define NS_PER_MS UINT64_C(1000000)

enum report_kind { REPORT_READY = 1, REPORT_FAILURE };

struct report {
	enum report_kind kind;
	struct err err;
};
_Static_assert(sizeof(struct report) <= PIPE_BUF, "a report is written at once");

void report_ready(int report_fd)
{
	const struct report report = { .kind = REPORT_READY };
	/* Who does not listen any more has closed go_fd too: the init ends there. */
	(void)!fd_write_all(report_fd, &report, sizeof(report));
}

void report_failure(int report_fd, const struct err *err)
{
	const struct report report = { .kind = REPORT_FAILURE, .err = *err };
	(void)!fd_write_all(report_fd, &report, sizeof(report));
}

static int wait_readable(int fd, uint64_t end_ns, int timeout_ms, const char *who, struct err *err)
{
	for (;;) {
		int left_ms = -1;
		if (timeout_ms >= 0) {
			uint64_t now = clock_monotonic_ns();
			left_ms = now >= end_ns ? 0 : (int)((end_ns - now) / NS_PER_MS) + 1;
		}
		struct pollfd wait = { .fd = fd, .events = POLLIN };
		int n = poll(&wait, 1, left_ms);
		if (n > 0)
			return 0;
		if (n == 0)
			return err_set(err, ERR_TIMEOUT, "%s did not start within %d ms", who,
				timeout_ms);
		if (errno != EINTR)
			return err_sys(err, errno, "wait for %s", who);
	}
}

int report_wait(int report_fd, enum report_stage until, int timeout_ms, const char *who,
	struct err *err)
{
	uint64_t end_ns =
		clock_monotonic_ns() + (uint64_t)(timeout_ms < 0 ? 0 : timeout_ms) * NS_PER_MS;
	for (;;) {
		int r = wait_readable(report_fd, end_ns, timeout_ms, who, err);
		if (r < 0)
			return r;
		struct report report;
		r = fd_read_exact(report_fd, &report, sizeof(report));
		if (r == -ENODATA && until == REPORT_IS_STARTED)
			return 0;
		if (r == -ENODATA)
			return err_set(err, ERR_SYSTEM,
				"%s's process ended while it was being set up", who);
		if (r < 0)
			return err_sys(err, -r, "hear from %s", who);
		if (report.kind == REPORT_FAILURE) {
			/* Bytes of another process: whatever they are, they end somewhere. */
			report.err.message[sizeof(report.err.message) - 1] = '\0';
			if (report.err.code >= 0 || report.err.kind >= ERR_KIND_COUNT)
				return err_set(err, ERR_SYSTEM, "%s sent no valid report", who);
			return err_copy(err, &report.err);
		}
		if (until == REPORT_IS_READY)
			return 0;
	}
}
