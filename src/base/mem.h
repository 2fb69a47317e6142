/* mem - memory.  Small, fixed-size memory does not run out in a way a caller can mend: NEW aborts.
 * Sizes that come from a guest, a file or the network go through mem_try(). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

/* A zeroed struct of this name. */
#define NEW(type) ((struct type *)mem_new(1, sizeof(struct type)))
#define NEW_ARRAY(type, count) ((struct type *)mem_new((count), sizeof(struct type)))

/* Zeroed memory; aborts when there is none or the product overflows. */
void *mem_new(size_t count, size_t size) __attribute__((returns_nonnull));

/* Like realloc of count * size bytes; aborts.  New bytes are not zeroed. */
void *mem_grow(void *take_memory, size_t count, size_t size) __attribute__((returns_nonnull));

/* Memory at a page's start, for transfers without a copy; not zeroed; aborts. */
void *mem_new_pages(size_t size) __attribute__((returns_nonnull));
#define MEM_PAGE 4096

char *mem_strdup(const char *text) __attribute__((returns_nonnull));

/* Zeroed memory of a size from outside: ERR_LIMIT above max_bytes, ERR_SYSTEM when there is none.
 */
MUST_CHECK int mem_try(uint64_t size, uint64_t max_bytes, void **ret_memory, struct err *err);

/* A bug of ours: prints where and aborts.  Stays on in releases; nothing from outside may reach it.
 */
#define CHECK(condition)                                                  \
	do {                                                              \
		if (__builtin_expect(!(condition), 0))                    \
			mem_check_failed(#condition, __FILE__, __LINE__); \
	} while (0)
_Noreturn void mem_check_failed(const char *condition, const char *file, int line);
