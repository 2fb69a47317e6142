/* stub_world - for tests of stubs: a guest's memory, a pool, and programs of a few instructions. */
#pragma once

#include "test.h"

#include <sys/mman.h>

#include "cpu/soft/stub/stub_private.h"

#define PAGE 4096u
#define MEMORY_PAGES 64u
/* The guest's addresses, and where their pages are in its memory. */
#define CODE 0x400000ull
#define DATA 0x10000000ull
#define CODE_OFFSET 0
#define DATA_OFFSET (32 * PAGE)

/* A program: GUEST(name, "instructions") makes name[] and name_end[]. */
#define GUEST(name, text)                          \
	extern const uint8_t name[], name##_end[]; \
	__asm__(".pushsection .rodata\n" #name ":\n" text "\n" #name "_end:\n.popsection\n")

struct stub_world {
	int memory;
	uint8_t *bytes;
	struct stub_pool *pool;
	struct stub *stub;
};

static inline void stub_world_start(struct stub_world *w, bool trap_tsc)
{
	struct err err = { 0 };
	w->memory = memfd_create("ram", MFD_CLOEXEC);
	assert_true(w->memory >= 0 && ftruncate(w->memory, MEMORY_PAGES * PAGE) == 0);
	w->bytes =
		mmap(NULL, MEMORY_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, w->memory, 0);
	assert_ptr_not_equal(w->bytes, MAP_FAILED);
	const struct stub_options options = { .memory_fds = &w->memory,
		.memory_fds_len = 1,
		.stubs_max = 4,
		.trap_tsc = trap_tsc };
	if (stub_pool_new(&options, &w->pool, &err) < 0 || stub_new(w->pool, &w->stub, &err) < 0)
		fail_msg("%s", err.message);
}

static inline void stub_world_end(struct stub_world *w)
{
	stub_free(w->stub);
	stub_pool_free(w->pool);
	(void)munmap(w->bytes, MEMORY_PAGES * PAGE);
	(void)close(w->memory);
}

/* Puts a program at CODE, and a page to read and write at DATA. */
static inline void stub_world_load(struct stub_world *w, struct stub *stub, const uint8_t *code,
	const uint8_t *end)
{
	memcpy(w->bytes + CODE_OFFSET, code, (size_t)(end - code));
	stub_unmap_all(stub);
	assert_int_equal(stub_map(stub, CODE, 0, CODE_OFFSET, PAGE, PROT_READ | PROT_EXEC), 0);
	assert_int_equal(stub_map(stub, DATA, 0, DATA_OFFSET, PAGE, PROT_READ | PROT_WRITE), 0);
}
#define LOAD(w, name) stub_world_load((w), (w)->stub, name, name##_end)

static inline struct stub_event stub_world_run(struct stub *stub, struct stub_regs *regs)
{
	struct stub_event e;
	stub_run(stub, regs, &e);
	return e;
}

static inline void stub_world_expect(struct stub *stub, struct stub_regs *regs,
	enum stub_event_kind kind)
{
	struct stub_event e = stub_world_run(stub, regs);
	if (e.kind != kind)
		fail_msg("event %d (vector %u, error %#x, address %#jx, rip %#jx), not %d", e.kind,
			e.vector, e.error_code, (uintmax_t)e.address, (uintmax_t)regs->rip, kind);
}

static inline void stub_world_expect_vector(struct stub *stub, struct stub_regs *regs,
	unsigned vector, uint32_t error_code, uint64_t address)
{
	struct stub_event e = stub_world_run(stub, regs);
	if (e.kind != STUB_EXCEPTION || e.vector != vector || e.error_code != error_code ||
		e.address != address)
		fail_msg("event %d, vector %u, error %#x, address %#jx; not vector %u, %#x, %#jx",
			e.kind, e.vector, e.error_code, (uintmax_t)e.address, vector, error_code,
			(uintmax_t)address);
}
