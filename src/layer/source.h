/* source - where bytes come from, as a chain: a file, a tap that hashes and copies what passes, a
 * decompressor.  Whoever reads fills its own buffer, so nothing is copied between the links.  The
 * opposite direction, bytes handed out as views and read ahead in a thread, is feed.h. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/err.h"

struct feed;
struct source;

struct source_ops {
	/* Fills bytes; *ret_len is less than len only at the end of the stream. */
	int (*read)(struct source *source, void *bytes, size_t len, size_t *ret_len,
		struct err *err);
	/* Moves len bytes on without reading them; NULL: cannot. */
	int (*skip)(struct source *source, uint64_t len, struct err *err);
	void (*free)(struct source *source);
};

/* The first member of every concrete source. */
struct source {
	const struct source_ops *ops;
};

void source_free(struct source *source); /* NULL is fine; frees what it reads from as well */
DEFINE_AUTO(source)

/* size bytes of fd (borrowed) from offset on; UINT64_MAX: until the end.  Positioned reads where fd
 * can seek, so that its offset does not move; else what comes next in fd, and offset must be 0. */
MUST_CHECK int source_file_new(int fd, uint64_t offset, uint64_t size, struct source **ret_source,
	struct err *err);

/* What passes through is added to hash (borrowed, NULL: none), written to the file fd from its
 * start on (borrowed, -1: none; its O_DIRECT flag may change) and counted in *count, which may be
 * read once the stream has ended. */
struct source *source_tap_new(struct source *take_inner, struct digest_hash *hash, int fd,
	uint64_t *count);

/* Decompressors of RFC 1952 (any number of members, zero bytes after the last one), RFC 8878 (any
 * number of frames), xz (any number of streams) and lz4's legacy frames.  An empty input is an
 * error. */
MUST_CHECK int source_gunzip_new(struct feed *take_input, struct source **ret_source,
	struct err *err);
MUST_CHECK int source_unlz4_new(struct feed *take_input, struct source **ret_source,
	struct err *err);
MUST_CHECK int source_unxz_new(struct feed *take_input, struct source **ret_source,
	struct err *err);
MUST_CHECK int source_unzstd_new(struct feed *take_input, struct source **ret_source,
	struct err *err);
