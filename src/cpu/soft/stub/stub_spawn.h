/* stub_spawn - making the processes: the spawner, and stubs of it. */
#pragma once

#include "cpu/soft/stub/stub_private.h"

#define STUB_SPAWNER_PLACE 0x6ffff0000000
#define STUB_SPAWNER_SLOT 0

/* Bytes of the file of all windows, with room for so many stubs. */
static inline uint64_t stub_spawn_file_size(unsigned stubs_max)
{
	return STUB_PAGE + (uint64_t)(stubs_max + 1) * (STUB_SIZE - STUB_PAGE);
}

/* pool->spawner.control is set; the first page of the windows' file is the trampoline. */
MUST_CHECK int stub_spawn_start(struct stub_pool *pool, const struct stub_options *options,
	int windows_fd, int segments_fd, struct err *err);
/* A process with its window at stub->place, data in stub->slot, sleeping, filtered by stub->secret.
 * The caller holds the pool's lock. */
MUST_CHECK int stub_spawn_clone(struct stub_pool *pool, struct stub *stub, struct err *err);
