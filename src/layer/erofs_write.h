/* erofs_write - the metadata of an image: directories, inodes, superblock (docs/erofs.md). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/err.h"

struct erofs_device;
struct erofs_out;
struct tree;

struct erofs_volume {
	uint8_t uuid[16];
	const struct erofs_device *devices; /* borrowed; the device table */
	size_t devices_len;
};

/* The first half of a digest: tells images apart, and is the same whenever the content is. */
void erofs_write_uuid(const struct digest *digest, uint8_t uuid[16]);
/* Where data, or metadata if there is no data, may start: behind superblock and device table. */
uint64_t erofs_write_start(size_t devices_len);
/* Writes the metadata of tree (which it orders and numbers) where out stands, then the superblock,
 * and finishes the file.  *ret_bytes gets its size. */
MUST_CHECK int erofs_write(struct tree *tree, struct erofs_out *out,
	const struct erofs_volume *volume, uint64_t *ret_bytes, struct err *err);
