/* exit_record - a status is told by the kernel or said to be unknown, never guessed. */
#include "monitor/exit_record.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/num.h"
#include "base/proc.h"
#include "base/text.h"
#include "wire/monitor_msg.h"

#define RECORD_MAX 64
#define EVENTS_MAX 512 /* memory.events has five short lines, memory.oom_control three */

int exit_record_child(pid_t pid, int *ret_status)
{
	pid_t r = waitpid(pid, ret_status, WNOHANG);

	if (r == pid)
		return 0;
	return r == 0 ? -EAGAIN : -ENODATA;
}

int exit_record_stranger(int pidfd, bool reaped, int *ret_status)
{
	int r = proc_exit_status(pidfd, ret_status);

	return r < 0 && !reaped ? -EAGAIN : r;
}

bool exit_record_oom(int events_fd)
{
	char bytes[EVENTS_MAX];
	ssize_t n = events_fd < 0 ? -1 : pread(events_fd, bytes, sizeof(bytes), 0);
	struct view rest = { bytes, n < 0 ? 0 : (size_t)n };

	/* Both versions of cgroups have a line "oom_kill N". */
	while (rest.len > 0) {
		struct view value = view_cut(&rest, '\n');
		struct view name = view_cut(&value, ' ');
		uint64_t kills;

		if (view_is(name, "oom_kill"))
			return num_parse_u64(value, UINT64_MAX, &kills) == 0 && kills > 0;
	}
	return false;
}

int exit_record_write(const struct exit_record *record, int data_dir, int run_dir, struct err *err)
{
	char status[16] = "unknown", text[RECORD_MAX];

	if (record->known)
		(void)snprintf(status, sizeof(status), "%d", record->status);
	int n = snprintf(text, sizeof(text), "%s %d %jd\n", status, record->oom,
		(intmax_t)record->wall_ns);
	struct view bytes = { text, (size_t)n };
	if (file_write_at(data_dir, MONITOR_EXIT_FILE, 0600, bytes, NULL) == 0)
		return 0;
	return file_write_at(run_dir, MONITOR_EXIT_FILE, 0600, bytes, err);
}
