/* guest_mem - see guest_mem.h.  RAM is mapped once, in one piece: its first part is the RAM
 * below the hole, the rest the RAM at 4 GiB.  A range is checked against the two parts and nothing
 * else, so that no arithmetic on a guest's number happens before it is known to lie in one of them.
 */
#include "vm/guest_mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/smaps.h"
#include "vm/vm.h"

#define PAGE_SIZE UINT64_C(4096)
#define HUGE_PAGE_SIZE (UINT64_C(2) << 20)

struct window {
	uint64_t gpa, size;
	uint8_t *host; /* borrowed */
	bool is_read_only;
};

struct guest_mem {
	uint8_t *base;          /* owned mapping */
	int fd;                 /* owned; -1: the mapping is private */
	uint64_t low, high;     /* bytes below the hole and at 4 GiB */
	struct window *windows; /* owned; none changes once the guest runs */
	size_t windows_len;
};

/* A guest's huge page is the host's only if both begin together, and kernels before 6.7 place a
 * mapping anywhere: one that is larger is cut to where such a page begins. */
static uint8_t *map_aligned(uint64_t size, int fd)
{
	uint64_t larger = size + HUGE_PAGE_SIZE;
	int kind = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
	uint8_t *start = mmap(NULL, larger, PROT_READ | PROT_WRITE, kind | MAP_NORESERVE, fd, 0);
	if (start == MAP_FAILED)
		return NULL;
	/* A file begins at its mapping's beginning, wherever that is. */
	if (fd >= 0) {
		(void)munmap(start + size, larger - size);
		return start;
	}
	uint64_t before = -(uintptr_t)start % HUGE_PAGE_SIZE;
	if (before > 0)
		(void)munmap(start, before);
	(void)munmap(start + before + size, larger - before - size);
	return start + before;
}

/* It can neither shrink nor grow under whoever maps it. */
static int make_file(uint64_t size, int *ret_fd, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	int r = fd_executable_memory("moat-guest", size, &fd, err);
	if (r < 0)
		return r;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return err_sys(err, errno, "seal a memory file");
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int guest_mem_new(uint64_t size, bool is_shared, struct guest_mem **ret_mem, struct err *err)
{
	if (size == 0 || size % PAGE_SIZE != 0)
		return err_set(err, ERR_INVALID, "RAM of %ju bytes is not whole pages",
			(uintmax_t)size);
	if (size > LIMIT_GUEST_BYTES)
		return err_set(err, ERR_LIMIT, "%ju bytes of RAM: a machine has at most %ju",
			(uintmax_t)size, (uintmax_t)LIMIT_GUEST_BYTES);
	AUTO_CLOSE int fd = -1;
	int r = is_shared ? make_file(size, &fd, err) : 0;
	if (r < 0)
		return r;
	uint8_t *base = map_aligned(size, fd);
	if (base == NULL)
		return err_sys(err, errno, "map %ju bytes of RAM", (uintmax_t)size);
	/* A core file of this process is not the guest's; vm_own_memory() goes by it. */
	(void)madvise(base, size, MADV_DONTDUMP);
	/* A kernel without huge pages refuses. */
	(void)madvise(base, size, MADV_HUGEPAGE);

	struct guest_mem *mem = NEW(guest_mem);
	mem->base = base;
	mem->fd = TAKE_FD(fd);
	mem->low = size < GUEST_MEM_HOLE ? size : GUEST_MEM_HOLE;
	mem->high = size - mem->low;
	*ret_mem = mem;
	return 0;
}

void guest_mem_free(struct guest_mem *mem)
{
	if (mem == NULL)
		return;
	(void)munmap(mem->base, mem->low + mem->high);
	if (mem->fd >= 0)
		(void)close(mem->fd);
	free(mem->windows);
	free(mem);
}

/* Where [gpa, gpa + len) is in the mapping: false when it is not all in one part. */
static bool find(const struct guest_mem *mem, uint64_t gpa, uint64_t len, uint64_t *ret_offset)
{
	if (gpa <= mem->low && len <= mem->low - gpa) {
		*ret_offset = gpa;
		return true;
	}
	if (gpa < GUEST_MEM_HIGH || gpa - GUEST_MEM_HIGH > mem->high ||
		len > mem->high - (gpa - GUEST_MEM_HIGH))
		return false;
	*ret_offset = mem->low + (gpa - GUEST_MEM_HIGH);
	return true;
}

void *guest_mem_at(const struct guest_mem *mem, uint64_t gpa, uint64_t len)
{
	uint64_t offset;
	return find(mem, gpa, len, &offset) ? mem->base + offset : NULL;
}

void guest_mem_add_window(struct guest_mem *mem, uint64_t gpa, void *host, uint64_t size,
	bool is_read_only)
{
	mem->windows = mem_grow(mem->windows, mem->windows_len + 1, sizeof(*mem->windows));
	mem->windows[mem->windows_len++] = (struct window){ gpa, size, host, is_read_only };
}

void *guest_mem_payload(const struct guest_mem *mem, uint64_t gpa, uint64_t len, bool is_written)
{
	void *ram = guest_mem_at(mem, gpa, len);
	for (size_t i = 0; ram == NULL && i < mem->windows_len; i++) {
		const struct window *window = &mem->windows[i];
		if (gpa < window->gpa || gpa - window->gpa > window->size ||
			len > window->size - (gpa - window->gpa))
			continue;
		return is_written && window->is_read_only ? NULL
							  : window->host + (gpa - window->gpa);
	}
	return ram;
}

int guest_mem_read(const struct guest_mem *mem, uint64_t gpa, void *bytes, uint64_t len)
{
	const void *from = guest_mem_at(mem, gpa, len);
	if (from == NULL)
		return -EFAULT;
	memcpy(bytes, from, len);
	return 0;
}

int guest_mem_write(const struct guest_mem *mem, uint64_t gpa, const void *bytes, uint64_t len)
{
	void *to = guest_mem_at(mem, gpa, len);
	if (to == NULL)
		return -EFAULT;
	memcpy(to, bytes, len);
	return 0;
}

int guest_mem_fd(const struct guest_mem *mem)
{
	return mem->fd;
}

uint64_t guest_mem_low(const struct guest_mem *mem)
{
	return mem->low;
}

uint64_t guest_mem_high(const struct guest_mem *mem)
{
	return mem->high;
}

/* What is the guest's is left out of core files (here and in virtio_pmem.c): the one mark of a
 * mapping that every kernel shows. */
int vm_own_memory(const struct proc_id *machine, uint64_t *ret_bytes)
{
	return smaps_read(machine, "dd", ret_bytes);
}

int guest_mem_discard(const struct guest_mem *mem, uint64_t gpa, uint64_t len)
{
	uint64_t offset;
	if (!find(mem, gpa, len, &offset))
		return -EFAULT;
	if (offset % PAGE_SIZE != 0 || len % PAGE_SIZE != 0)
		return -EINVAL;
	/* Of a file the pages stay until a hole takes their place. */
	int advice = mem->fd >= 0 ? MADV_REMOVE : MADV_DONTNEED;
	return len == 0 || madvise(mem->base + offset, len, advice) == 0 ? 0 : -errno;
}
