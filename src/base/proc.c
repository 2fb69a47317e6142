/* proc - see proc.h.  A pid is a number that may be given to another process at any moment; a pidfd
 * is not, and a pid with its start time can be turned into one later. */
#include "base/proc.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/text.h"

/* The root of every procfs has this inode number (PROC_ROOT_INO, linux/proc_ns.h). */
enum { PROC_ROOT_INO = 1 };

static bool is_procfs(int fd)
{
	struct statfs fs;
	struct stat st;
	return fstatfs(fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC && fstat(fd, &st) == 0 &&
	       st.st_ino == PROC_ROOT_INO;
}

/* A procfs that no mount table shows: nobody can put anything over its files. */
static int mount_private_procfs(void)
{
	AUTO_CLOSE int context = fsopen("proc", FSOPEN_CLOEXEC);
	if (context < 0)
		return -1;
	if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -1;
	return fsmount(context, FSMOUNT_CLOEXEC,
		MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
}

int proc_root(struct err *err)
{
	/* Opened once per process and never closed: making it costs more than most of what is read
	 * through it.  0 is "not yet" (a procfs is never descriptor 0: spawn.c fills the first
	 * three). */
	static atomic_int root;
	int fd = atomic_load(&root);
	/* Somebody may have closed all descriptors: it is checked each time. */
	if (fd > 0 && is_procfs(fd))
		return fd;
	fd = mount_private_procfs();
	if (fd < 0)
		fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "open /proc");
	if (!is_procfs(fd)) {
		(void)close(fd);
		return err_set(err, ERR_DENIED, "/proc is not a proc file system: mount one there");
	}
	/* Of two threads that come here at once, one leaves a descriptor behind. */
	atomic_store(&root, fd);
	return fd;
}

/* Field 22 of /proc/PID/stat.  Field 2 is the program's name in parentheses and may hold anything,
 * so fields are counted from the last parenthesis. */
static int parse_start_ticks(const struct text *stat, uint64_t *ret_ticks)
{
	const char *paren = strrchr(text_string(stat), ')');
	if (paren == NULL)
		return -EBADMSG;
	struct view rest = view_of(paren + 1);
	struct view field = { 0 };
	(void)view_cut(&rest, ' '); /* the space after field 2 */
	for (int number = 3; number <= 22; number++)
		field = view_cut(&rest, ' ');
	return num_parse_u64(field, UINT64_MAX, ret_ticks) < 0 ? -EBADMSG : 0;
}

int proc_open_file(pid_t pid, const char *name, int flags)
{
	if (pid <= 0)
		return -EINVAL;
	int root = proc_root(NULL);
	if (root < 0)
		return root;
	AUTO_FREE char *path = text_format("%d/%s", (int)pid, name);
	int fd = openat(root, path, flags | O_CLOEXEC | O_NOCTTY);
	return fd >= 0 ? fd : -errno;
}

int proc_identify(pid_t pid, struct proc_id *ret_id)
{
	enum { STAT_MAX = 4096 };
	AUTO_CLOSE int fd = proc_open_file(pid, "stat", O_RDONLY);
	if (fd < 0)
		return fd == -ENOENT ? -ESRCH : fd;
	AUTO_DONE(text) stat = { 0 };
	struct proc_id id = { .pid = pid };
	int r = fd_read_text(fd, STAT_MAX, "stat", &stat, NULL);
	if (r == 0)
		r = parse_start_ticks(&stat, &id.start_ticks);
	if (r < 0)
		return r;
	*ret_id = id;
	return 0;
}

int proc_open(const struct proc_id *id, int *ret_pidfd)
{
	if (id->pid <= 0)
		return -ESRCH;
	AUTO_CLOSE int pidfd = pidfd_open(id->pid, 0);
	if (pidfd < 0)
		return -errno;
	/* The pidfd holds whoever has the number now; its start time tells who that is.  Should it
	 * end in between, the pidfd says so later. */
	struct proc_id now;
	int r = proc_identify(id->pid, &now);
	if (r < 0)
		return r;
	if (now.start_ticks != id->start_ticks)
		return -ESRCH;
	*ret_pidfd = TAKE_FD(pidfd);
	return 0;
}

int proc_signal(int pidfd, int signal_number)
{
	return pidfd_send_signal(pidfd, signal_number, NULL, 0) == 0 ? 0 : -errno;
}

int proc_wait_end(int pidfd, int timeout_ms)
{
	uint64_t end_ns = clock_monotonic_ns() + (uint64_t)timeout_ms * 1000000;
	struct pollfd poll_pidfd = { .fd = pidfd, .events = POLLIN };
	int left_ms = timeout_ms;
	for (;;) {
		int n = poll(&poll_pidfd, 1, left_ms);
		if (n > 0)
			return (poll_pidfd.revents & POLLNVAL) != 0 ? -EBADF : 0;
		if (n == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
		if (timeout_ms < 0)
			continue;
		uint64_t now_ns = clock_monotonic_ns();
		/* Rounded up: the last millisecond is waited for and not spun through. */
		left_ms = now_ns < end_ns ? (int)((end_ns - now_ns + 999999) / 1000000) : 0;
	}
}

/* linux/pidfd.h of Linux 6.15; Debian 12 has older headers. */
struct pidfd_info {
	uint64_t mask;
	uint64_t cgroupid;
	uint32_t pid, tgid, ppid;
	uint32_t ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
	int32_t exit_code;
};
static_assert(sizeof(struct pidfd_info) == 64, "PIDFD_INFO_SIZE_VER0");
#define PIDFD_GET_INFO _IOWR(0xff, 11, struct pidfd_info)
#define PIDFD_INFO_EXIT (UINT64_C(1) << 3)

int proc_exit_status(int pidfd, int *ret_status)
{
	struct pidfd_info info = { .mask = PIDFD_INFO_EXIT };
	if (ioctl(pidfd, PIDFD_GET_INFO, &info) < 0)
		/* An older kernel knows no such request; ESRCH is one that forgets with the reap.
		 */
		return errno == ENOTTY || errno == EINVAL || errno == ESRCH ? -ENODATA : -errno;
	if ((info.mask & PIDFD_INFO_EXIT) == 0)
		return -ENODATA;
	*ret_status = info.exit_code;
	return 0;
}

/* glibc keeps 32 and 33 for itself, so its SIGRTMIN is 34: the number that people mean. */
enum { REALTIME_FIRST = 34, REALTIME_LAST = 64 };

const char *proc_signal_name(int signal_number, char buffer[16])
{
	const char *name = sigabbrev_np(signal_number);
	if (name != NULL)
		(void)snprintf(buffer, 16, "SIG%s", name);
	else if (signal_number == REALTIME_FIRST)
		(void)snprintf(buffer, 16, "SIGRTMIN");
	else if (signal_number > REALTIME_FIRST && signal_number <= REALTIME_LAST)
		(void)snprintf(buffer, 16, "SIGRTMIN+%d", signal_number - REALTIME_FIRST);
	else
		(void)snprintf(buffer, 16, "%d", signal_number);
	return buffer;
}

/* Names that mean a signal which proc_signal_name() calls otherwise. */
static const struct alias {
	const char *name;
	int signal_number;
} aliases[] = { { "CLD", SIGCHLD }, { "IOT", SIGABRT }, { "POLL", SIGIO },
	{ "RTMAX", REALTIME_LAST } };

int proc_signal_parse(const char *name, int *ret_signal)
{
	int64_t number;
	if (num_parse(view_of(name), 1, REALTIME_LAST, &number) == 0) {
		*ret_signal = (int)number;
		return 0;
	}
	if (strncasecmp(name, "SIG", 3) == 0)
		name += 3;
	for (size_t i = 0; i < ARRAY_LEN(aliases); i++) {
		if (strcasecmp(name, aliases[i].name) == 0) {
			*ret_signal = aliases[i].signal_number;
			return 0;
		}
	}
	if (strncasecmp(name, "RTMAX-", 6) == 0) {
		if (num_parse(view_of(name + 6), 0, REALTIME_LAST - REALTIME_FIRST, &number) < 0)
			return -EINVAL;
		*ret_signal = REALTIME_LAST - (int)number;
		return 0;
	}
	for (int i = 1; i <= REALTIME_LAST; i++) {
		char buffer[16];
		const char *known = proc_signal_name(i, buffer);
		if (strncmp(known, "SIG", 3) == 0 && strcasecmp(name, known + 3) == 0) {
			*ret_signal = i;
			return 0;
		}
	}
	return -EINVAL;
}
