/* erofs_out - the image file being written: front to back, in large pieces, from a buffer. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

struct erofs_out {
	int fd;          /* borrowed */
	uint8_t *buffer; /* owned */
	size_t len;      /* bytes in buffer */
	uint64_t start;  /* where buffer belongs in the file */
	uint64_t size;   /* of the file so far, as written */
	uint64_t begun;  /* up to here the disk has been asked to take it */
};

/* The first byte goes to offset start. */
void erofs_out_init(struct erofs_out *out, int fd, uint64_t start);
void erofs_out_done(struct erofs_out *out);
uint64_t erofs_out_position(const struct erofs_out *out);

MUST_CHECK int erofs_out_write(struct erofs_out *out, const void *bytes, size_t len,
	struct err *err);
/* Long runs of zeros become holes of the file. */
MUST_CHECK int erofs_out_zeros(struct erofs_out *out, uint64_t len, struct err *err);
/* Zeros up to a multiple of alignment, a power of two. */
MUST_CHECK int erofs_out_align(struct erofs_out *out, uint32_t alignment, struct err *err);
/* Writes what is buffered and makes the file as long as all that was written. */
MUST_CHECK int erofs_out_finish(struct erofs_out *out, struct err *err);
