/* layer - tar to EROFS and back, and the merged metadata of an image.  Everything here parses
 * hostile bytes: engine calls it inside the jailed role "extract" only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/err.h"

enum layer_compression {
	LAYER_PLAIN,
	LAYER_GZIP,
	LAYER_ZSTD,
	LAYER_XZ, /* of kernel packages and modules; no image has it, nor is it detected */
	LAYER_LZ4 /* of what is packed in a kernel, the same */
};

/* Loads what conversion needs (isa-l, GnuTLS): call before entering a jail. */
MUST_CHECK int layer_init(struct err *err);

/* The compression that the first bytes of fd at offset show (for archives whose format declares
 * none, as docker-archive). */
MUST_CHECK int layer_detect(int fd, uint64_t offset, enum layer_compression *ret_compression,
	struct err *err);

struct layer_job {
	int source_fd;   /* borrowed; read with pread where it can seek, else with read */
	uint64_t offset; /* where the blob starts in source_fd */
	uint64_t size;   /* of the blob in bytes; UINT64_MAX: until the end of source_fd */
	enum layer_compression compression;
	int blob_fd;  /* borrowed; gets the blob's bytes as they come; -1: not wanted */
	int erofs_fd; /* borrowed; an empty regular file open for reading and writing */
};

struct layer_result {
	struct digest blob;    /* of the bytes as they came */
	struct digest diff_id; /* of the tar stream */
	uint64_t blob_bytes, tar_bytes, erofs_bytes, entries;
};

/* One pass: read, hash, keep the blob, decompress, hash, parse the tar, write the EROFS image
 * (docs/erofs.md).  The reader and the writer run in two threads.  On failure the files hold
 * rubbish, which the caller drops. */
MUST_CHECK int layer_convert(const struct layer_job *job, struct layer_result *ret_result,
	struct err *err);

/* The merged metadata image of layers (lowest first, EROFS files made by layer_convert, borrowed
 * fds): whiteouts resolved, file data by chunk index into the layers as extra devices 1..len.
 * The places onto which every container mounts (mount_points.def) are added where they lack.
 * *ret_bytes gets its size. */
MUST_CHECK int layer_merge(const int *layer_fds, size_t layers_len, int out_fd, uint64_t *ret_bytes,
	struct err *err);

/* Members of an uncompressed tar in a seekable file; nothing of their content is read.  A name is
 * as it stands in the archive (PAX and GNU long names applied). */
struct layer_member {
	const char *name;
	const char *link_name; /* "" if none */
	char type;             /* typeflag: '0' file, '2' symlink, '1' hard link, '5' directory */
	uint64_t offset;       /* of the content in the file */
	uint64_t size;
};
typedef int layer_member_fn(void *context, const struct layer_member *member, struct err *err);
MUST_CHECK int layer_scan(int fd, layer_member_fn *fn, void *context, struct err *err);

/* size bytes of source_fd from offset on, decompressed into out_fd: at most max_bytes. */
MUST_CHECK int layer_expand(int source_fd, uint64_t offset, uint64_t size,
	enum layer_compression compression, int out_fd, uint64_t max_bytes, struct err *err);

/* Whether fd is a Debian package; and where in it the tar of its files is. */
bool layer_deb_is(int fd);
MUST_CHECK int layer_deb_data(int fd, uint64_t *ret_offset, uint64_t *ret_size,
	enum layer_compression *ret_compression, struct err *err);

/* Decompresses source_fd from its current offset to out_fd. */
MUST_CHECK int layer_decompress(int source_fd, enum layer_compression compression, int out_fd,
	uint64_t *ret_bytes, struct err *err);

/* ---- archives that are written ---- */

/* Files and folders of no account: owner 0, time 0, so that the same content gives the same bytes
 * (POSIX.1-1988 ustar; sizes beyond 8 GiB as GNU tar writes them).  Each a negative errno where the
 * write fails. */
MUST_CHECK int tar_write_folder(int fd, const char *name); /* "a/b/" */
/* name: at most 99 bytes.  Then `size` bytes follow, and tar_write_padding(). */
MUST_CHECK int tar_write_file(int fd, const char *name, uint64_t size);
MUST_CHECK int tar_write_padding(int fd, uint64_t size);
/* All three of a small file. */
MUST_CHECK int tar_write_bytes(int fd, const char *name, struct view bytes);
MUST_CHECK int tar_write_end(int fd);
