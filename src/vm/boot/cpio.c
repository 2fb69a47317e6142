/* cpio - writes initramfs archives.  Entries are owned by root and have no time, so the same files
 * make the same archive.  Linux, Documentation/driver-api/early-userspace/buffer-format.rst: an
 * entry is a header of hexadecimal numbers, a name and data, the last two padded to four bytes. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/mem.h"
#include "vm/vm.h"

enum { ALIGNMENT = 4, BLOCK = 512, COPY_BYTES = 65536, NAME_MAX_BYTES = 4096 };

static int put(struct vm_cpio *cpio, const void *bytes, size_t len, struct err *err)
{
	int r = fd_write_all(cpio->fd, bytes, len);
	if (r < 0)
		return err_sys(err, -r, "write an initramfs");
	cpio->offset += len;
	return 0;
}

static int pad(struct vm_cpio *cpio, unsigned alignment, struct err *err)
{
	static const char zeros[BLOCK];
	size_t rest = cpio->offset % alignment;
	return rest == 0 ? 0 : put(cpio, zeros, alignment - rest, err);
}

static int put_header(struct vm_cpio *cpio, const struct vm_cpio_entry *entry, uint32_t size,
	struct err *err)
{
	size_t name_len = strlen(entry->name) + 1;
	/* magic, inode, mode, uid, gid, links, mtime, size, device, special device, name, check */
	AUTO_FREE char *header = text_format("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X"
					     "%08X%08X",
		cpio->inode, (unsigned)entry->mode, 0U, 0U, S_ISDIR(entry->mode) ? 2U : 1U, 0U,
		size, 0U, 0U, entry->major, entry->minor, (unsigned)name_len, 0U);
	int r = put(cpio, header, strlen(header), err);
	if (r == 0)
		r = put(cpio, entry->name, name_len, err);
	return r < 0 ? r : pad(cpio, ALIGNMENT, err);
}

static int copy_source(struct vm_cpio *cpio, const struct vm_cpio_entry *entry, struct err *err)
{
	AUTO_FREE char *buffer = mem_new(1, COPY_BYTES);
	for (uint64_t done = 0; done < entry->size;) {
		uint64_t left = entry->size - done;
		size_t part = left < COPY_BYTES ? (size_t)left : COPY_BYTES;
		int r = fd_pread_exact(entry->source_fd, buffer, part, entry->offset + done);
		if (r < 0)
			return err_sys(err, -r, "read \"%.200s\"", entry->name);
		r = put(cpio, buffer, part, err);
		if (r < 0)
			return r;
		done += part;
	}
	return 0;
}

int vm_cpio_add(struct vm_cpio *cpio, const struct vm_cpio_entry *entry, struct err *err)
{
	uint64_t size = entry->has_source ? entry->size : entry->bytes.len;
	if (size > UINT32_MAX)
		return err_set(err, ERR_LIMIT, "\"%.200s\" is too large for an initramfs",
			entry->name);
	if (strlen(entry->name) >= NAME_MAX_BYTES)
		return err_set(err, ERR_LIMIT, "a name of %zu bytes is too long for an initramfs",
			strlen(entry->name));
	cpio->inode++;
	int r = put_header(cpio, entry, (uint32_t)size, err);
	if (r == 0)
		r = entry->has_source ? copy_source(cpio, entry, err)
				      : put(cpio, entry->bytes.data, entry->bytes.len, err);
	return r < 0 ? r : pad(cpio, ALIGNMENT, err);
}

int vm_cpio_end(struct vm_cpio *cpio, struct err *err)
{
	const struct vm_cpio_entry trailer = { .name = "TRAILER!!!" };
	int r = put_header(cpio, &trailer, 0, err);
	return r < 0 ? r : pad(cpio, BLOCK, err);
}
