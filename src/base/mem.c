/* mem - see mem.h.  Dying goes straight to descriptor 2: neither stdio nor log.c can be relied upon
 * when there is no memory or an invariant is broken. */
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

static _Noreturn void out_of_memory(void)
{
	static const char message[] = "moat: out of memory\n";
	(void)!write(STDERR_FILENO, message, sizeof(message) - 1);
	abort();
}

void *mem_new(size_t count, size_t size)
{
	/* calloc(0) may return NULL without an error, and one byte more keeps it simple. */
	void *memory = calloc(count > 0 ? count : 1, size > 0 ? size : 1);
	if (memory == NULL)
		out_of_memory();
	return memory;
}

void *mem_new_pages(size_t size)
{
	void *memory = aligned_alloc(MEM_PAGE, (size + MEM_PAGE - 1) / MEM_PAGE * MEM_PAGE);
	if (memory == NULL)
		out_of_memory();
	return memory;
}

void *mem_grow(void *take_memory, size_t count, size_t size)
{
	void *memory = reallocarray(take_memory, count > 0 ? count : 1, size > 0 ? size : 1);
	if (memory == NULL)
		out_of_memory();
	return memory;
}

char *mem_strdup(const char *text)
{
	size_t size = strlen(text) + 1;
	return memcpy(mem_new(1, size), text, size);
}

int mem_try(uint64_t size, uint64_t max_bytes, void **ret_memory, struct err *err)
{
	if (size > max_bytes)
		return err_set(err, ERR_LIMIT, "%ju bytes are more than the limit of %ju",
			(uintmax_t)size, (uintmax_t)max_bytes);
	void *memory = size <= SIZE_MAX ? calloc(1, size > 0 ? (size_t)size : 1) : NULL;
	if (memory == NULL)
		return err_set(err, ERR_SYSTEM, "no memory for %ju bytes", (uintmax_t)size);
	*ret_memory = memory;
	return 0;
}

_Noreturn void mem_check_failed(const char *condition, const char *file, int line)
{
	(void)dprintf(STDERR_FILENO, "moat: bug at %s:%d: %s\n", file, line, condition);
	abort();
}
