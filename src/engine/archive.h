/* archive - a file, folder or stream with images in it, opened so that its members can be read. */
#pragma once

#include "engine/extract.h"
#include "image/image.h"

struct archive {
	const struct engine *engine; /* borrowed */
	char *path;                  /* owned; as the user gave it */
	int fd;                      /* owned; the folder, or an uncompressed tar that can seek */
	bool is_folder;
	struct member_list list; /* of a tar */
};

/* path "-" is standard input.  A stream or a compressed tar is first written to an unnamed file in
 * the data directory. */
MUST_CHECK int archive_open(const struct engine *engine, const char *path,
	struct archive *ret_archive, struct err *err);
void archive_done(struct archive *archive);

/* Where a member's bytes are; the descriptor is the caller's. */
MUST_CHECK int archive_locate(const struct archive *archive, const char *name, int *ret_fd,
	uint64_t *ret_offset, uint64_t *ret_size, struct err *err);
/* For image_archive_read(). */
struct image_members archive_members(struct archive *archive);

/* The bytes of path, seekable: the file itself, or a copy of the stream in an unnamed file. */
MUST_CHECK int archive_open_bytes(const struct engine *engine, const char *path, int *ret_fd,
	struct err *err);
