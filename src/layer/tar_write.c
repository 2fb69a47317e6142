/* tar_write - the archives that moat writes. */
#include "layer/layer.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "layer/tar_header.h"

/* Octal digits and a zero. */
static void put_octal(char *field, size_t len, uint64_t number)
{
	field[--len] = 0;
	while (len > 0) {
		field[--len] = (char)('0' + (number & 7));
		number >>= 3;
	}
}

static void put_size(struct tar_header *header, uint64_t size)
{
	if (size >> (3 * (sizeof(header->size) - 1)) == 0) {
		put_octal(header->size, sizeof(header->size), size);
		return;
	}
	/* Base 256: the first bit says so. */
	const uint64_t big_endian = htobe64(size);
	memset(header->size, 0, sizeof(header->size));
	header->size[0] = (char)0x80;
	memcpy(header->size + sizeof(header->size) - sizeof(big_endian), &big_endian,
		sizeof(big_endian));
}

static int write_header(int fd, const char *name, char type, unsigned mode, uint64_t size)
{
	struct tar_header header = { .type = type, .magic = "ustar" };
	if (strlen(name) >= sizeof(header.name))
		return -ENAMETOOLONG;
	memcpy(header.name, name, strlen(name));
	put_octal(header.mode, sizeof(header.mode), mode);
	put_octal(header.uid, sizeof(header.uid), 0);
	put_octal(header.gid, sizeof(header.gid), 0);
	put_octal(header.mtime, sizeof(header.mtime), 0);
	put_size(&header, size);
	memcpy(header.magic + sizeof("ustar"), "00", 2);
	memset(header.checksum, ' ', sizeof(header.checksum));
	unsigned sum = 0;
	for (size_t i = 0; i < sizeof(header); i++)
		sum += ((const uint8_t *)&header)[i];
	put_octal(header.checksum, sizeof(header.checksum) - 1, sum);
	return fd_write_all(fd, &header, sizeof(header));
}

int tar_write_folder(int fd, const char *name)
{
	return write_header(fd, name, '5', 0755, 0);
}

int tar_write_file(int fd, const char *name, uint64_t size)
{
	return write_header(fd, name, '0', 0644, size);
}

int tar_write_padding(int fd, uint64_t size)
{
	static const char zeros[TAR_BLOCK];
	return fd_write_all(fd, zeros, (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK);
}

int tar_write_bytes(int fd, const char *name, struct view bytes)
{
	int r = tar_write_file(fd, name, bytes.len);
	if (r == 0)
		r = fd_write_all(fd, bytes.data, bytes.len);
	return r < 0 ? r : tar_write_padding(fd, bytes.len);
}

int tar_write_end(int fd)
{
	static const char zeros[2 * TAR_BLOCK];
	return fd_write_all(fd, zeros, sizeof(zeros));
}
