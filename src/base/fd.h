/* fd - descriptors and whole files. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/text.h"

/* All of len, or a negative errno; EINTR is retried. */
MUST_CHECK int fd_write_all(int fd, const void *bytes, size_t len);
MUST_CHECK int fd_pwrite_all(int fd, const void *bytes, size_t len, uint64_t offset);
/* Reads exactly len bytes: -ENODATA at an early end. */
MUST_CHECK int fd_read_exact(int fd, void *bytes, size_t len);
MUST_CHECK int fd_pread_exact(int fd, void *bytes, size_t len, uint64_t offset);
/* Appends all until the end; ERR_LIMIT above max_bytes.  what names the file in the error. */
MUST_CHECK int fd_read_text(int fd, uint64_t max_bytes, const char *what, struct text *text,
	struct err *err);

/* The whole of a small file: -ENOENT and the rest as negative errno, silently where err is NULL. */
MUST_CHECK int file_read_at(int dirfd, const char *path, uint64_t max_bytes, struct text *text,
	struct err *err);
/* Creates or replaces by a temporary name and rename, no fsync (durable.h has that). */
MUST_CHECK int file_write_at(int dirfd, const char *path, mode_t mode, struct view bytes,
	struct err *err);
/* Writes into a file that is already there (cgroup, proc, sys): one write. */
MUST_CHECK int file_poke_at(int dirfd, const char *path, const char *value, struct err *err);

MUST_CHECK int fd_set_nonblocking(int fd, bool on);
/* Past the page cache: offset, length and address of a transfer must be whole blocks.  -EINVAL
 * where the file system cannot. */
MUST_CHECK int fd_set_direct(int fd, bool on);
MUST_CHECK int fd_set_cloexec(int fd, bool on);
/* Closes every descriptor above 2 but those listed (sorted or not). */
MUST_CHECK int fd_close_others(const int *keep, size_t keep_len);

/* A memory file of len bytes that may be mapped for execution, sealable, CLOEXEC: an administrator
 * may have forbidden that (vm.memfd_noexec). */
MUST_CHECK int fd_executable_memory(const char *name, uint64_t len, int *ret_fd, struct err *err);

/* One message with descriptors (SCM_RIGHTS) over a unix socket; received ones are CLOEXEC. */
MUST_CHECK int fd_send(int socket, const void *bytes, size_t len, const int *fds, size_t fds_len);
MUST_CHECK ssize_t fd_receive(int socket, void *bytes, size_t len, int *ret_fds, size_t fds_max,
	size_t *ret_fds_len);

/* A lock on an open file (flock): waits until deadline_ms from now (0: does not wait).
 * -EWOULDBLOCK when it is held by another.  Released by closing the descriptor. */
MUST_CHECK int fd_lock(int fd, bool exclusive, int deadline_ms);
