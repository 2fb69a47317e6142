/* Segment registers and the ways between rings: what is loaded, and what is refused with which
 * code. */
#include "soft_world.h"

static struct soft_vcpu *cpu(void)
{
	return &world->v;
}

/* ---- data and stack segments ---- */

static void loads_take_base_limit_and_rights_and_mark_the_descriptor(void **state)
{
	(void)state;
	cpu()->gpr[RAX] = FRESH_DATA;
	assert_runs(0x8e, 0xe0); /* mov fs, ax */
	const struct cpu_segment *fs = &cpu()->seg[SEG_FS];
	assert_int_equal(fs->selector, FRESH_DATA);
	assert_int_equal(fs->base, 0x12345678);
	assert_int_equal(fs->limit, 0x4321);
	assert_int_equal(fs->attributes, 0x93);
	assert_int_equal(get(GDT + FRESH_DATA + 5, 1), 0x93);
	cpu()->gpr[RAX] = 0xc;   /* the LDT's second */
	assert_runs(0x8e, 0xe8); /* mov gs, ax */
	assert_int_equal(cpu()->seg[SEG_GS].base, 0x100);
	assert_int_equal(cpu()->seg[SEG_ES].limit, UINT32_MAX);
}

/* MOV to a segment register, from a ring: the vector and the code, -1 for none. */
static const struct load {
	uint16_t selector;
	uint8_t modrm; /* of mov SEG, ax */
	uint8_t cpl;
	int vector;
	uint32_t error;
} loads[] = {
	{ 0, 0xd8, 0, -1, 0 }, /* ds: null */
	{ 3, 0xd8, 3, -1, 0 }, { USER_STACK_SEG, 0xd8, 3, -1, 0 },
	{ USER_STACK_SEG, 0xd8, 0, -1, 0 }, /* an outer ring's */
	{ STACK, 0xd8, 3, VECTOR_GP, STACK },
	{ STACK | 3, 0xd8, 0, VECTOR_GP, STACK }, /* RPL counts, too */
	{ CODE32, 0xd8, 0, -1, 0 },               /* readable code */
	{ CONFORMING, 0xd8, 3, -1, 0 }, { EXECUTE_ONLY, 0xd8, 0, VECTOR_GP, EXECUTE_ONLY },
	{ READ_ONLY_DATA, 0xd8, 0, -1, 0 }, { ABSENT_DATA, 0xd8, 0, VECTOR_NP, ABSENT_DATA },
	{ TASK, 0xd8, 0, VECTOR_GP, TASK }, { GDT_END, 0xd8, 0, VECTOR_GP, GDT_END },
	{ 0x14, 0xd8, 0, VECTOR_GP, 0x14 }, /* beyond the LDT */
	{ 0, 0xd0, 0, VECTOR_GP, 0 },       /* ss: null */
	{ STACK, 0xd0, 0, -1, 0 }, { STACK | 1, 0xd0, 0, VECTOR_GP, STACK },
	{ USER_STACK_SEG & ~3, 0xd0, 0, VECTOR_GP, USER_STACK_SEG & ~3 },
	{ CODE32, 0xd0, 0, VECTOR_GP, CODE32 },
	{ READ_ONLY_DATA, 0xd0, 0, VECTOR_GP, READ_ONLY_DATA },
	{ ABSENT_DATA, 0xd0, 0, VECTOR_SS, ABSENT_DATA }, { USER_STACK_SEG, 0xd0, 3, -1, 0 },
	{ USER_STACK_SEG, 0xc8, 3, VECTOR_UD, 0 }, /* cs */
};

static void loads_are_checked(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(loads); i++) {
		world_mode(PROTECTED, loads[i].cpl);
		cpu()->gpr[RAX] = loads[i].selector;
		if (EXEC(0x8e, loads[i].modrm) != loads[i].vector ||
			(loads[i].vector >= 0 && cpu()->exception.error != loads[i].error))
			fail_msg("row %zu: vector %d, error %#x", i, cpu()->exception.vector,
				cpu()->exception.error);
	}
}

static void long_mode_has_null_stack_segments_but_not_in_ring_3(void **state)
{
	(void)state;
	world_mode(LONG, 0);
	cpu()->gpr[RAX] = 0;
	assert_runs(0x8e, 0xd0);
	assert_int_equal(cpu()->cpl, 0);
	assert_true(cpu()->is_inhibited);
	cpu()->gpr[RAX] = 3;
	assert_raises(VECTOR_GP, 0, 0x8e, 0xd0);
	world_mode(LONG, 3);
	cpu()->gpr[RAX] = 3;
	assert_raises(VECTOR_GP, 0, 0x8e, 0xd0);
}

static void real_mode_sets_bases_and_keeps_limits(void **state)
{
	(void)state;
	world_mode(REAL, 0);
	cpu()->seg[SEG_DS].limit = UINT32_MAX;
	cpu()->gpr[RAX] = 0x1234;
	assert_runs(0x8e, 0xd8);
	assert_int_equal(cpu()->seg[SEG_DS].base, 0x12340);
	assert_int_equal(cpu()->seg[SEG_DS].limit, UINT32_MAX);
}

static void selectors_are_pushed_popped_and_read(void **state)
{
	(void)state;
	world_mode(LONG, 0);
	cpu()->seg[SEG_FS].selector = 0x1234;
	assert_runs(0x0f, 0xa0); /* push fs */
	assert_int_equal(cpu()->gpr[RSP], KERNEL_STACK - 8);
	assert_int_equal(get(KERNEL_STACK - 8, 8), 0x1234);
	put(KERNEL_STACK - 8, STACK, 8);
	assert_runs(0x0f, 0xa9); /* pop gs */
	assert_int_equal(cpu()->seg[SEG_GS].selector, STACK);
	assert_int_equal(cpu()->gpr[RSP], KERNEL_STACK);
	cpu()->gpr[RAX] = UINT64_MAX;
	assert_runs(0x8c, 0xe0); /* mov eax, fs */
	assert_int_equal(cpu()->gpr[RAX], 0x1234);
	/* A pop that is refused has not moved the stack pointer. */
	put(KERNEL_STACK - 8, ABSENT_DATA, 8);
	cpu()->gpr[RSP] = KERNEL_STACK - 8;
	assert_raises(VECTOR_NP, ABSENT_DATA, 0x0f, 0xa9);
	assert_int_equal(cpu()->gpr[RSP], KERNEL_STACK - 8);
}

static void far_pointers_load_both(void **state)
{
	(void)state;
	cpu()->gpr[RBX] = DATA;
	put(DATA, 0xdeadbeef, 4);
	put(DATA + 4, FRESH_DATA, 2);
	assert_runs(0xc5, 0x03); /* lds eax, [ebx] */
	assert_int_equal(cpu()->gpr[RAX], 0xdeadbeef);
	assert_int_equal(cpu()->seg[SEG_DS].base, 0x12345678);
}

static void limits_and_rights_hold_outside_64_bit_mode(void **state)
{
	(void)state;
	cpu()->gpr[RAX] = DOWN_DATA;
	assert_runs(0x8e, 0xd8);
	cpu()->gpr[RBX] = 0xfff;
	assert_raises(VECTOR_GP, 0, 0x8a, 0x03); /* mov al, [ebx] */
	cpu()->gpr[RBX] = 0x1000;
	assert_runs(0x8a, 0x03);
	cpu()->gpr[RAX] = READ_ONLY_DATA;
	assert_runs(0x8e, 0xd8);
	cpu()->gpr[RBX] = DATA;
	assert_raises(VECTOR_GP, 0, 0x88, 0x03); /* mov [ebx], al */
	cpu()->gpr[RAX] = 0;
	assert_runs(0x8e, 0xd8);
	assert_raises(VECTOR_GP, 0, 0x8a, 0x03);
	cpu()->seg[SEG_SS].limit = 0x100;
	assert_raises(VECTOR_SS, 0, 0x50); /* push eax */
	cpu()->gpr[RSP] = 0x104;
	assert_raises(VECTOR_SS, 0, 0x50);
	cpu()->gpr[RSP] = 0x101;
	assert_runs(0x50);
}

static void questions_about_descriptors_set_zf(void **state)
{
	(void)state;
	static const struct {
		uint16_t selector;
		uint8_t cpl, opcode[3];
		bool zf;
		uint32_t result;
	} rows[] = {
		{ CODE32, 0, { 0x0f, 0x02, 0xc1 }, true, 0x00c09b00 }, /* lar eax, ecx */
		{ CODE32, 3, { 0x0f, 0x02, 0xc1 }, false, 0 },
		{ CONFORMING, 3, { 0x0f, 0x02, 0xc1 }, true, 0x00c09f00 },
		{ TASK, 0, { 0x0f, 0x02, 0xc1 }, true, 0x00008900 },
		{ 0, 0, { 0x0f, 0x02, 0xc1 }, false, 0 },
		{ GDT_END, 0, { 0x0f, 0x02, 0xc1 }, false, 0 },
		{ CODE32, 0, { 0x0f, 0x03, 0xc1 }, true, UINT32_MAX }, /* lsl */
		{ LOCAL, 0, { 0x0f, 0x03, 0xc1 }, true, 0xf },
		{ DOWN_DATA, 0, { 0x0f, 0x03, 0xc1 }, true, 0xfff },
		{ EXECUTE_ONLY, 0, { 0x0f, 0x00, 0xe1 }, false, 0 }, /* verr cx */
		{ CODE32, 0, { 0x0f, 0x00, 0xe1 }, true, 0 },
		{ STACK, 3, { 0x0f, 0x00, 0xe1 }, false, 0 },
		{ STACK, 0, { 0x0f, 0x00, 0xe9 }, true, 0 }, /* verw cx */
		{ READ_ONLY_DATA, 0, { 0x0f, 0x00, 0xe9 }, false, 0 },
		{ TASK, 0, { 0x0f, 0x00, 0xe1 }, false, 0 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		world_mode(PROTECTED, rows[i].cpl);
		cpu()->gpr[RAX] = 0;
		cpu()->gpr[RCX] = rows[i].selector;
		assert_int_equal(exec_bytes(rows[i].opcode, 3), -1);
		if (((soft_flags(cpu()) & FLAG_ZF) != 0) != rows[i].zf ||
			cpu()->gpr[RAX] != rows[i].result)
			fail_msg("row %zu: %#jx", i, (uintmax_t)cpu()->gpr[RAX]);
	}
	world_mode(REAL, 0);
	assert_int_equal(EXEC(0x0f, 0x02, 0xc1), VECTOR_UD);
	world_mode(PROTECTED, 0);
	cpu()->gpr[RAX] = 0x20;
	cpu()->gpr[RCX] = 3;
	assert_runs(0x63, 0xc8); /* arpl ax, cx */
	assert_int_equal(cpu()->gpr[RAX], 0x23);
	assert_true((soft_flags(cpu()) & FLAG_ZF) != 0);
}

/* ---- tables ---- */

static void table_registers_are_loaded_and_stored(void **state)
{
	(void)state;
	world_mode(LONG, 0);
	cpu()->gpr[RBX] = DATA;
	put(DATA, 0x1ff, 2);
	put(DATA + 2, UINT64_C(0xffff800000001000), 8);
	assert_runs(0x0f, 0x01, 0x1b); /* lidt [rbx] */
	assert_int_equal(cpu()->idt.limit, 0x1ff);
	assert_int_equal(cpu()->idt.base, UINT64_C(0xffff800000001000));
	put(DATA + 2, UINT64_C(1) << 48, 8);
	assert_raises(VECTOR_GP, 0, 0x0f, 0x01, 0x13); /* lgdt [rbx] */
	assert_int_equal(cpu()->gdt.base, GDT);
	assert_runs(0x0f, 0x01, 0x03); /* sgdt [rbx] */
	assert_int_equal(get(DATA, 2), GDT_END - 1);
	assert_int_equal(get(DATA + 2, 8), GDT);
	world_mode(LONG, 3);
	cpu()->gpr[RBX] = DATA;
	assert_raises(VECTOR_GP, 0, 0x0f, 0x01, 0x13);
	assert_runs(0x0f, 0x01, 0x03);
	world_mode(REAL, 0);
	cpu()->gpr[RBX] = 0x100;
	put(0x100, UINT64_C(0xff123456000f), 8);
	assert_runs(0x0f, 0x01, 0x17); /* lgdt [bx], 16 bits: a base of 24 */
	assert_int_equal(cpu()->gdt.base, 0x123456);
	assert_runs(0x66, 0x0f, 0x01, 0x17);
	assert_int_equal(cpu()->gdt.base, 0xff123456);
}

static void task_and_local_tables_are_checked(void **state)
{
	(void)state;
	world_mode(LONG, 0);
	put(GDT + TASK + 8, 0xffff8000, 4); /* the upper half of its base */
	cpu()->gpr[RAX] = TASK;
	assert_runs(0x0f, 0x00, 0xd8); /* ltr ax */
	assert_int_equal(cpu()->seg[SEG_TR].base, UINT64_C(0xffff800000000000) | TSS);
	assert_int_equal(get(GDT + TASK + 5, 1), 0x8b);
	assert_raises(VECTOR_GP, TASK, 0x0f, 0x00, 0xd8); /* busy */
	cpu()->gpr[RAX] = 0;
	assert_raises(VECTOR_GP, 0, 0x0f, 0x00, 0xd8);
	assert_runs(0x0f, 0x00, 0xd0); /* lldt ax: none */
	assert_int_equal(cpu()->seg[SEG_LDT].attributes & SEG_P, 0);
	cpu()->gpr[RAX] = STACK;
	assert_raises(VECTOR_GP, STACK, 0x0f, 0x00, 0xd0);
	cpu()->gpr[RAX] = LOCAL;
	assert_runs(0x0f, 0x00, 0xd0);
	put(GDT + LOCAL + 8 + 5, 2, 1); /* a second half with a type */
	assert_raises(VECTOR_GP, LOCAL, 0x0f, 0x00, 0xd0);
	cpu()->gpr[RAX] = UINT64_MAX;
	assert_runs(0x0f, 0x00, 0xc8); /* str eax */
	assert_int_equal(cpu()->gpr[RAX], TASK);
	world_mode(LONG, 3);
	cpu()->gpr[RAX] = TASK;
	assert_raises(VECTOR_GP, 0, 0x0f, 0x00, 0xd8);
}

/* ---- far transfers ---- */

static int far_jump(uint16_t selector, uint32_t offset)
{
	return EXEC(0xea, (uint8_t)offset, (uint8_t)(offset >> 8), (uint8_t)(offset >> 16),
		(uint8_t)(offset >> 24), (uint8_t)selector, (uint8_t)(selector >> 8));
}

static void far_jumps_are_checked(void **state)
{
	(void)state;
	static const struct {
		uint16_t selector;
		uint8_t cpl;
		int vector;
		uint32_t error;
	} rows[] = {
		{ CODE32, 0, -1, 0 },
		{ CODE32 | 3, 0, VECTOR_GP, CODE32 }, /* RPL above CPL */
		{ 0, 0, VECTOR_GP, 0 },
		{ STACK, 0, VECTOR_GP, STACK },
		{ USER_CODE32, 0, VECTOR_GP, USER_CODE32 & ~3 },
		{ CODE32, 3, VECTOR_GP, CODE32 },
		{ CONFORMING, 3, -1, 0 },
		{ ABSENT_CODE, 0, VECTOR_NP, ABSENT_CODE },
		{ TASK, 0, VECTOR_GP, TASK },
		{ GDT_END, 0, VECTOR_GP, GDT_END },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		world_mode(PROTECTED, rows[i].cpl);
		if (far_jump(rows[i].selector, 0x12345) != rows[i].vector ||
			(rows[i].vector >= 0 && cpu()->exception.error != rows[i].error))
			fail_msg("row %zu: vector %d, error %#x", i, cpu()->exception.vector,
				cpu()->exception.error);
		if (rows[i].vector < 0) {
			assert_int_equal(cpu()->rip, 0x12345);
			assert_int_equal(cpu()->cpl, rows[i].cpl);
			assert_int_equal(cpu()->seg[SEG_CS].selector & 3, rows[i].cpl);
		}
	}
	world_mode(PROTECTED, 0);
	assert_int_equal(far_jump(CODE16, 0x10000), VECTOR_GP);
	assert_int_equal(cpu()->exception.error, 0);
}

static void far_calls_push_and_far_returns_pop(void **state)
{
	(void)state;
	uint64_t here = world->code;
	assert_runs(0x9a, 0x00, 0x01, 0, 0, CODE16, 0); /* lcall CODE16:0x100 */
	assert_int_equal(cpu()->rip, 0x100);
	assert_int_equal(cpu()->code_size, 2);
	assert_int_equal(frame(0, 4), here + 7);
	assert_int_equal(frame(1, 4), CODE32);
	world_mode(PROTECTED, 0);
	cpu()->gpr[RSP] = KERNEL_STACK - 8;
	assert_runs(0xca, 0x10, 0x00); /* lret 16 */
	assert_int_equal(cpu()->rip, here + 7);
	assert_int_equal(cpu()->gpr[RSP], KERNEL_STACK + 16);
}

static void far_returns_to_an_outer_ring_forget_inner_segments(void **state)
{
	(void)state;
	uint64_t sp = KERNEL_STACK - 0x20;
	cpu()->gpr[RSP] = sp;
	put(sp, 0x1234, 4);
	put(sp + 4, USER_CODE32, 4);
	put(sp + 8 + 4, USER_STACK, 4); /* behind 4 bytes of arguments */
	put(sp + 8 + 8, USER_STACK_SEG, 4);
	cpu()->seg[SEG_ES] = segment_at(USER_STACK_SEG);
	assert_runs(0xca, 0x04, 0x00);
	assert_int_equal(cpu()->cpl, 3);
	assert_int_equal(cpu()->rip, 0x1234);
	assert_int_equal(cpu()->gpr[RSP], USER_STACK + 4);
	assert_int_equal(cpu()->seg[SEG_DS].selector, 0);
	assert_int_equal(cpu()->seg[SEG_DS].attributes, 0);
	assert_int_equal(cpu()->seg[SEG_ES].selector, USER_STACK_SEG);
}

/* ---- iret ---- */

static void put_frame(unsigned width, uint64_t rip, uint16_t cs, uint64_t flags, uint64_t sp,
	uint16_t ss)
{
	const uint64_t words[] = { rip, cs, flags, sp, ss };
	cpu()->gpr[RSP] = KERNEL_STACK - 0x40;
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		put(cpu()->gpr[RSP] + i * width, words[i], width);
}

static void iret_within_a_ring_leaves_the_stack_segment(void **state)
{
	(void)state;
	put_frame(4, 0x1234, CODE32, FLAG_IF | FLAG_ZF | FLAG_RF | FLAG_AC, 0, 0);
	assert_runs(0xcf);
	assert_int_equal(cpu()->rip, 0x1234);
	assert_int_equal(cpu()->gpr[RSP], KERNEL_STACK - 0x40 + 12);
	assert_int_equal(soft_flags(cpu()), FLAG_IF | FLAG_ZF | FLAG_AC | 2);
}

static void iret_in_real_mode_pops_three_words(void **state)
{
	(void)state;
	world_mode(REAL, 0);
	cpu()->gpr[RSP] = 0xe000;
	put(0xe000, 0x0042123456780000 >> 16, 6);
	assert_runs(0xcf);
	assert_int_equal(cpu()->rip, 0x5678);
	assert_int_equal(cpu()->seg[SEG_CS].base, 0x12340);
	assert_int_equal(soft_flags(cpu()), 0x42);
	assert_int_equal(cpu()->gpr[RSP], 0xe006);
}

static void iretq_goes_to_ring_3_and_to_compatibility_mode(void **state)
{
	(void)state;
	world_mode(LONG, 0);
	cpu()->seg[SEG_FS] = (struct cpu_segment){ .base = 0x5555 }; /* null, with a base */
	cpu()->is_nmi_blocked = true;
	put_frame(8, 0x7fff00001234, USER_CODE64, FLAG_IF, USER_STACK, USER_STACK_SEG);
	assert_runs(0x48, 0xcf);
	assert_int_equal(cpu()->cpl, 3);
	assert_int_equal(cpu()->code_size, 8);
	assert_int_equal(cpu()->view, VIEW_USER);
	assert_int_equal(cpu()->gpr[RSP], USER_STACK);
	assert_int_equal(cpu()->seg[SEG_FS].base, 0x5555);
	assert_int_equal(cpu()->seg[SEG_DS].selector, 0); /* it was ring 0's */
	assert_false(cpu()->is_nmi_blocked);
	world_mode(LONG, 0);
	put_frame(8, 0x1234, USER_CODE32, FLAG_IF, UINT64_C(0xffffffff00030000), USER_STACK_SEG);
	assert_runs(0x48, 0xcf);
	assert_int_equal(cpu()->code_size, 4);
	assert_int_equal(cpu()->gpr[RSP], USER_STACK);
}

static void iretq_within_ring_0_pops_the_stack_too(void **state)
{
	(void)state;
	world_mode(LONG, 0);
	put_frame(8, 0x1234, CODE64, 2, IST_STACK, 0);
	assert_runs(0x48, 0xcf);
	assert_int_equal(cpu()->gpr[RSP], IST_STACK);
	assert_int_equal(cpu()->seg[SEG_SS].selector, 0);
	assert_int_equal(cpu()->cpl, 0);
}

static void iret_is_checked(void **state)
{
	(void)state;
	static const struct {
		uint64_t rip;
		uint16_t cs, ss;
		int vector;
		uint32_t error;
	} rows[] = {
		{ 0, 0, STACK, VECTOR_GP, 0 },
		{ 0, STACK, STACK, VECTOR_GP, STACK },
		{ 0, CODE64 | 3, USER_STACK_SEG, VECTOR_GP, CODE64 }, /* DPL is not RPL */
		{ 0, CODE_L_AND_D, STACK, VECTOR_GP, CODE_L_AND_D },
		{ 0, ABSENT_CODE, STACK, VECTOR_NP, ABSENT_CODE },
		{ UINT64_C(1) << 47, CODE64, STACK, VECTOR_GP, 0 },
		{ UINT64_C(1) << 32, USER_CODE32, USER_STACK_SEG, VECTOR_GP, 0 },
		{ 0, USER_CODE64, 0, VECTOR_GP, 0 },
		{ 0, USER_CODE64, 3, VECTOR_GP, 0 },
		{ 0, USER_CODE64, STACK, VECTOR_GP, STACK },
		{ 0, CODE64, USER_STACK_SEG, VECTOR_GP, USER_STACK_SEG & ~3 },
		{ 0, CODE64, ABSENT_DATA, VECTOR_SS, ABSENT_DATA },
		{ 0, CODE64, CODE32, VECTOR_GP, CODE32 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		world_mode(LONG, 0);
		put_frame(8, rows[i].rip, rows[i].cs, 2, USER_STACK, rows[i].ss);
		if (EXEC(0x48, 0xcf) != rows[i].vector || cpu()->exception.error != rows[i].error)
			fail_msg("row %zu: vector %d, error %#x", i, cpu()->exception.vector,
				cpu()->exception.error);
		assert_int_equal(cpu()->cpl, 0);
		assert_int_equal(cpu()->gpr[RSP], KERNEL_STACK - 0x40);
	}
	/* To an inner ring; with NT. */
	world_mode(LONG, 3);
	put_frame(8, 0, CODE64, 2, KERNEL_STACK, STACK);
	assert_raises(VECTOR_GP, CODE64, 0x48, 0xcf);
	world_mode(LONG, 0);
	cpu()->other_flags = FLAG_NT;
	assert_raises(VECTOR_GP, 0, 0x48, 0xcf);
	world_mode(PROTECTED, 0);
	cpu()->other_flags = FLAG_NT;
	assert_raises(VECTOR_TS, 0, 0xcf);
	world_mode(PROTECTED, 0);
	put_frame(4, 0, CODE32, FLAG_VM, 0, 0);
	assert_raises(VECTOR_GP, 0, 0xcf);
}

/* ---- flags by ring ---- */

static void popf_changes_what_the_ring_may(void **state)
{
	(void)state;
	const uint64_t all = UINT64_C(0xffffffffffffffff);
	const uint64_t always = FLAGS_ARITH | FLAG_TF | FLAG_DF | FLAG_NT | FLAG_AC | FLAG_ID | 2;
	world_mode(LONG, 0);
	put(KERNEL_STACK, all, 8);
	assert_runs(0x9d);
	assert_int_equal(soft_flags(cpu()), always | FLAG_IF | FLAG_IOPL);
	world_mode(LONG, 3);
	put(USER_STACK, all, 8);
	assert_runs(0x9d);
	assert_int_equal(soft_flags(cpu()), always);
	world_mode(LONG, 3);
	cpu()->other_flags = FLAG_IOPL;
	put(USER_STACK, FLAG_IF, 8);
	assert_runs(0x9d);
	assert_int_equal(soft_flags(cpu()), FLAG_IF | FLAG_IOPL | 2);
	cpu()->other_flags = FLAG_AC | FLAG_IF | FLAG_RF;
	cpu()->gpr[RSP] = USER_STACK;
	assert_runs(0x9c);
	assert_int_equal(get(USER_STACK - 8, 8), FLAG_AC | FLAG_IF | 2);
	/* 16 bits leave the upper half. */
	world_mode(LONG, 0);
	cpu()->other_flags = FLAG_AC;
	put(KERNEL_STACK, 2, 8);
	assert_runs(0x66, 0x9d);
	assert_int_equal(soft_flags(cpu()), FLAG_AC | 2);
}

static void interrupts_are_allowed_by_iopl(void **state)
{
	(void)state;
	world_mode(LONG, 3);
	assert_raises(VECTOR_GP, 0, 0xfa);
	assert_raises(VECTOR_GP, 0, 0xfb);
	assert_raises(VECTOR_GP, 0, 0xf4);
	assert_int_equal(EXEC(0x0f, 0x01, 0xcb), VECTOR_UD); /* stac */
	world_mode(LONG, 0);
	assert_runs(0xfb);
	assert_true(cpu()->is_inhibited);
	assert_int_equal(cpu()->other_flags, FLAG_IF);
	cpu()->is_inhibited = false;
	assert_runs(0xfb);
	assert_false(cpu()->is_inhibited); /* IF was set */
	assert_runs(0xfa);
	assert_int_equal(cpu()->other_flags, 0);
	assert_runs(0xf4);
	assert_true(cpu()->is_halted);
	cpu()->cr4 |= CR4_SMAP;
	assert_runs(0x0f, 0x01, 0xcb);
	assert_int_equal(cpu()->view, VIEW_KERNEL_AC);
	assert_runs(0x0f, 0x01, 0xca);
	assert_int_equal(cpu()->view, VIEW_KERNEL);
}

static void software_interrupts_say_how_long_they_are(void **state)
{
	(void)state;
	uint64_t here = world->code;
	assert_int_equal(EXEC(0xcd, 0x80), 0x80);
	assert_true(cpu()->exception.is_software);
	assert_int_equal(cpu()->exception.len, 2);
	assert_int_equal(cpu()->rip, here);
	assert_int_equal(EXEC(0xcc), VECTOR_BP);
	assert_int_equal(cpu()->exception.len, 1);
	assert_int_equal(EXEC(0xf1), VECTOR_DB);
	assert_false(cpu()->exception.is_software);
	assert_runs(0xce);
	cpu()->arith |= 1;
	assert_int_equal(EXEC(0xce), VECTOR_OF);
}

/* ---- syscall and its like ---- */

static void set_vendor(bool is_amd)
{
	world->machine.model.is_amd = is_amd;
	cpu()->msr.star = (uint64_t)0x1b << 48 | (uint64_t)CODE64 << 32 | 0x11223344;
	cpu()->msr.lstar = UINT64_C(0xffff800000001000);
	cpu()->msr.cstar = UINT64_C(0xffff800000002000);
	cpu()->msr.sfmask = FLAG_IF | FLAG_TF | FLAG_AC | FLAG_CF;
}

static void syscall_and_sysret_go_there_and_back(void **state)
{
	(void)state;
	for (unsigned amd = 0; amd < 2; amd++) {
		world_mode(LONG, 3);
		set_vendor(amd != 0);
		cpu()->other_flags = FLAG_IF | FLAG_DF;
		cpu()->arith = 0x0300;
		uint64_t here = world->code;
		assert_runs(0x0f, 0x05);
		assert_int_equal(cpu()->rip, UINT64_C(0xffff800000001000));
		assert_int_equal(cpu()->cpl, 0);
		assert_int_equal(cpu()->code_size, 8);
		assert_int_equal(cpu()->gpr[RCX], here + 2);
		assert_int_equal(cpu()->gpr[R11], FLAG_IF | FLAG_DF | FLAG_CF | 2);
		assert_int_equal(soft_flags(cpu()), FLAG_DF | 2);
		assert_int_equal(cpu()->seg[SEG_CS].selector, CODE64);
		assert_int_equal(cpu()->seg[SEG_SS].selector, CODE64 + 8);
		assert_int_equal(cpu()->gpr[RSP], USER_STACK);
		cpu()->gpr[R11] |= FLAG_RF | FLAG_VM;
		assert_runs(0x48, 0x0f, 0x07);
		assert_int_equal(cpu()->rip, here + 2);
		assert_int_equal(cpu()->cpl, 3);
		assert_int_equal(cpu()->code_size, 8);
		assert_int_equal(cpu()->seg[SEG_CS].selector, 0x2b);
		assert_int_equal(cpu()->seg[SEG_SS].selector, 0x23);
		assert_int_equal(soft_flags(cpu()), FLAG_IF | FLAG_DF | FLAG_CF | 2);
	}
}

static void syscall_is_amds_in_compatibility_mode(void **state)
{
	(void)state;
	world_mode(LONG, 3);
	set_vendor(true);
	cpu()->seg[SEG_CS] = segment_at(USER_CODE32);
	soft_settle(cpu());
	assert_runs(0x0f, 0x05);
	assert_int_equal(cpu()->rip, UINT64_C(0xffff800000002000));
	assert_runs(0x0f, 0x07); /* sysret, 32 bits */
	assert_int_equal(cpu()->code_size, 4);
	assert_int_equal(cpu()->seg[SEG_CS].selector, 0x1b);
	world_mode(LONG, 3);
	set_vendor(false);
	cpu()->seg[SEG_CS] = segment_at(USER_CODE32);
	soft_settle(cpu());
	assert_int_equal(EXEC(0x0f, 0x05), VECTOR_UD);
	world_mode(PROTECTED, 3);
	set_vendor(true);
	cpu()->efer = EFER_SCE;
	assert_runs(0x0f, 0x05);
	assert_int_equal(cpu()->rip, 0x11223344);
}

static void syscall_and_sysret_are_checked(void **state)
{
	(void)state;
	world_mode(LONG, 3);
	set_vendor(true);
	assert_raises(VECTOR_GP, 0, 0x48, 0x0f, 0x07);
	cpu()->efer &= ~(uint64_t)EFER_SCE;
	assert_int_equal(EXEC(0x0f, 0x05), VECTOR_UD);
	world_mode(LONG, 0);
	set_vendor(false);
	cpu()->gpr[RCX] = UINT64_C(1) << 47;
	assert_raises(VECTOR_GP, 0, 0x48, 0x0f, 0x07);
	assert_int_equal(cpu()->cpl, 0);
	set_vendor(true); /* goes there; the fetch fails */
	assert_runs(0x48, 0x0f, 0x07);
	assert_int_equal(cpu()->cpl, 3);
	assert_int_equal(run_some(1), VECTOR_GP);
}

static void sysenter_is_intels_in_long_mode(void **state)
{
	(void)state;
	world_mode(LONG, 3);
	set_vendor(false);
	cpu()->msr.sysenter_cs = CODE64;
	cpu()->msr.sysenter_esp = KERNEL_STACK;
	cpu()->msr.sysenter_eip = UINT64_C(0xffff800000003000);
	cpu()->other_flags = FLAG_IF;
	assert_runs(0x0f, 0x34);
	assert_int_equal(cpu()->rip, UINT64_C(0xffff800000003000));
	assert_int_equal(cpu()->gpr[RSP], KERNEL_STACK);
	assert_int_equal(cpu()->cpl, 0);
	assert_int_equal(cpu()->other_flags, 0);
	cpu()->gpr[RDX] = 0x1000;
	cpu()->gpr[RCX] = USER_STACK;
	assert_runs(0x48, 0x0f, 0x35);
	assert_int_equal(cpu()->cpl, 3);
	assert_int_equal(cpu()->seg[SEG_CS].selector, (CODE64 + 32) | 3);
	assert_int_equal(cpu()->rip, 0x1000);
	assert_int_equal(cpu()->gpr[RSP], USER_STACK);
	set_vendor(true);
	assert_int_equal(EXEC(0x0f, 0x34), VECTOR_UD);
	world_mode(PROTECTED, 3);
	cpu()->msr.sysenter_cs = 0;
	assert_raises(VECTOR_GP, 0, 0x0f, 0x34);
}

static void bases_are_swapped_and_written(void **state)
{
	(void)state;
	world_mode(LONG, 0);
	cpu()->seg[SEG_GS].base = 1;
	cpu()->msr.kernel_gs_base = 2;
	assert_runs(0x0f, 0x01, 0xf8);
	assert_int_equal(cpu()->seg[SEG_GS].base, 2);
	assert_int_equal(cpu()->msr.kernel_gs_base, 1);
	assert_int_equal(EXEC(0xf3, 0x48, 0x0f, 0xae, 0xd8), VECTOR_UD); /* wrgsbase rax */
	cpu()->cr4 |= CR4_FSGSBASE;
	cpu()->gpr[RAX] = UINT64_C(1) << 60;
	assert_raises(VECTOR_GP, 0, 0xf3, 0x48, 0x0f, 0xae, 0xd8);
	cpu()->gpr[RAX] = 0x7777;
	assert_runs(0xf3, 0x48, 0x0f, 0xae, 0xd8);
	assert_int_equal(cpu()->seg[SEG_GS].base, 0x7777);
	assert_runs(0xf3, 0x48, 0x0f, 0xae, 0xcb); /* rdgsbase rbx */
	assert_int_equal(cpu()->gpr[RBX], 0x7777);
	world_mode(LONG, 3);
	assert_raises(VECTOR_GP, 0, 0x0f, 0x01, 0xf8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(loads_take_base_limit_and_rights_and_mark_the_descriptor),
		WORLD_TEST(loads_are_checked),
		WORLD_TEST(long_mode_has_null_stack_segments_but_not_in_ring_3),
		WORLD_TEST(real_mode_sets_bases_and_keeps_limits),
		WORLD_TEST(selectors_are_pushed_popped_and_read),
		WORLD_TEST(far_pointers_load_both),
		WORLD_TEST(limits_and_rights_hold_outside_64_bit_mode),
		WORLD_TEST(questions_about_descriptors_set_zf),
		WORLD_TEST(table_registers_are_loaded_and_stored),
		WORLD_TEST(task_and_local_tables_are_checked),
		WORLD_TEST(far_jumps_are_checked),
		WORLD_TEST(far_calls_push_and_far_returns_pop),
		WORLD_TEST(far_returns_to_an_outer_ring_forget_inner_segments),
		WORLD_TEST(iret_within_a_ring_leaves_the_stack_segment),
		WORLD_TEST(iret_in_real_mode_pops_three_words),
		WORLD_TEST(iretq_goes_to_ring_3_and_to_compatibility_mode),
		WORLD_TEST(iretq_within_ring_0_pops_the_stack_too),
		WORLD_TEST(iret_is_checked),
		WORLD_TEST(popf_changes_what_the_ring_may),
		WORLD_TEST(interrupts_are_allowed_by_iopl),
		WORLD_TEST(software_interrupts_say_how_long_they_are),
		WORLD_TEST(syscall_and_sysret_go_there_and_back),
		WORLD_TEST(syscall_is_amds_in_compatibility_mode),
		WORLD_TEST(syscall_and_sysret_are_checked),
		WORLD_TEST(sysenter_is_intels_in_long_mode),
		WORLD_TEST(bases_are_swapped_and_written),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
