/* tar_bytes - builds small archives in memory for the tests of this folder. */
#pragma once

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/text.h"
#include "layer/tar_header.h"

/* Puts the checksum in. */
static inline void tar_bytes_seal(struct tar_header *header)
{
	unsigned sum = 0;
	memset(header->checksum, ' ', sizeof(header->checksum));
	for (size_t i = 0; i < sizeof(*header); i++)
		sum += ((const uint8_t *)header)[i];
	snprintf(header->checksum, sizeof(header->checksum), "%06o", sum);
}

static inline struct tar_header tar_bytes_header(const char *name, char type, uint64_t size)
{
	struct tar_header header = { 0 };
	memcpy(header.name, name, strnlen(name, sizeof(header.name)));
	memcpy(header.mode, "0000644", 8);
	memcpy(header.uid, "0000000", 8);
	memcpy(header.gid, "0000000", 8);
	snprintf(header.size, sizeof(header.size), "%011jo", (uintmax_t)size);
	memcpy(header.mtime, "00000000007", 12);
	memcpy(header.magic, "ustar\00000", 8);
	header.type = type;
	tar_bytes_seal(&header);
	return header;
}

static inline void tar_bytes_pad(struct text *archive)
{
	static const char zeros[TAR_BLOCK];
	text_add(archive, zeros, -archive->len & (TAR_BLOCK - 1));
}

static inline void tar_bytes_add(struct text *archive, const char *name, char type,
	const char *content, size_t len)
{
	struct tar_header header = tar_bytes_header(name, type, len);
	text_add(archive, (const char *)&header, sizeof(header));
	text_add(archive, content, len);
	tar_bytes_pad(archive);
}

static inline void tar_bytes_add_link(struct text *archive, const char *name, char type,
	const char *target)
{
	struct tar_header header = tar_bytes_header(name, type, 0);
	memcpy(header.link_name, target, strlen(target));
	tar_bytes_seal(&header);
	text_add(archive, (const char *)&header, sizeof(header));
}

static inline void tar_bytes_end(struct text *archive)
{
	static const char zeros[2 * TAR_BLOCK];
	text_add(archive, zeros, sizeof(zeros));
}

/* The bytes as a file; the caller closes it. */
static inline int tar_bytes_file(const struct text *archive)
{
	int fd = memfd_create("archive", MFD_CLOEXEC);
	if (fd >= 0 && fd_write_all(fd, text_string(archive), archive->len) < 0)
		abort();
	return fd;
}
