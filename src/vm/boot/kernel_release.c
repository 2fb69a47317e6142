/* kernel_release - which release a kernel file is.  A bzImage has the offset of its version string
 * at 0x20e, counted from 0x200 (Documentation/arch/x86/boot.rst, "kernel_version"); an ELF program
 * has the banner "Linux version RELEASE (" in its data.  Both are read by pread(2) in pieces of
 * fixed size. */
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/mem.h"
#include "vm/vm.h"

#define BANNER "Linux version "

enum {
	SETUP_BASE = 0x200,
	MAGIC_AT = 0x202, /* "HdrS" */
	VERSION_AT = 0x20e,
	HEAD_BYTES = 0x210,
	RELEASE_MAX = 64,
	SCAN_BYTES = 1 << 20
};

static bool is_release_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '.' || c == '_' || c == '+' || c == '~' || c == '-';
}

/* The word that bytes begin with, if it is a release: a file's name is made of it. */
static bool take_release(struct view bytes, struct text *ret_release)
{
	size_t len = 0;
	while (len < bytes.len && is_release_byte(bytes.data[len]))
		len++;
	if (len == 0 || len > RELEASE_MAX || len == bytes.len || bytes.data[0] < '0' ||
		bytes.data[0] > '9')
		return false;
	if (bytes.data[len] != ' ' && bytes.data[len] != '\0')
		return false;
	text_add(ret_release, bytes.data, len);
	return true;
}

/* As much as there is; the number of bytes or a negative errno. */
static ssize_t read_some(int fd, char *bytes, size_t len, uint64_t offset)
{
	size_t got = 0;
	while (got < len) {
		ssize_t n = pread(fd, bytes + got, len - got, (off_t)(offset + got));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		got += (size_t)n;
	}
	return (ssize_t)got;
}

static bool release_of_image(int fd, const char head[HEAD_BYTES], struct text *ret_release)
{
	char version[RELEASE_MAX + 2];
	uint16_t at = (uint16_t)((uint8_t)head[VERSION_AT] | (uint8_t)head[VERSION_AT + 1] << 8);
	ssize_t n = read_some(fd, version, sizeof(version), (uint64_t)SETUP_BASE + at);
	return n > 0 && at != 0 && take_release((struct view){ version, (size_t)n }, ret_release);
}

static int release_of_elf(int fd, uint64_t size, struct text *ret_release, struct err *err)
{
	/* Pieces overlap, so that no banner is cut. */
	const size_t overlap = sizeof(BANNER) + RELEASE_MAX + 1;
	AUTO_FREE char *buffer = mem_new(1, SCAN_BYTES);
	for (uint64_t offset = 0; offset < size; offset += SCAN_BYTES - overlap) {
		ssize_t n = read_some(fd, buffer, SCAN_BYTES, offset);
		if (n < 0)
			return err_sys(err, (int)-n, "read the kernel");
		struct view rest = { buffer, (size_t)n };
		for (;;) {
			const char *found = memmem(rest.data, rest.len, BANNER, strlen(BANNER));
			if (found == NULL)
				break;
			size_t skip = (size_t)(found - rest.data) + strlen(BANNER);
			rest = (struct view){ rest.data + skip, rest.len - skip };
			if (take_release(rest, ret_release))
				return 0;
		}
		if ((size_t)n < SCAN_BYTES)
			break;
	}
	return err_set(err, ERR_INVALID, "the kernel does not say which release it is");
}

int vm_kernel_release(int fd, struct text *ret_release, struct err *err)
{
	char head[HEAD_BYTES] = { 0 };
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_sys(err, errno, "look at the kernel");
	ssize_t n = read_some(fd, head, sizeof(head), 0);
	if (n < 0)
		return err_sys(err, (int)-n, "read the kernel");
	if (memcmp(head, ELFMAG, SELFMAG) == 0)
		return release_of_elf(fd, (uint64_t)st.st_size, ret_release, err);
	if (memcmp(head + MAGIC_AT, "HdrS", 4) != 0)
		return err_set(err, ERR_INVALID,
			"not a kernel: neither a bzImage nor an ELF program for x86-64");
	if (!release_of_image(fd, head, ret_release))
		return err_set(err, ERR_INVALID, "the kernel does not say which release it is");
	return 0;
}
