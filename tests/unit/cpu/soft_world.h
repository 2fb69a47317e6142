/* soft_world - a processor of the software CPU with 2 MiB of memory, tables as an operating system
 * makes them, and nothing around: what it asks of its surroundings is kept for the test to look at.
 */
#pragma once

#include "test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include "base/mem.h"
#include "cpu/soft/interpreter/soft_block.h"
#include "cpu/soft/interpreter/soft_control.h"
#include "cpu/soft/interpreter/soft_decode.h"
#include "cpu/soft/interpreter/soft_mem.h"
#include "cpu/soft/interpreter/soft_msr.h"
#include "cpu/soft/interpreter/soft_native.h"
#include "cpu/soft/interpreter/soft_segment.h"
#include "cpu/soft/interpreter/soft_trap.h"
#include "cpu/soft/irqchip/irqchip.h"
#include "cpu/soft/soft_clock.h"
#include "cpu/soft/soft_cpuid.h"
#include "cpu/soft/soft_machine.h"
#include "cpu/soft/soft_user.h"

/* Where things are; all addresses are their own linear ones. */
enum {
	WORLD_RAM = 2 << 20,
	PML4 = 0x1000, /* behind it, page tables to 4 KiB */
	GDT = 0x6000,
	IDT = 0x7000,
	TSS = 0x8000,
	CODE = 0x9000,
	CODE_END = 0xf000,
	LDT = 0xf000,
	DATA = 0x10000,
	KERNEL_STACK = 0x20000, /* their upper ends */
	USER_STACK = 0x30000,
	IST_STACK = 0x40000,
	NOWHERE = 0x1ff000, /* a page that is not present */
	READ_ONLY = 0x1fe000,
	KERNEL_ONLY = 0x1fd000,
	HANDLERS = 0x50000, /* that of vector n: + 16 n */
};

/* Selectors, all in the GDT. */
enum {
	CODE32 = 0x08,
	STACK = 0x10,
	USER_CODE32 = 0x18 | 3,
	USER_STACK_SEG = 0x20 | 3,
	CODE64 = 0x28,
	USER_CODE64 = 0x30 | 3,
	TASK = 0x38, /* two entries */
	LOCAL = 0x48,
	CONFORMING = 0x58,
	ABSENT_DATA = 0x60,
	EXECUTE_ONLY = 0x68,
	READ_ONLY_DATA = 0x70,
	CODE16 = 0x78,
	FRESH_DATA = 0x80, /* not yet accessed */
	DOWN_DATA = 0x88,
	ABSENT_CODE = 0x90,
	STACK16 = 0x98,
	CODE_L_AND_D = 0xa0,
	INNER_DATA = 0xa8, /* DPL 1 */
	GDT_END = 0xb0
};

enum world_mode { REAL, PROTECTED, LONG };

struct world {
	struct soft_machine machine;
	struct soft_vcpu v;
	uint8_t *ram;
	void *code_counts;
	uint64_t code; /* where the next instruction is written */
	/* What came out. */
	uint16_t port;
	uint64_t port_value;
	uint32_t port_size;
	unsigned port_accesses, user_flushes;
	uint8_t tpr;
};

static struct world *world; /* that of the test that runs */

/* ---- the surroundings ---- */

void soft_io(struct soft_vcpu *v, uint16_t port, void *bytes, uint32_t size, bool is_write)
{
	(void)v;
	world->port = port;
	world->port_size = size;
	world->port_accesses++;
	if (is_write) {
		world->port_value = 0;
		memcpy(&world->port_value, bytes, size);
	} else {
		memcpy(bytes, &world->port_value, size);
	}
}

void soft_mmio(struct soft_vcpu *v, uint64_t gpa, void *bytes, uint32_t size, bool is_write)
{
	(void)v;
	(void)gpa;
	if (!is_write)
		memset(bytes, 0xff, size);
}

unsigned irqchip_tpr(const struct irqchip *chip, unsigned vcpu)
{
	(void)chip;
	(void)vcpu;
	return world->tpr >> 4;
}

void irqchip_set_tpr(struct irqchip *chip, unsigned vcpu, unsigned priority)
{
	(void)chip;
	(void)vcpu;
	world->tpr = (uint8_t)(priority << 4);
}

int irqchip_msr_read(struct irqchip *chip, unsigned vcpu, uint32_t msr, uint64_t now,
	uint64_t *ret_value)
{
	(void)chip;
	(void)vcpu;
	(void)now;
	*ret_value = msr;
	return msr == 0x1b ? 0 : -1;
}

int irqchip_msr_write(struct irqchip *chip, unsigned vcpu, uint32_t msr, uint64_t now,
	uint64_t value)
{
	(void)chip;
	(void)vcpu;
	(void)now;
	(void)value;
	return msr == 0x1b ? 0 : -1;
}

void soft_user_flush(struct soft_vcpu *v, unsigned pcid)
{
	(void)v;
	(void)pcid;
	world->user_flushes++;
}

void soft_user_flush_page(struct soft_vcpu *v, unsigned pcid, uint64_t linear)
{
	(void)v;
	(void)pcid;
	(void)linear;
	world->user_flushes++;
}

void soft_user_flush_all(struct soft_vcpu *v)
{
	(void)v;
	world->user_flushes++;
}

void soft_user_read_xstate(struct soft_vcpu *v)
{
	(void)v;
}

void soft_user_write_xstate(struct soft_vcpu *v)
{
	(void)v;
}

/* ---- memory ---- */

static inline void put(uint64_t at, uint64_t value, size_t len)
{
	memcpy(world->ram + at, &value, len);
}

static inline uint64_t get(uint64_t at, size_t len)
{
	uint64_t value = 0;
	memcpy(&value, world->ram + at, len);
	return value;
}

static inline void put_descriptor(uint64_t at, uint32_t base, uint32_t limit, unsigned attributes)
{
	put(at,
		(limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 |
			(uint64_t)(attributes & 0xff) << 40 | (uint64_t)(limit >> 16 & 0xf) << 48 |
			(uint64_t)(attributes >> 8 & 0xf) << 52 | (uint64_t)(base >> 24) << 56,
		8);
}

static inline void put_gdt(void)
{
	static const struct {
		uint16_t selector, attributes;
		uint32_t base, limit;
	} entries[] = {
		{ CODE32, 0xc9b, 0, 0xfffff },
		{ STACK, 0xc93, 0, 0xfffff },
		{ USER_CODE32, 0xcfb, 0, 0xfffff },
		{ USER_STACK_SEG, 0xcf3, 0, 0xfffff },
		{ CODE64, 0xa9b, 0, 0xfffff },
		{ USER_CODE64, 0xafb, 0, 0xfffff },
		{ TASK, 0x089, TSS, 0xfff },
		{ LOCAL, 0x082, LDT, 0xf },
		{ CONFORMING, 0xc9f, 0, 0xfffff },
		{ ABSENT_DATA, 0xc13, 0, 0xfffff },
		{ EXECUTE_ONLY, 0xc99, 0, 0xfffff },
		{ READ_ONLY_DATA, 0xc91, 0, 0xfffff },
		{ CODE16, 0x09b, 0, 0xffff },
		{ FRESH_DATA, 0x092, 0x12345678, 0x4321 },
		{ DOWN_DATA, 0x497, 0, 0xfff },
		{ ABSENT_CODE, 0xc1b, 0, 0xfffff },
		{ STACK16, 0x093, 0, 0xffff },
		{ CODE_L_AND_D, 0xe9b, 0, 0xfffff },
		{ INNER_DATA, 0xcb3, 0, 0xfffff },
	};
	for (size_t i = 0; i < ARRAY_LEN(entries); i++)
		put_descriptor(GDT + (entries[i].selector & ~7u), entries[i].base, entries[i].limit,
			entries[i].attributes);
	put_descriptor(LDT + 8, 0x100, 0xfff, 0x093);
}

/* A gate to HANDLERS + 16 n; type 14, 15, 6, 7. */
static inline void put_gate(unsigned vector, unsigned type, unsigned dpl, uint16_t selector,
	unsigned ist)
{
	bool is_long = (world->v.efer & EFER_LMA) != 0;
	uint64_t at = IDT + vector * (is_long ? 16 : 8), handler = HANDLERS + vector * 16;
	put(at,
		(handler & 0xffff) | (uint64_t)selector << 16 | (uint64_t)ist << 32 |
			(uint64_t)(0x80 | dpl << 5 | type) << 40 | (handler >> 16) << 48,
		8);
	if (is_long)
		put(at + 8, 0, 8);
}

static inline void put_page_tables(void)
{
	put(PML4, 0x2000 | 7, 8);
	put(0x2000, 0x3000 | 7, 8);
	put(0x3000, 0x4000 | 7, 8);
	for (uint64_t i = 0; i < 512; i++)
		put(0x4000 + i * 8, i << 12 | 7, 8);
	put(0x4000 + NOWHERE / 4096 * 8, 0, 8);
	put(0x4000 + READ_ONLY / 4096 * 8, READ_ONLY | 5, 8);
	put(0x4000 + KERNEL_ONLY / 4096 * 8, KERNEL_ONLY | 3, 8);
}

/* ---- the processor ---- */

static inline struct cpu_segment segment_at(uint16_t selector)
{
	struct cpu_segment s;
	struct soft_vcpu *v = &world->v;
	assert_int_equal(sigsetjmp(v->trap, 0), 0);
	assert_true(soft_descriptor_read(v, selector, &s));
	return s;
}

/* That mode, in that ring, with all tables set. */
static inline void world_mode(enum world_mode mode, unsigned cpl)
{
	struct soft_vcpu *v = &world->v;
	v->cr0 = 0x10;
	v->cr4 = v->efer = 0;
	v->other_flags = 0;
	v->arith = 0x0200;
	v->gdt = (struct cpu_table){ .base = GDT, .limit = GDT_END - 1 };
	v->idt = (struct cpu_table){ .base = mode == REAL ? 0 : IDT, .limit = 0xfff };
	for (unsigned i = 0; i < SEGS; i++)
		v->seg[i] = (struct cpu_segment){ .limit = 0xffff, .attributes = 0x93 };
	v->seg[SEG_TR].attributes = 0x8b; /* as after reset */
	v->gpr[RSP] = cpl == 3 ? USER_STACK : KERNEL_STACK;
	v->rip = CODE;
	soft_settle(v);
	soft_tlb_flush(v, true);
	if (mode == REAL) {
		v->gpr[RSP] = 0xf000;
		return;
	}
	v->cr0 |= CR0_PE;
	if (mode == LONG) {
		v->cr0 |= CR0_PG | CR0_WP;
		v->cr4 = CR4_PAE | CR4_OSFXSR;
		v->efer = EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE;
		v->cr3 = PML4;
	}
	bool is_user = cpl == 3;
	uint16_t data = is_user ? USER_STACK_SEG : STACK;
	v->seg[SEG_CS] = segment_at(
		mode == LONG ? (is_user ? USER_CODE64 : CODE64) : (is_user ? USER_CODE32 : CODE32));
	for (unsigned i = 0; i <= SEG_GS; i++)
		if (i != SEG_CS)
			v->seg[i] = segment_at(data);
	v->seg[SEG_TR] = segment_at(TASK);
	v->seg[SEG_TR].attributes |= 2;
	v->seg[SEG_LDT] = segment_at(LOCAL);
	soft_settle(v);
	memset(world->ram + IDT, 0, 0x1000);
	for (unsigned i = 0; i < 256; i++)
		put_gate(i, 14, 0, mode == LONG ? CODE64 : CODE32, 0);
	put(TSS + 4, KERNEL_STACK, mode == LONG ? 8 : 4);
	put(TSS + 36, IST_STACK, 8);
	if (mode != LONG)
		put(TSS + 8, STACK, 2);
}

static inline struct world *world_new(void)
{
	struct err err = { 0 };
	struct world *w = NEW(world);
	world = w;
	assert_int_equal(soft_decode_load(&err), 0);
	assert_int_equal(soft_native_load(&err), 0);
	w->ram = mem_new(1, WORLD_RAM);
	w->code_counts = mem_new(WORLD_RAM / 4096, sizeof(uint32_t));
	w->machine.cpus = 2;
	w->machine.tsc_khz = 2000000;
	soft_model_init(&w->machine.model, 2);
	w->machine.range[0] =
		(struct soft_range){ .size = WORLD_RAM, .host = w->ram, .code = w->code_counts };
	w->machine.ranges = 1;
	w->v.machine = &w->machine;
	w->v.index = 1;
	w->v.xcr0 = 1;
	w->v.exception.vector = -1;
	w->v.xstate = aligned_alloc(64, 4096);
	memset(w->v.xstate, 0, 4096);
	soft_tlb_init(&w->v);
	assert_int_equal(soft_blocks_new(&w->v.blocks, &err), 0);
	w->code = CODE;
	put_gdt();
	put_page_tables();
	soft_msr_reset(&w->v);
	world_mode(PROTECTED, 0);
	return w;
}

static inline void world_free(struct world *w)
{
	soft_blocks_free(w->v.blocks);
	free(w->v.xstate);
	free(w->code_counts);
	free(w->ram);
	free(w);
	world = NULL;
}

static inline int world_setup(void **state)
{
	*state = world_new();
	return 0;
}

static inline int world_teardown(void **state)
{
	world_free(*state);
	return 0;
}

/* Whatever the guest did, the processor is one that could be. */
static inline void assert_could_be(void)
{
	struct soft_vcpu *v = &world->v;
	const uint8_t cpl = v->cpl, code_size = v->code_size;
	const bool is_long = v->is_long;
	const enum soft_view view = v->view;
	soft_settle(v);
	assert_int_equal(v->cpl, cpl);
	assert_int_equal(v->code_size, code_size);
	assert_int_equal(v->is_long, is_long);
	assert_int_equal(v->view, view);

	bool has_paging = (v->cr0 & CR0_PG) != 0;
	assert_true(!has_paging || (v->cr0 & CR0_PE) != 0);
	assert_int_equal((v->efer & EFER_LMA) != 0, has_paging && (v->efer & EFER_LME) != 0);
	assert_true((v->efer & EFER_LMA) == 0 || (v->cr4 & CR4_PAE) != 0);
	assert_true((v->cr4 & CR4_PCIDE) == 0 || (v->efer & EFER_LMA) != 0);
	assert_int_equal(v->cr0 >> 32, 0);
	assert_int_equal(v->cr4 & ~soft_cr4_known(v), 0);
	assert_int_equal(v->cr3 >> SOFT_PHYSICAL_BITS, 0);
	assert_int_equal(v->dr[6] >> 32 | v->dr[7] >> 32, 0);
	assert_int_equal(v->xcr0 & 1, 1);
	assert_int_equal(v->xcr0 & ~world->machine.model.xcr0, 0);

	assert_int_equal(v->gpr[GPR_ZERO], 0);
	assert_int_equal(v->arith & 0x2afe, 0x0200);
	const uint64_t flags = FLAGS_ARITH | FLAG_TF | FLAG_IF | FLAG_DF | FLAG_IOPL | FLAG_NT |
			       FLAG_AC | FLAG_VIF | FLAG_VIP | FLAG_ID | 2;
	assert_int_equal(soft_flags(v) & ~flags, 0);
	assert_int_equal(soft_load32(v->xstate + 24) & ~world->machine.model.mxcsr_mask, 0);
	assert_true(
		soft_is_canonical(v->seg[SEG_FS].base) && soft_is_canonical(v->seg[SEG_GS].base));
	assert_true(soft_is_canonical(v->msr.lstar) && soft_is_canonical(v->msr.kernel_gs_base));
	assert_true(v->cpl == 0 || (v->cr0 & CR0_PE) != 0);
}

/* Runs the block at rip, or its first instruction only; returns the vector of what it raised, -1
 * for nothing. */
static inline int run_some(unsigned most)
{
	struct soft_vcpu *v = &world->v;
	if (sigsetjmp(v->trap, 0) != 0) {
		v->rip = soft_rip(v);
		v->op = NULL;
		return v->exception.vector;
	}
	const struct soft_block *b = soft_block_find(v);
	unsigned n = b->ops_len < most ? b->ops_len : most;
	v->gpr[GPR_BLOCK] = v->rip;
	for (unsigned i = 0; i < n; i++) {
		v->op = &b->ops[i];
		v->op->run(v, v->op);
	}
	if (n < b->ops_len)
		v->rip = soft_next_rip(v, v->op);
	v->op = NULL;
	return -1;
}

/* One instruction, given as bytes, at a place where none was before. */
static inline int exec_bytes(const uint8_t *bytes, size_t len)
{
	struct soft_vcpu *v = &world->v;
	assert_true(world->code + 16 <= CODE_END);
	memset(world->ram + world->code, 0x90, 16);
	memcpy(world->ram + world->code, bytes, len);
	v->rip = world->code;
	world->code += 16;
	v->exception = (struct soft_exception){ .vector = -1 };
	return run_some(1);
}
#define EXEC(...)                                         \
	({                                                \
		const uint8_t bytes_[] = { __VA_ARGS__ }; \
		exec_bytes(bytes_, sizeof(bytes_));       \
	})

#define assert_runs(...) assert_int_equal(EXEC(__VA_ARGS__), -1)
#define assert_raises(vector_, error_, ...)                         \
	do {                                                        \
		assert_int_equal(EXEC(__VA_ARGS__), vector_);       \
		assert_int_equal(world->v.exception.error, error_); \
	} while (0)

/* Delivers that exception as if the instruction at CODE had raised it. */
static inline bool deliver(struct soft_exception e)
{
	world->v.rip = CODE;
	world->v.op = NULL;
	world->v.exception = e;
	return soft_deliver(&world->v);
}

/* The n-th word of the frame. */
static inline uint64_t frame(unsigned n, unsigned width)
{
	return get(world->v.gpr[RSP] + (uint64_t)n * width, width);
}

static inline uint64_t handler_of(unsigned vector)
{
	return HANDLERS + vector * 16;
}

#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
