/* path - the one resolver of paths inside a root, volume, context, share or archive (THREATS rule
 * 1): openat2 with RESOLVE_IN_ROOT or RESOLVE_BENEATH and NO_MAGICLINKS.  A path is opened once and
 * used as a descriptor from then on. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/err.h"

/* Opens path as if root were "/": symlinks and ".." cannot leave it.  flags as open(2), O_CLOEXEC
 * is added; mode counts with O_CREAT.  Returns the fd or a negative errno. */
MUST_CHECK int path_at_open(int root, const char *path, int flags, mode_t mode);
/* The same, but any symlink on the way, and "..", is refused (-ELOOP, -EXDEV). */
MUST_CHECK int path_at_open_beneath(int root, const char *path, int flags, mode_t mode);

/* The directory at path inside root, created with its parents where missing (mode, owner uid:gid
 * for what is created); symlinks are followed inside root.  Returns an O_PATH fd. */
MUST_CHECK int path_at_make_dirs(int root, const char *path, mode_t mode, uid_t uid, gid_t gid);
/* The regular file at path inside root, created empty (with its parents, 0755) where missing, as is
 * the target of a dangling symlink.  An fd to whatever is there, not for reading or writing: O_PATH
 * where it was there already. */
MUST_CHECK int path_at_make_file(int root, const char *path, mode_t mode);

/* Reads a whole small file inside root. */
struct text;
MUST_CHECK int path_at_read(int root, const char *path, uint64_t max_bytes, struct text *text);

/* The target of a symlink, whole; caller owns. */
MUST_CHECK int path_read_link(int dirfd, const char *name, char **ret_target);

/* Plain helpers for moat's own directories (trusted names, no hostile writer). */
MUST_CHECK int path_make_dir(int dirfd, const char *path, mode_t mode); /* 0 if it is there */
MUST_CHECK int path_make_dirs(const char *absolute, mode_t mode, struct err *err);
/* Removes a file or a whole tree below dirfd; never follows a link, never crosses from name
 * into another mount; 0 if nothing is there. */
MUST_CHECK int path_remove_tree(int dirfd, const char *name, struct err *err);
/* Bytes a tree uses on disk (st_blocks), each inode once. */
MUST_CHECK int path_disk_usage(int dirfd, const char *name, uint64_t *ret_bytes);
