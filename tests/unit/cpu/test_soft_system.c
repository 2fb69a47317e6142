/* Control registers, model-specific registers, CPUID, ports, the FPU's state: what may be written
 * and what it does; and that what CPUID shows is there. */
#include "soft_world.h"

#include <time.h>
#include <x86intrin.h>

static struct soft_vcpu *cpu(void)
{
	return &world->v;
}

static int mov_cr(unsigned reg, uint64_t value)
{
	cpu()->gpr[RAX] = value;
	return EXEC(0x0f, 0x22, (uint8_t)(0xc0 | reg << 3));
}

/* ---- control registers ---- */

static void cr0_is_checked(void **state)
{
	(void)state;
	world_mode(LONG, 0);
	const uint64_t cr0 = cpu()->cr0;
	static const uint64_t refused[] = {
		UINT64_C(1) << 32,            /* reserved */
		CR0_PG,                       /* paging without protection */
		CR0_PE | CR0_PG | (1u << 29), /* NW without CD */
		CR0_PE,                       /* no paging in 64-bit mode */
	};
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		assert_int_equal(mov_cr(0, refused[i]), VECTOR_GP);
		assert_int_equal(cpu()->cr0, cr0);
		assert_int_equal(cpu()->exception.error, 0);
	}
	assert_int_equal(mov_cr(0, CR0_PE | CR0_PG | CR0_TS | CR0_AM | 0x1ffa0000), -1);
	assert_int_equal(cpu()->cr0, CR0_PE | CR0_PG | CR0_TS | CR0_AM | 0x10);
	assert_runs(0x0f, 0x06); /* clts */
	assert_int_equal(cpu()->cr0 & CR0_TS, 0);
	assert_runs(0x0f, 0x20, 0xc1); /* mov rcx, cr0 */
	assert_int_equal(cpu()->gpr[RCX], cpu()->cr0);
	world_mode(LONG, 3);
	assert_int_equal(mov_cr(0, cr0), VECTOR_GP);
	assert_raises(VECTOR_GP, 0, 0x0f, 0x06);
	assert_raises(VECTOR_GP, 0, 0x0f, 0x20, 0xc1);
	assert_int_equal(EXEC(0x0f, 0x22, 0xc8), VECTOR_UD); /* cr1 */
}

static void lmsw_sets_protection_but_cannot_clear_it(void **state)
{
	(void)state;
	world_mode(REAL, 0);
	cpu()->gpr[RAX] = 0xffff;
	assert_runs(0x0f, 0x01, 0xf0);
	assert_int_equal(cpu()->cr0, CR0_PE | CR0_MP | CR0_EM | CR0_TS | 0x10);
	cpu()->gpr[RAX] = 0;
	assert_runs(0x0f, 0x01, 0xf0);
	assert_int_equal(cpu()->cr0, CR0_PE | 0x10);
	assert_runs(0x0f, 0x01, 0xe0); /* smsw ax */
	assert_int_equal((uint16_t)cpu()->gpr[RAX], CR0_PE | 0x10);
}

static void long_mode_starts_with_paging_and_needs_pae(void **state)
{
	(void)state;
	world_mode(PROTECTED, 0);
	cpu()->cr3 = PML4;
	cpu()->efer = EFER_LME;
	assert_int_equal(mov_cr(0, CR0_PE | CR0_PG), VECTOR_GP);
	cpu()->cr4 = CR4_PAE;
	assert_int_equal(mov_cr(0, CR0_PE | CR0_PG), -1);
	assert_int_equal(cpu()->efer, EFER_LME | EFER_LMA);
	assert_int_equal(cpu()->code_size, 4); /* until a jump to 64-bit code */
	assert_int_equal(mov_cr(4, 0), VECTOR_GP);
	assert_int_equal(mov_cr(0, CR0_PE), -1);
	assert_int_equal(cpu()->efer, EFER_LME);
	cpu()->seg[SEG_CS].attributes |= SEG_L;
	soft_settle(cpu());
	assert_int_equal(mov_cr(0, CR0_PE | CR0_PG), VECTOR_GP);
	world_mode(PROTECTED, 0);
	cpu()->efer = EFER_LME;
	cpu()->cr4 = CR4_PAE;
	cpu()->seg[SEG_TR].attributes = 0x83;
	assert_int_equal(mov_cr(0, CR0_PE | CR0_PG), VECTOR_GP);
}

static void pae_pointers_are_checked_when_they_are_loaded(void **state)
{
	(void)state;
	cpu()->cr4 = CR4_PAE;
	cpu()->cr3 = DATA;
	put(DATA, 0x3000 | 1, 8);
	put(DATA + 8, 0x3000 | 3, 8); /* W is reserved here */
	assert_int_equal(mov_cr(0, CR0_PE | CR0_PG), VECTOR_GP);
	put(DATA + 8, 0x3000 | 2, 8); /* but not if it is not present */
	put(0x3000, 0x83, 8);
	assert_int_equal(mov_cr(0, CR0_PE | CR0_PG), -1);
	put(DATA + 0x20, UINT64_C(1) << 60 | 1, 8);
	assert_int_equal(mov_cr(3, DATA + 0x20), VECTOR_GP);
	assert_int_equal(cpu()->cr3, DATA);
}

static void cr3_has_pcids_and_a_bit_that_keeps(void **state)
{
	(void)state;
	world_mode(LONG, 0);
	assert_int_equal(mov_cr(3, PML4 | UINT64_C(1) << 63), VECTOR_GP);
	assert_int_equal(mov_cr(3, PML4 | UINT64_C(1) << 46), VECTOR_GP);
	assert_int_equal(mov_cr(3, PML4 | 5), -1);
	assert_int_equal(mov_cr(4, CR4_PAE | CR4_PCIDE), VECTOR_GP); /* CR3 has a PCID */
	assert_int_equal(mov_cr(3, PML4), -1);
	assert_int_equal(mov_cr(4, CR4_PAE | CR4_PCIDE), -1);
	unsigned flushes = world->user_flushes;
	assert_int_equal(mov_cr(3, PML4 | 5 | UINT64_C(1) << 63), -1);
	assert_int_equal(cpu()->cr3, PML4 | 5);
	assert_int_equal(world->user_flushes, flushes);
	assert_int_equal(mov_cr(3, PML4 | 5), -1);
	assert_int_equal(world->user_flushes, flushes + 1);
	cpu()->seg[SEG_CS] = segment_at(CODE32); /* where paging could be left, but for PCIDs */
	soft_settle(cpu());
	assert_int_equal(mov_cr(0, CR0_PE), VECTOR_GP);
}

static void page_tables_count_anew_after_a_flush(void **state)
{
	(void)state;
	world_mode(LONG, 0);
	cpu()->gpr[RBX] = DATA;
	cpu()->gpr[RSI] = DATA;
	put(DATA, 0x11, 1);
	put(KERNEL_STACK, 0x22, 1);
	assert_runs(0x8a, 0x03); /* mov al, [rbx] */
	put(0x4000 + DATA / 4096 * 8, KERNEL_STACK | 7, 8);
	assert_runs(0x8a, 0x03);
	assert_int_equal((uint8_t)cpu()->gpr[RAX], 0x11); /* as a TLB may */
	assert_runs(0x0f, 0x01, 0x3b);                    /* invlpg [rbx] */
	assert_runs(0x8a, 0x03);
	assert_int_equal((uint8_t)cpu()->gpr[RAX], 0x22);
	put(0x4000 + DATA / 4096 * 8, 0, 8);
	assert_int_equal(mov_cr(3, PML4), -1);
	assert_int_equal(EXEC(0x8a, 0x03), VECTOR_PF);
	assert_int_equal(cpu()->cr2, DATA);
	world_mode(LONG, 3);
	assert_raises(VECTOR_GP, 0, 0x0f, 0x01, 0x3b);
}

static int invpcid(uint64_t type, uint64_t pcid, uint64_t linear)
{
	put(IST_STACK, pcid, 8);
	put(IST_STACK + 8, linear, 8);
	cpu()->gpr[RAX] = type;
	cpu()->gpr[RBX] = IST_STACK;
	return EXEC(0x66, 0x0f, 0x38, 0x82, 0x03);
}

static void invpcid_is_checked(void **state)
{
	(void)state;
	world_mode(LONG, 0);
	assert_int_equal(invpcid(4, 0, 0), VECTOR_GP);
	assert_int_equal(invpcid(0, 1 << 12, 0), VECTOR_GP);
	assert_int_equal(invpcid(0, 0, UINT64_C(1) << 60), VECTOR_GP);
	assert_int_equal(invpcid(1, 5, 0), VECTOR_GP); /* without PCIDE */
	assert_int_equal(world->user_flushes, 0);
	assert_int_equal(invpcid(2, 5, 0), -1);
	cpu()->cr4 |= CR4_PCIDE;
	assert_int_equal(invpcid(1, 5, 0), -1);
	assert_int_equal(invpcid(1, 1 << 12, 0), VECTOR_GP);
	assert_int_equal(invpcid(0, 5, DATA), -1);
	assert_int_equal(world->user_flushes, 3);
}

static void cr8_is_the_interrupt_controllers(void **state)
{
	(void)state;
	world_mode(LONG, 0);
	cpu()->gpr[RAX] = 16;
	assert_raises(VECTOR_GP, 0, 0x44, 0x0f, 0x22, 0xc0);
	cpu()->gpr[RAX] = 9;
	assert_runs(0x44, 0x0f, 0x22, 0xc0);
	assert_int_equal(world->tpr, 0x90);
	assert_runs(0x44, 0x0f, 0x20, 0xc1);
	assert_int_equal(cpu()->gpr[RCX], 9);
}

static void debug_registers_keep_what_they_have(void **state)
{
	(void)state;
	world_mode(LONG, 0);
	cpu()->dr[6] = 0xffff0ff0;
	cpu()->dr[7] = 0x400;
	cpu()->gpr[RAX] = UINT64_C(1) << 32;
	assert_raises(VECTOR_GP, 0, 0x0f, 0x23, 0xf8); /* mov dr7, rax */
	cpu()->gpr[RAX] = 0;
	assert_runs(0x0f, 0x23, 0xe8); /* dr5 is dr7 */
	assert_int_equal(cpu()->dr[7], 0x400);
	assert_runs(0x0f, 0x23, 0xf0); /* dr6 */
	assert_int_equal(cpu()->dr[6], 0xffff0ff0);
	cpu()->cr4 |= CR4_DE;
	assert_int_equal(EXEC(0x0f, 0x23, 0xe8), VECTOR_UD);
	cpu()->gpr[RAX] = 1 << 13; /* general detect */
	assert_runs(0x0f, 0x23, 0xf8);
	assert_int_equal(EXEC(0x0f, 0x21, 0xf8), VECTOR_DB);
	assert_int_equal(cpu()->dr[6], 0xffff0ff0 | 1 << 13);
	assert_true(soft_deliver(cpu()));
	assert_int_equal(cpu()->dr[7], 0x400);
}

/* ---- CPUID ---- */

static uint32_t shown(uint32_t leaf, uint32_t subleaf, unsigned reg)
{
	uint32_t regs[REGS_CPUID];
	soft_cpuid(cpu(), leaf, subleaf, regs);
	return regs[reg];
}

/* Each bit of CR4 can be set if and only if what it belongs to is shown. */
static void cr4_has_the_bits_that_cpuid_shows(void **state)
{
	(void)state;
	static const struct {
		uint32_t leaf;
		unsigned reg, bit;
		uint64_t cr4;
	} rows[] = {
		{ 1, REG_EDX, 1, CR4_VME }, { 1, REG_EDX, 2, CR4_DE }, { 1, REG_EDX, 3, CR4_PSE },
		{ 1, REG_EDX, 4, CR4_TSD }, { 1, REG_EDX, 7, CR4_MCE }, { 1, REG_EDX, 13, CR4_PGE },
		{ 1, REG_EDX, 24, CR4_OSFXSR }, { 1, REG_EDX, 25, CR4_OSXMMEXCPT },
		{ 1, REG_ECX, 5, 1 << 13 }, /* VMXE */
		{ 1, REG_ECX, 6, 1 << 14 }, /* SMXE */
		{ 1, REG_ECX, 17, CR4_PCIDE }, { 1, REG_ECX, 26, CR4_OSXSAVE },
		{ 7, REG_EBX, 0, CR4_FSGSBASE }, { 7, REG_EBX, 7, CR4_SMEP },
		{ 7, REG_EBX, 20, CR4_SMAP }, { 7, REG_ECX, 2, CR4_UMIP },
		{ 7, REG_ECX, 3, 1 << 22 },  /* PKE */
		{ 7, REG_ECX, 16, 1 << 12 }, /* LA57 */
		{ 7, REG_ECX, 7, 1 << 23 },  /* CET */
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		world_mode(LONG, 0);
		bool is_shown = ((shown(rows[i].leaf, 0, rows[i].reg) >> rows[i].bit) & 1) != 0;
		if (mov_cr(4, CR4_PAE | rows[i].cr4) != (is_shown ? -1 : VECTOR_GP))
			fail_msg("CR4 %#jx", (uintmax_t)rows[i].cr4);
	}
	world_mode(LONG, 0);
	assert_int_equal(mov_cr(4, CR4_PAE | UINT64_C(1) << 40), VECTOR_GP);
}

static void cpuid_shows_one_consistent_processor(void **state)
{
	(void)state;
	uint32_t host[4];
	__asm__("cpuid" : "=a"(host[0]), "=b"(host[1]), "=c"(host[2]), "=d"(host[3]) : "a"(0));
	assert_int_equal(shown(0, 0, REG_EBX), host[1]);
	assert_int_equal(shown(0, 0, REG_EAX), 0xd);
	/* This is processor 1 of 2. */
	assert_int_equal(shown(1, 0, REG_EBX), 1u << 24 | 2 << 16 | 8 << 8);
	assert_true((shown(1, 0, REG_EDX) >> 28 & 1) != 0);
	assert_int_equal(shown(0xb, 0, REG_EDX), 1);
	assert_int_equal(shown(0xb, 1, REG_EBX), 2);
	assert_int_equal(shown(0xb, 1, REG_EAX), 1);
	assert_int_equal(shown(0xb, 1, REG_ECX), 0x201);
	assert_int_equal(shown(0xb, 5, REG_ECX), 5);
	/* 64-bit, with what an operating system for it needs. */
	const uint32_t extended = shown(0x80000001, 0, REG_EDX);
	assert_int_equal(extended & (1u << 11 | 1u << 20 | 1u << 29),
		1u << 11 | 1u << 20 | 1u << 29);
	assert_int_equal(shown(0x80000007, 0, REG_EDX), 1 << 8);
	assert_int_equal(shown(0x80000008, 0, REG_EAX), SOFT_PHYSICAL_BITS | 48 << 8);
	/* What is not offered. */
	assert_int_equal(shown(1, 0, REG_ECX) & (1u << 3 | 1u << 5), 0); /* MONITOR, VMX */
	assert_int_equal(shown(0x15, 0, REG_EAX) | shown(0x16, 0, REG_EAX) | shown(0xa, 0, REG_EAX),
		0);
	assert_int_equal(shown(7, 1, REG_EAX) | shown(7, 1, REG_EBX), 0);
	assert_int_equal(shown(0xd, 1, REG_EAX) & ~1u, 0); /* XSAVEC, XSAVES */
}

static void cpuid_follows_the_processors_state(void **state)
{
	(void)state;
	world_mode(LONG, 0);
	if ((world->machine.model.cr4 & CR4_OSXSAVE) == 0)
		skip();
	assert_int_equal(shown(1, 0, REG_ECX) >> 27 & 1, 0);
	cpu()->cr4 |= CR4_OSXSAVE;
	assert_int_equal(shown(1, 0, REG_ECX) >> 27 & 1, 1);
	assert_int_equal(shown(0xd, 0, REG_EBX), 576);
	cpu()->xcr0 = world->machine.model.xcr0;
	assert_int_equal(shown(0xd, 0, REG_EBX), shown(0xd, 0, REG_ECX));
	cpu()->gpr[RAX] = 0xffffffff00000000;
	cpu()->gpr[RCX] = 0xffffffff00000000;
	assert_runs(0x0f, 0xa2);
	assert_int_equal(cpu()->gpr[RAX], 0xd);
	assert_int_equal(cpu()->gpr[RCX], shown(0, 0, REG_ECX));
}

static void kvms_leaves_are_there(void **state)
{
	(void)state;
	uint32_t regs[REGS_CPUID];
	soft_cpuid(cpu(), 0x40000000, 0, regs);
	assert_int_equal(regs[REG_EAX], 0x40000001);
	assert_memory_equal(&regs[REG_EBX], "KVMKVMKVM\0\0\0", 12);
	assert_int_equal(shown(0x40000001, 0, REG_EAX), 1 << 1 | 1 << 3 | 1 << 24);
	assert_true(shown(1, 0, REG_ECX) >> 31 != 0);
}

/* ---- XCR0 ---- */

static void xcr0_is_checked(void **state)
{
	(void)state;
	world_mode(LONG, 0);
	cpu()->gpr[RCX] = cpu()->gpr[RDX] = 0;
	assert_int_equal(EXEC(0x0f, 0x01, 0xd0), VECTOR_UD);
	cpu()->cr4 |= CR4_OSXSAVE;
	world->machine.model.xcr0 = 7;
	static const struct {
		uint64_t value;
		int vector;
	} rows[] = { { 0, VECTOR_GP }, { 2, VECTOR_GP }, { 5, VECTOR_GP }, { 15, VECTOR_GP },
		{ 3, -1 }, { 1, -1 }, { 7, -1 } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		cpu()->gpr[RAX] = rows[i].value;
		assert_int_equal(EXEC(0x0f, 0x01, 0xd1), rows[i].vector);
	}
	cpu()->gpr[RAX] = 0;
	assert_runs(0x0f, 0x01, 0xd0);
	assert_int_equal(cpu()->gpr[RAX], 7);
	cpu()->gpr[RCX] = 1;
	assert_raises(VECTOR_GP, 0, 0x0f, 0x01, 0xd0);
	assert_raises(VECTOR_GP, 0, 0x0f, 0x01, 0xd1);
}

/* ---- model-specific registers ---- */

static int wrmsr(uint32_t number, uint64_t value)
{
	cpu()->gpr[RCX] = number;
	cpu()->gpr[RAX] = (uint32_t)value;
	cpu()->gpr[RDX] = value >> 32;
	return EXEC(0x0f, 0x30);
}

static uint64_t rdmsr(uint32_t number)
{
	cpu()->gpr[RCX] = number;
	assert_runs(0x0f, 0x32);
	return cpu()->gpr[RDX] << 32 | cpu()->gpr[RAX];
}

static void msrs_keep_what_they_may_and_refuse_the_rest(void **state)
{
	(void)state;
	static const struct {
		uint32_t number;
		uint64_t good, bad;
	} rows[] = {
		{ 0x174, UINT64_MAX, 0 },
		{ 0x175, UINT64_C(0xffff800000000000), UINT64_C(0x800000000000) },
		{ 0x200, UINT64_C(0x3fff00000006), 2 },
		{ 0x201, UINT64_C(0x3fffff000800), 0x400 },
		{ 0x20f, 0x800, UINT64_C(1) << 46 },
		{ 0x250, UINT64_C(0x0606060606060606), 7 },
		{ 0x258, UINT64_C(0x0104050600010405), 3 },
		{ 0x26f, UINT64_C(0x0505050505050505), UINT64_C(2) << 56 },
		{ 0x277, UINT64_C(0x0007010600070106), 2 },
		{ 0x2ff, 0xc06, 0x1006 },
		{ 0xc0000080, EFER_SCE | EFER_LME | EFER_NXE | EFER_LMA, 1 << 12 },
		{ 0xc0000081, UINT64_MAX, 0 },
		{ 0xc0000082, UINT64_C(0x7fffffffffff), UINT64_C(1) << 47 },
		{ 0xc0000084, UINT32_MAX, UINT64_C(1) << 32 },
		{ 0xc0000100, 0x1234, UINT64_C(1) << 50 },
		{ 0xc0000101, 0x5678, UINT64_C(1) << 50 },
		{ 0xc0000102, 0x9abc, UINT64_C(1) << 50 },
		{ 0xc0000103, UINT32_MAX, UINT64_C(1) << 32 },
	};
	world_mode(LONG, 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (wrmsr(rows[i].number, rows[i].good) != -1 ||
			(rows[i].bad != 0 && wrmsr(rows[i].number, rows[i].bad) != VECTOR_GP) ||
			rdmsr(rows[i].number) != rows[i].good)
			fail_msg("MSR %#x", rows[i].number);
	}
	assert_int_equal(cpu()->seg[SEG_FS].base, 0x1234);
	assert_int_equal(cpu()->seg[SEG_GS].base, 0x5678);
	/* All are places of their own. */
	assert_int_equal(rdmsr(0x200), UINT64_C(0x3fff00000006));
	assert_int_equal(rdmsr(0x259), 0);
}

static void msrs_that_are_fixed_are_so(void **state)
{
	(void)state;
	world_mode(LONG, 0);
	assert_int_equal(rdmsr(0xfe), 0x508);
	assert_int_equal(wrmsr(0xfe, 0), VECTOR_GP);
	assert_int_equal(rdmsr(0x179), 0);
	assert_int_equal(wrmsr(0x1d9, 0), -1);
	assert_int_equal(wrmsr(0x1d9, 1), VECTOR_GP);
	assert_int_equal(wrmsr(0xc0010015, 0x40), -1);
	assert_int_equal(rdmsr(0xc0010015), 0x1000000);
	assert_int_equal(rdmsr(0x10a) & 0x11, 0x11); /* neither Meltdown nor store bypass */
	assert_int_equal(rdmsr(0x1b), 0x1b);         /* the interrupt controller's */
	assert_int_equal(wrmsr(0x12345678, 0), VECTOR_GP);
	cpu()->gpr[RCX] = 0x48; /* SPEC_CTRL, which CPUID does not show */
	assert_raises(VECTOR_GP, 0, 0x0f, 0x32);
	cpu()->gpr[RCX] = 0x830; /* refused by the interrupt controller */
	assert_raises(VECTOR_GP, 0, 0x0f, 0x32);
	world_mode(LONG, 3);
	cpu()->gpr[RCX] = 0xfe;
	assert_raises(VECTOR_GP, 0, 0x0f, 0x32);
	assert_raises(VECTOR_GP, 0, 0x0f, 0x30);
}

static void efer_keeps_what_is_the_processors(void **state)
{
	(void)state;
	world_mode(LONG, 0);
	assert_int_equal(wrmsr(0xc0000080, EFER_LME), -1);
	assert_int_equal(cpu()->efer, EFER_LME | EFER_LMA);
	assert_int_equal(wrmsr(0xc0000080, 0), VECTOR_GP); /* LME with paging on */
	world_mode(PROTECTED, 0);
	assert_int_equal(wrmsr(0xc0000080, EFER_LME | EFER_LMA), -1);
	assert_int_equal(cpu()->efer, EFER_LME);
}

static void the_counter_moves_with_its_registers(void **state)
{
	(void)state;
	world_mode(LONG, 0);
	assert_int_equal(wrmsr(0x10, 1000), -1);
	uint64_t now = rdmsr(0x10);
	assert_in_range(now, 1001, UINT64_C(1) << 40);
	assert_int_equal(rdmsr(0x3b), cpu()->tsc_offset);
	assert_int_equal(wrmsr(0x3b, 0), -1);
	assert_int_equal(cpu()->tsc_offset, 0);
	cpu()->msr.tsc_aux = 0x77;
	assert_runs(0x0f, 0x01, 0xf9); /* rdtscp */
	assert_int_equal(cpu()->gpr[RCX], 0x77);
	assert_true((cpu()->gpr[RDX] << 32 | cpu()->gpr[RAX]) <= __rdtsc());
	world_mode(LONG, 3);
	assert_runs(0x0f, 0x31);
	cpu()->cr4 |= CR4_TSD;
	assert_raises(VECTOR_GP, 0, 0x0f, 0x31);
	assert_raises(VECTOR_GP, 0, 0x0f, 0x33); /* rdpmc */
}

/* ---- KVM's clock ---- */

/* What a guest computes from what is there (Documentation/virt/kvm/x86/msr.rst). */
static uint64_t clock_at(uint64_t at, uint64_t tsc)
{
	uint64_t delta = tsc - get(at + 8, 8);
	int8_t shift = (int8_t)get(at + 28, 1);
	delta = shift < 0 ? delta >> -shift : delta << shift;
	return get(at + 16, 8) + (uint64_t)((unsigned __int128)delta * get(at + 24, 4) >> 32);
}

static void the_clock_counts_nanoseconds_of_the_counter(void **state)
{
	(void)state;
	static const uint64_t rates_khz[] = { 2000000, 2095996, 999999, 1, 400000, 5000000 };
	world_mode(LONG, 0);
	for (size_t i = 0; i < ARRAY_LEN(rates_khz); i++) {
		world->machine.tsc_khz = rates_khz[i];
		assert_int_equal(wrmsr(0x4b564d01, DATA | 1), -1);
		assert_int_equal(get(DATA, 4) & 1, 0);
		assert_int_equal(get(DATA + 29, 1), 1); /* stable */
		uint64_t second = clock_at(DATA, rates_khz[i] * 1000);
		assert_in_range(second, 1000000000 - 2, 1000000000);
	}
	uint64_t version = get(DATA, 4);
	assert_int_equal(wrmsr(0x4b564d01, DATA | 1), -1);
	assert_int_equal(get(DATA, 4), version + 2);
	assert_int_equal(rdmsr(0x4b564d01), DATA | 1);
	/* Where no memory is, or not at all: nothing. */
	assert_int_equal(wrmsr(0x4b564d01, UINT64_C(1) << 40 | 1), -1);
	assert_int_equal(wrmsr(0x4b564d01, 0), -1);
}

static void the_wall_clock_is_when_the_clock_was_zero(void **state)
{
	(void)state;
	struct timespec now;
	world_mode(LONG, 0);
	assert_int_equal(wrmsr(0x4b564d01, DATA | 1), -1);
	assert_int_equal(wrmsr(0x4b564d00, DATA + 0x100), -1);
	(void)clock_gettime(CLOCK_REALTIME, &now);
	uint64_t wall = get(DATA + 0x104, 4) * 1000000000 + get(DATA + 0x108, 4);
	uint64_t then = wall + clock_at(DATA, soft_tsc(cpu()));
	uint64_t real = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	assert_true(then > real - 1000000000 && then < real + 1000000000);
	assert_int_equal(get(DATA + 0x100, 4) & 1, 0);
}

/* ---- ports ---- */

static void ports_are_read_and_written(void **state)
{
	(void)state;
	world_mode(LONG, 0);
	cpu()->gpr[RDX] = 0xffff03f8;
	cpu()->gpr[RAX] = UINT64_C(0x1122334455667788);
	assert_runs(0xee); /* out dx, al */
	assert_int_equal(world->port, 0x3f8);
	assert_int_equal(world->port_value, 0x88);
	assert_int_equal(world->port_size, 1);
	assert_runs(0xe7, 0x70); /* out 0x70, eax */
	assert_int_equal(world->port, 0x70);
	assert_int_equal(world->port_value, 0x55667788);
	world->port_value = 0xaabbccdd;
	assert_runs(0xec); /* in al, dx */
	assert_int_equal(cpu()->gpr[RAX], UINT64_C(0x11223344556677dd));
	assert_runs(0x66, 0xed); /* in ax, dx */
	assert_int_equal(cpu()->gpr[RAX], UINT64_C(0x112233445566ccdd));
	assert_runs(0xed); /* in eax, dx */
	assert_int_equal(cpu()->gpr[RAX], 0xaabbccdd);
	assert_int_equal(world->port_accesses, 5);
}

static void string_io_counts_and_faults_in_the_middle(void **state)
{
	(void)state;
	world_mode(LONG, 0);
	put(DATA, 0x04030201, 4);
	cpu()->gpr[RDX] = 0x3f8;
	cpu()->gpr[RSI] = DATA;
	cpu()->gpr[RCX] = 4;
	assert_runs(0xf3, 0x6e); /* rep outsb */
	assert_int_equal(world->port_value, 4);
	assert_int_equal(world->port_accesses, 4);
	assert_int_equal(cpu()->gpr[RSI], DATA + 4);
	assert_int_equal(cpu()->gpr[RCX], 0);
	/* Into a page that is not there: what was read before stays, the port is not read for it.
	 */
	world->port_accesses = 0;
	world->port_value = 0xbeef;
	cpu()->gpr[RDI] = KERNEL_ONLY - 4;
	cpu()->gpr[RCX] = 3;
	cpu()->seg[SEG_ES].base = 0;
	put(0x4000 + KERNEL_ONLY / 4096 * 8, 0, 8);
	soft_tlb_flush(cpu(), true);
	uint64_t here = world->code;
	assert_int_equal(EXEC(0xf3, 0x66, 0x6d), VECTOR_PF); /* rep insw */
	assert_int_equal(cpu()->rip, here);
	assert_int_equal(world->port_accesses, 2);
	assert_int_equal(cpu()->gpr[RCX], 1);
	assert_int_equal(cpu()->gpr[RDI], KERNEL_ONLY);
	assert_int_equal(get(KERNEL_ONLY - 4, 4), 0xbeefbeef);
	/* A long one leaves in between. */
	cpu()->gpr[RSI] = DATA;
	cpu()->gpr[RCX] = 5000;
	here = world->code;
	assert_runs(0xf3, 0x6e);
	assert_int_equal(cpu()->rip, here);
	assert_in_range(cpu()->gpr[RCX], 1, 4999);
	cpu()->gpr[RCX] = 0;
	here = world->code;
	assert_runs(0xf3, 0x6e);
	assert_int_equal(cpu()->rip, here + 2);
}

static void ring_3_has_the_ports_of_the_bitmap(void **state)
{
	(void)state;
	world_mode(LONG, 3);
	cpu()->gpr[RDX] = 0x10;
	put(TSS + 0x66, 0x100, 2);
	memset(world->ram + TSS + 0x100, 0xff, 0x20);
	assert_raises(VECTOR_GP, 0, 0xee);
	put(TSS + 0x102, 0xfe, 1); /* port 0x10 */
	assert_runs(0xee);
	assert_raises(VECTOR_GP, 0, 0x66, 0xef); /* and 0x11 */
	put(TSS + 0x102, 0xfc, 1);
	assert_runs(0x66, 0xef);
	cpu()->gpr[RDX] = 0x17; /* across bytes */
	put(TSS + 0x102, 0xff7f, 2);
	assert_raises(VECTOR_GP, 0, 0x66, 0xef);
	put(TSS + 0x102, 0xfe7f, 2);
	assert_runs(0x66, 0xef);
	cpu()->seg[SEG_TR].limit = 0x102; /* the second byte is beyond */
	assert_raises(VECTOR_GP, 0, 0x66, 0xef);
	cpu()->seg[SEG_TR].limit = 0x103;
	assert_runs(0x66, 0xef);
	cpu()->seg[SEG_TR].limit = 0x60;
	assert_raises(VECTOR_GP, 0, 0x66, 0xef);
	cpu()->other_flags = FLAG_IOPL;
	assert_runs(0x66, 0xef);
	world_mode(REAL, 0);
	assert_runs(0xee);
}

/* ---- hypercalls, hints ---- */

static void hypercalls_are_told_that_there_are_none(void **state)
{
	(void)state;
	world_mode(LONG, 0);
	assert_runs(0x0f, 0x01, 0xc1); /* vmcall */
	assert_int_equal((int64_t)cpu()->gpr[RAX], -1000);
	world_mode(LONG, 3);
	assert_runs(0x0f, 0x01, 0xd9); /* vmmcall */
	assert_int_equal((int64_t)cpu()->gpr[RAX], -1);
	assert_raises(VECTOR_GP, 0, 0x0f, 0x09);       /* wbinvd */
	assert_int_equal(EXEC(0x0f, 0x0b), VECTOR_UD); /* ud2 */
	cpu()->gpr[RBX] = NOWHERE;
	assert_runs(0x0f, 0x18, 0x0b);                       /* prefetcht0 [rbx] */
	assert_int_equal(EXEC(0x0f, 0xae, 0x3b), VECTOR_PF); /* clflush [rbx] */
	assert_runs(0xf3, 0x90);                             /* pause */
	assert_runs(0xf3, 0x0f, 0x1e, 0xfa);                 /* endbr64 */
	assert_runs(0x0f, 0xae, 0xf0);                       /* mfence */
}

static void random_numbers_are_the_hosts(void **state)
{
	(void)state;
	world_mode(LONG, 0);
	if (!soft_model_has(&world->machine.model, 1, REG_ECX, 30))
		skip();
	uint64_t seen = 0;
	for (unsigned i = 0; i < 4; i++) {
		assert_runs(0x48, 0x0f, 0xc7, 0xf0); /* rdrand rax */
		if ((soft_flags(cpu()) & FLAG_CF) != 0)
			seen |= cpu()->gpr[RAX];
	}
	assert_true(seen != 0);
	for (unsigned i = 0; i < world->machine.model.leaves; i++)
		if (world->machine.model.leaf[i].leaf == 1)
			world->machine.model.leaf[i].regs[REG_ECX] &= ~(1u << 30);
	assert_int_equal(EXEC(0x48, 0x0f, 0xc7, 0xf0), VECTOR_UD);
}

/* ---- the FPU's state ---- */

static void fpu_mode(void)
{
	world_mode(LONG, 0);
	world->machine.model.xcr0 = cpu()->xcr0 = 7;
	cpu()->cr4 |= CR4_OSXSAVE;
	for (unsigned i = 0; i < 1024; i++)
		cpu()->xstate[i] = (uint8_t)(i * 7 + 1);
	memset(cpu()->xstate + 512, 0, 64);
	cpu()->xstate[512] = 7;
	memset(cpu()->xstate + 24, 0, 8);
	cpu()->xstate[24] = 0x80;
	cpu()->xstate[25] = 0x1f;
	memset(world->ram + DATA, 0xee, 0x1000);
	memset(world->ram + DATA + 512, 0, 64);
	cpu()->gpr[RBX] = DATA;
	cpu()->gpr[RAX] = UINT32_MAX;
	cpu()->gpr[RDX] = UINT32_MAX;
}

static void xsave_writes_what_is_asked_for_and_no_more(void **state)
{
	(void)state;
	const uint8_t *ram = world->ram + DATA;
	fpu_mode();
	assert_runs(0x48, 0x0f, 0xae, 0x23);
	assert_memory_equal(ram, cpu()->xstate, 28);
	assert_memory_equal(ram + 32, cpu()->xstate + 32, 416 - 32);
	assert_memory_equal(ram + 576, cpu()->xstate + 576, 256);
	assert_int_equal(ram[420], 0xee);
	assert_int_equal(ram[832], 0xee);
	assert_int_equal(get(DATA + 512, 8), 7);
	/* SSE only: x87 and AVX are not written, the header's other bits stay. */
	fpu_mode();
	cpu()->gpr[RAX] = 2;
	cpu()->gpr[RDX] = 0;
	put(DATA + 512, 4, 8);
	assert_runs(0x48, 0x0f, 0xae, 0x23);
	assert_int_equal(ram[0], 0xee);
	assert_int_equal(ram[40], 0xee);
	assert_int_equal(ram[576], 0xee);
	assert_int_equal(get(DATA + 24, 4), 0x1f80);
	assert_memory_equal(ram + 160, cpu()->xstate + 160, 256);
	assert_int_equal(get(DATA + 512, 8), 6);
	/* Initial components are written as such, and their bits are clear. */
	fpu_mode();
	cpu()->xstate[512] = 0;
	assert_runs(0x48, 0x0f, 0xae, 0x23);
	assert_int_equal(get(DATA, 8), 0x37f);
	assert_int_equal(get(DATA + 160, 8) | get(DATA + 576, 8), 0);
	assert_int_equal(get(DATA + 512, 8), 0);
}

static void xrstor_takes_what_is_asked_for_and_there(void **state)
{
	(void)state;
	fpu_mode();
	assert_runs(0x48, 0x0f, 0xae, 0x23);
	uint8_t before[832];
	memcpy(before, cpu()->xstate, sizeof(before));
	memset(cpu()->xstate, 0x55, 416);
	cpu()->xstate[600] = 0x55;
	assert_runs(0x48, 0x0f, 0xae, 0x2b);
	assert_memory_equal(cpu()->xstate, before, 28);
	assert_memory_equal(cpu()->xstate + 32, before + 32, 416 - 32);
	assert_memory_equal(cpu()->xstate + 576, before + 576, 256);
	/* Not there: initial.  Not asked for: as it was. */
	put(DATA + 512, 2, 8);
	cpu()->gpr[RAX] = 3;
	cpu()->gpr[RDX] = 0;
	assert_runs(0x48, 0x0f, 0xae, 0x2b);
	assert_int_equal(cpu()->xstate[512], 2 | 4);
}

static void images_are_checked(void **state)
{
	(void)state;
	static const struct {
		unsigned at;
		uint64_t value;
	} bad[] = {
		{ 512, 8 },                     /* a component that XCR0 has not */
		{ 520, UINT64_C(1) << 63 },     /* compacted */
		{ 528, 1 }, { 24, 0xffff0000 }, /* reserved bits of MXCSR */
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		fpu_mode();
		assert_runs(0x48, 0x0f, 0xae, 0x23);
		put(DATA + bad[i].at, bad[i].value, bad[i].at == 24 ? 4 : 8);
		uint8_t before[832];
		memcpy(before, cpu()->xstate, sizeof(before));
		assert_raises(VECTOR_GP, 0, 0x48, 0x0f, 0xae, 0x2b);
		assert_memory_equal(before, cpu()->xstate, sizeof(before));
	}
	fpu_mode();
	cpu()->gpr[RBX] = DATA + 32;
	assert_raises(VECTOR_GP, 0, 0x48, 0x0f, 0xae, 0x23);
	assert_raises(VECTOR_GP, 0, 0x48, 0x0f, 0xae, 0x2b);
	assert_runs(0x48, 0x0f, 0xae, 0x03); /* fxsave64: 16 is enough */
	cpu()->gpr[RBX] = DATA + 8;
	assert_raises(VECTOR_GP, 0, 0x48, 0x0f, 0xae, 0x03);
	fpu_mode();
	cpu()->gpr[RBX] = DATA;
	put(DATA + 24, 0x80000000, 4);
	assert_raises(VECTOR_GP, 0, 0x48, 0x0f, 0xae, 0x0b); /* fxrstor64 */
}

static void fxsave_and_fxrstor_know_x87_and_sse(void **state)
{
	(void)state;
	fpu_mode();
	assert_runs(0x48, 0x0f, 0xae, 0x03);
	assert_memory_equal(world->ram + DATA, cpu()->xstate, 28);
	assert_memory_equal(world->ram + DATA + 32, cpu()->xstate + 32, 384);
	assert_int_equal(get(DATA + 28, 4), world->machine.model.mxcsr_mask);
	assert_int_equal(world->ram[DATA + 416], 0xee);
	put(DATA + 160, 0x1234, 8);
	cpu()->xstate[512] = 4;
	assert_runs(0x48, 0x0f, 0xae, 0x0b);
	assert_int_equal(soft_load64(cpu()->xstate + 160), 0x1234);
	assert_int_equal(cpu()->xstate[512], 7);
}

static void cr0_and_cr4_say_who_may_use_the_fpu(void **state)
{
	(void)state;
	fpu_mode();
	cpu()->cr0 |= CR0_TS;
	assert_int_equal(EXEC(0x48, 0x0f, 0xae, 0x23), VECTOR_NM);
	assert_int_equal(EXEC(0x48, 0x0f, 0xae, 0x03), VECTOR_NM);
	assert_int_equal(EXEC(0xdb, 0xe3), VECTOR_NM);       /* fninit */
	assert_int_equal(EXEC(0x0f, 0xae, 0x13), VECTOR_NM); /* ldmxcsr [rbx] */
	assert_runs(0x9b);                                   /* fwait, without MP */
	cpu()->cr0 |= CR0_MP;
	assert_int_equal(EXEC(0x9b), VECTOR_NM);
	cpu()->cr0 = (cpu()->cr0 & ~(uint64_t)CR0_TS) | CR0_EM;
	assert_int_equal(EXEC(0x0f, 0xae, 0x13), VECTOR_UD);
	assert_int_equal(EXEC(0x0f, 0x77), VECTOR_UD); /* emms */
	assert_int_equal(EXEC(0xdb, 0xe3), VECTOR_NM);
	fpu_mode();
	cpu()->cr4 &= ~(uint64_t)(CR4_OSXSAVE | CR4_OSFXSR);
	assert_int_equal(EXEC(0x48, 0x0f, 0xae, 0x23), VECTOR_UD);
	assert_int_equal(EXEC(0x0f, 0xae, 0x13), VECTOR_UD);
}

static void x87s_words_are_loaded_and_stored(void **state)
{
	(void)state;
	fpu_mode();
	assert_runs(0xdb, 0xe3); /* fninit */
	assert_runs(0xd9, 0x3b); /* fnstcw [rbx] */
	assert_int_equal(get(DATA, 2), 0x37f);
	assert_runs(0xdf, 0xe0); /* fnstsw ax */
	assert_int_equal(cpu()->gpr[RAX], 0xffff0000);
	put(DATA, 0x27f, 2);
	assert_runs(0xd9, 0x2b); /* fldcw [rbx] */
	assert_int_equal(soft_load16(cpu()->xstate), 0x27f);
	put(DATA, 0x1fa0, 4);
	assert_runs(0x0f, 0xae, 0x13);
	assert_int_equal(soft_load32(cpu()->xstate + 24), 0x1fa0);
	put(DATA, 0x80000000, 4);
	assert_raises(VECTOR_GP, 0, 0x0f, 0xae, 0x13);
	assert_runs(0x0f, 0xae, 0x1b); /* stmxcsr [rbx] */
	assert_int_equal(get(DATA, 4), 0x1fa0);
	/* A pending exception: division by zero, unmasked. */
	soft_store16(cpu()->xstate, 0x37b);
	soft_store16(cpu()->xstate + 2, 0x8084);
	assert_runs(0x9b); /* the old way, which is not offered */
	cpu()->cr0 |= CR0_NE;
	assert_int_equal(EXEC(0x9b), VECTOR_MF);
	assert_runs(0xdb, 0xe2); /* fnclex */
	assert_int_equal(soft_load16(cpu()->xstate + 2), 0);
	cpu()->xstate[4] = 0xff;
	assert_runs(0x0f, 0x77); /* emms */
	assert_int_equal(cpu()->xstate[4], 0);
}

static void an_instruction_has_at_most_fifteen_bytes(void **state)
{
	(void)state;
	uint8_t bytes[16];
	memset(bytes, 0xf2, sizeof(bytes));
	bytes[14] = 0x90;
	assert_int_equal(exec_bytes(bytes, 15), -1);
	bytes[14] = 0xf2;
	assert_int_equal(exec_bytes(bytes, 16), VECTOR_GP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(an_instruction_has_at_most_fifteen_bytes),
		WORLD_TEST(cr0_is_checked),
		WORLD_TEST(lmsw_sets_protection_but_cannot_clear_it),
		WORLD_TEST(long_mode_starts_with_paging_and_needs_pae),
		WORLD_TEST(pae_pointers_are_checked_when_they_are_loaded),
		WORLD_TEST(cr3_has_pcids_and_a_bit_that_keeps),
		WORLD_TEST(page_tables_count_anew_after_a_flush),
		WORLD_TEST(invpcid_is_checked),
		WORLD_TEST(cr8_is_the_interrupt_controllers),
		WORLD_TEST(debug_registers_keep_what_they_have),
		WORLD_TEST(cr4_has_the_bits_that_cpuid_shows),
		WORLD_TEST(cpuid_shows_one_consistent_processor),
		WORLD_TEST(cpuid_follows_the_processors_state),
		WORLD_TEST(kvms_leaves_are_there),
		WORLD_TEST(xcr0_is_checked),
		WORLD_TEST(msrs_keep_what_they_may_and_refuse_the_rest),
		WORLD_TEST(msrs_that_are_fixed_are_so),
		WORLD_TEST(efer_keeps_what_is_the_processors),
		WORLD_TEST(the_counter_moves_with_its_registers),
		WORLD_TEST(the_clock_counts_nanoseconds_of_the_counter),
		WORLD_TEST(the_wall_clock_is_when_the_clock_was_zero),
		WORLD_TEST(ports_are_read_and_written),
		WORLD_TEST(string_io_counts_and_faults_in_the_middle),
		WORLD_TEST(ring_3_has_the_ports_of_the_bitmap),
		WORLD_TEST(hypercalls_are_told_that_there_are_none),
		WORLD_TEST(random_numbers_are_the_hosts),
		WORLD_TEST(xsave_writes_what_is_asked_for_and_no_more),
		WORLD_TEST(xrstor_takes_what_is_asked_for_and_there),
		WORLD_TEST(images_are_checked),
		WORLD_TEST(fxsave_and_fxrstor_know_x87_and_sse),
		WORLD_TEST(cr0_and_cr4_say_who_may_use_the_fpu),
		WORLD_TEST(x87s_words_are_loaded_and_stored),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
