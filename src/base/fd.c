/* fd - see fd.h.  Everything opened here is O_CLOEXEC; a descriptor becomes inheritable only by
 * name, in spawn.c. */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"

int fd_write_all(int fd, const void *bytes, size_t len)
{
	const char *at = bytes;
	while (len > 0) {
		ssize_t n = write(fd, at, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

int fd_pwrite_all(int fd, const void *bytes, size_t len, uint64_t offset)
{
	const char *at = bytes;
	while (len > 0) {
		ssize_t n = pwrite(fd, at, len, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

int fd_read_exact(int fd, void *bytes, size_t len)
{
	char *at = bytes;
	while (len > 0) {
		ssize_t n = read(fd, at, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

int fd_pread_exact(int fd, void *bytes, size_t len, uint64_t offset)
{
	char *at = bytes;
	while (len > 0) {
		ssize_t n = pread(fd, at, len, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA;
		at += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

static int fail_read(struct text *text, size_t old_len, int code)
{
	text->len = old_len;
	text->data[old_len] = '\0';
	return code;
}

int fd_read_text(int fd, uint64_t max_bytes, const char *what, struct text *text, struct err *err)
{
	size_t old_len = text->len;
	for (;;) {
		text_reserve(text, 4096);
		ssize_t n = read(fd, text->data + text->len, text->capacity - 1 - text->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail_read(text, old_len, err_sys(err, errno, "read %s", what));
		text->len += (size_t)n;
		if (text->len - old_len > max_bytes)
			return fail_read(text, old_len,
				err_set(err, ERR_LIMIT,
					"%s is longer than the limit of %" PRIu64 " bytes", what,
					max_bytes));
		text->data[text->len] = '\0';
		if (n == 0)
			return 0;
	}
}

int file_read_at(int dirfd, const char *path, uint64_t max_bytes, struct text *text,
	struct err *err)
{
	AUTO_CLOSE int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return err_sys(err, errno, "open %s", path);
	return fd_read_text(fd, max_bytes, path, text, err);
}

/* A name beside path that nobody else picks: ".NAME.xxxxxxxxxxxxxxxx". */
static char *temporary_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	int dir_len = slash != NULL ? (int)(slash + 1 - path) : 0;
	uint64_t random = 0;
	CHECK(getrandom(&random, sizeof(random), 0) == sizeof(random));
	return text_format("%.*s.%s.%016" PRIx64, dir_len, path, path + dir_len, random);
}

int file_write_at(int dirfd, const char *path, mode_t mode, struct view bytes, struct err *err)
{
	AUTO_FREE char *temporary = temporary_name(path);
	AUTO_CLOSE int fd = openat(dirfd, temporary,
		O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(err, errno, "create %s", path);
	int r = fd_write_all(fd, bytes.data, bytes.len);
	/* The mode is what was asked for, not what the umask leaves of it. */
	if (r == 0 && fchmod(fd, mode) < 0)
		r = -errno;
	if (r == 0 && renameat(dirfd, temporary, dirfd, path) < 0)
		r = -errno;
	if (r == 0)
		return 0;
	(void)unlinkat(dirfd, temporary, 0);
	return err_sys(err, -r, "write %s", path);
}

int file_poke_at(int dirfd, const char *path, const char *value, struct err *err)
{
	AUTO_CLOSE int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return err_sys(err, errno, "open %s", path);
	/* One write: the kernel takes a setting whole or not at all. */
	size_t len = strlen(value);
	ssize_t n;
	do
		n = write(fd, value, len);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(err, errno, "write \"%s\" to %s", value, path);
	if ((size_t)n != len)
		return err_set(err, ERR_SYSTEM, "write \"%s\" to %s: only %zd bytes were taken",
			value, path, n);
	return 0;
}

static int set_flag(int fd, int get, int set, int flag, bool on)
{
	int flags = fcntl(fd, get);
	if (flags < 0)
		return -errno;
	int wanted = on ? flags | flag : flags & ~flag;
	return wanted == flags || fcntl(fd, set, wanted) == 0 ? 0 : -errno;
}

int fd_set_nonblocking(int fd, bool on)
{
	return set_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK, on);
}

int fd_set_direct(int fd, bool on)
{
	return set_flag(fd, F_GETFL, F_SETFL, O_DIRECT, on);
}

int fd_set_cloexec(int fd, bool on)
{
	return set_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC, on);
}

/* The smallest of keep that is at least first, or -1.  No sorting: this runs in children that share
 * memory with their parent, where nothing may be allocated, and the list is short. */
static int next_kept(const int *keep, size_t keep_len, int first)
{
	int next = -1;
	for (size_t i = 0; i < keep_len; i++) {
		if (keep[i] >= first && (next < 0 || keep[i] < next))
			next = keep[i];
	}
	return next;
}

int fd_close_others(const int *keep, size_t keep_len)
{
	int first = 3;
	for (;;) {
		int next = next_kept(keep, keep_len, first);
		unsigned last = next < 0 ? UINT_MAX : (unsigned)next - 1;
		if (next != first && close_range((unsigned)first, last, 0) < 0)
			return -errno;
		if (next < 0 || next == INT_MAX)
			return 0;
		first = next + 1;
	}
}

/* The kernel's own limit (SCM_MAX_FD). */
enum { PASS_MAX = 253 };

union pass_buffer {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(PASS_MAX * sizeof(int))];
};

int fd_send(int socket, const void *bytes, size_t len, const int *fds, size_t fds_len)
{
	if (len == 0 || fds_len > PASS_MAX)
		return -EINVAL;
	union pass_buffer control = { 0 };
	struct iovec data = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = len };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1 };
	if (fds_len > 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(fds_len * sizeof(int));
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(fds_len * sizeof(int));
		memcpy(CMSG_DATA(header), fds, fds_len * sizeof(int));
	}
	size_t sent = 0;
	while (sent < len) {
		data.iov_base = (char *)(uintptr_t)bytes + sent;
		data.iov_len = len - sent;
		ssize_t n = sendmsg(socket, &message, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		sent += (size_t)n;
		/* A stream may take a part: the descriptors went with its first byte. */
		message.msg_control = NULL;
		message.msg_controllen = 0;
	}
	return 0;
}

ssize_t fd_receive(int socket, void *bytes, size_t len, int *ret_fds, size_t fds_max,
	size_t *ret_fds_len)
{
	union pass_buffer control;
	struct iovec data = { .iov_base = bytes, .iov_len = len };
	struct msghdr message = { .msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes) };
	ssize_t n;
	do
		n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;

	size_t count = 0;
	bool too_much = (message.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) != 0;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&message); h != NULL; h = CMSG_NXTHDR(&message, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		size_t fds_len = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < fds_len; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(fd));
			if (count < fds_max) {
				ret_fds[count++] = fd;
				continue;
			}
			/* A peer must not fill our table with what nobody asked for. */
			(void)close(fd);
			too_much = true;
		}
	}
	if (too_much) {
		while (count > 0)
			(void)close(ret_fds[--count]);
		return -EMSGSIZE;
	}
	*ret_fds_len = count;
	return n;
}

int fd_lock(int fd, bool exclusive, int deadline_ms)
{
	/* flock() knows no time limit, and an alarm signal would be the whole process's: so it is
	 * asked again, after 1 ms at first and every 16 ms later on. */
	enum { PAUSE_MAX_MS = 16 };
	uint64_t end = clock_monotonic_ns() + (uint64_t)deadline_ms * 1000000;
	for (long pause_ms = 1;; pause_ms = pause_ms < PAUSE_MAX_MS ? pause_ms * 2 : pause_ms) {
		if (flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		if (deadline_ms <= 0 || clock_monotonic_ns() >= end)
			return -EWOULDBLOCK;
		(void)nanosleep(&(struct timespec){ .tv_nsec = pause_ms * 1000000 }, NULL);
	}
}

int fd_executable_memory(const char *name, uint64_t len, int *ret_fd, struct err *err)
{
	const unsigned executable =
		0x10; /* MFD_EXEC, which kernels before 6.3 do not know or need */
	AUTO_CLOSE int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | executable);
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 && errno == EACCES)
		return err_set(err, ERR_DENIED,
			"no memory may be executable here: set the sysctl vm.memfd_noexec to 1 or "
			"0");
	if (fd < 0 || ftruncate(fd, (off_t)len) < 0)
		return err_sys(err, errno, "make a memory file of %ju bytes", (uintmax_t)len);
	*ret_fd = TAKE_FD(fd);
	return 0;
}
