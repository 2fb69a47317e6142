/* Delivery of exceptions and interrupts: where each goes, with which frame, in all modes. */
#include "soft_world.h"

#define GP(code) \
	((struct soft_exception){ .vector = VECTOR_GP, .has_error = true, .error = (code) })
#define UD ((struct soft_exception){ .vector = VECTOR_UD })
#define PF ((struct soft_exception){ .vector = VECTOR_PF, .has_error = true, .error = 2 })
#define SOFTWARE(n, length) \
	((struct soft_exception){ .vector = (n), .is_software = true, .len = (length) })

static void assert_at(unsigned vector)
{
	assert_int_equal(world->v.rip, handler_of(vector));
}

/* ---- real mode ---- */

static void real_mode_pushes_three_words_and_clears_if_tf_ac(void **state)
{
	(void)state;
	struct soft_vcpu *v = &world->v;
	world_mode(REAL, 0);
	put(6 * 4, 0x12345678, 4);
	v->seg[SEG_CS].selector = 0x42;
	v->other_flags = FLAG_IF | FLAG_TF | FLAG_AC | FLAG_DF;
	assert_true(deliver(UD));
	assert_int_equal(v->rip, 0x5678);
	assert_int_equal(v->seg[SEG_CS].selector, 0x1234);
	assert_int_equal(v->seg[SEG_CS].base, 0x12340);
	assert_int_equal(v->gpr[RSP], 0xf000 - 6);
	assert_int_equal(frame(0, 2), CODE);
	assert_int_equal(frame(1, 2), 0x42);
	assert_int_equal(frame(2, 2), FLAG_IF | FLAG_TF | FLAG_DF | 2);
	assert_int_equal(v->other_flags, FLAG_DF);
}

static void real_mode_has_no_error_codes_and_software_interrupts_return_behind(void **state)
{
	(void)state;
	world_mode(REAL, 0);
	put(13 * 4, 0x00010000, 4);
	put(0x21 * 4, 0x00020000, 4);
	assert_true(deliver(GP(8)));
	assert_int_equal(world->v.gpr[RSP], 0xf000 - 6);
	assert_true(deliver(SOFTWARE(0x21, 2)));
	assert_int_equal(frame(0, 2), CODE + 2);
}

static void real_mode_shuts_down_without_a_table(void **state)
{
	(void)state;
	world_mode(REAL, 0);
	world->v.idt.limit = 0;
	assert_false(deliver(UD));
}

/* ---- protected mode ---- */

static void same_ring_frames_have_no_stack(void **state)
{
	(void)state;
	struct soft_vcpu *v = &world->v;
	v->other_flags = FLAG_IF | FLAG_TF | FLAG_NT;
	v->arith = 0x0200 | 0x4000 | 1;
	assert_true(deliver(GP(0x18)));
	assert_at(VECTOR_GP);
	assert_int_equal(v->gpr[RSP], KERNEL_STACK - 16);
	assert_int_equal(frame(0, 4), 0x18);
	assert_int_equal(frame(1, 4), CODE);
	assert_int_equal(frame(2, 4), CODE32);
	assert_int_equal(frame(3, 4),
		FLAG_IF | FLAG_TF | FLAG_NT | FLAG_RF | FLAG_ZF | FLAG_OF | 2);
	assert_int_equal(v->other_flags, 0);
	assert_int_equal(v->seg[SEG_CS].selector, CODE32);
}

static void trap_gates_leave_if(void **state)
{
	(void)state;
	put_gate(VECTOR_UD, 15, 0, CODE32, 0);
	world->v.other_flags = FLAG_IF | FLAG_TF;
	assert_true(deliver(UD));
	assert_int_equal(world->v.other_flags, FLAG_IF);
	assert_int_equal(world->v.gpr[RSP], KERNEL_STACK - 12);
}

static void old_gates_have_frames_of_16_bits(void **state)
{
	(void)state;
	put_gate(VECTOR_GP, 6, 0, CODE16, 0);
	assert_true(deliver(GP(0x55)));
	assert_int_equal(world->v.gpr[RSP], KERNEL_STACK - 8);
	assert_int_equal(frame(0, 2), 0x55);
	assert_int_equal(frame(1, 2), CODE);
	assert_int_equal(frame(2, 2), CODE32);
	assert_int_equal(world->v.rip, (uint16_t)handler_of(VECTOR_GP));
	assert_int_equal(world->v.code_size, 2);
}

static void an_inner_ring_has_its_stack_from_the_tss(void **state)
{
	(void)state;
	struct soft_vcpu *v = &world->v;
	world_mode(PROTECTED, 3);
	assert_int_equal(v->cpl, 3);
	assert_true(deliver(GP(0x10)));
	assert_at(VECTOR_GP);
	assert_int_equal(v->cpl, 0);
	assert_int_equal(v->seg[SEG_SS].selector, STACK);
	assert_int_equal(v->gpr[RSP], KERNEL_STACK - 24);
	assert_int_equal(frame(0, 4), 0x10);
	assert_int_equal(frame(2, 4), USER_CODE32);
	assert_int_equal(frame(4, 4), USER_STACK);
	assert_int_equal(frame(5, 4), USER_STACK_SEG);
}

static void conforming_handlers_run_in_the_ring_they_interrupt(void **state)
{
	(void)state;
	struct soft_vcpu *v = &world->v;
	world_mode(PROTECTED, 3);
	put_gate(VECTOR_UD, 14, 0, CONFORMING, 0);
	assert_true(deliver(UD));
	assert_int_equal(v->cpl, 3);
	assert_int_equal(v->seg[SEG_CS].selector, CONFORMING | 3);
	assert_int_equal(v->gpr[RSP], USER_STACK - 12);
}

static void software_interrupts_need_the_gates_privilege(void **state)
{
	(void)state;
	world_mode(PROTECTED, 3);
	assert_true(deliver(SOFTWARE(0x80, 2)));
	assert_at(VECTOR_GP);
	assert_int_equal(frame(0, 4), 0x80 * 8 + 2);
	assert_int_equal(frame(1, 4), CODE); /* the instruction, not behind it */
	world_mode(PROTECTED, 3);
	put_gate(0x80, 15, 3, CODE32, 0);
	assert_true(deliver(SOFTWARE(0x80, 2)));
	assert_at(0x80);
	assert_int_equal(frame(0, 4), CODE + 2);
	assert_int_equal(frame(2, 4) & FLAG_RF, 0);
}

/* The error code of the exception that a bad gate makes of an interrupt, and its vector. */
static void assert_becomes(struct soft_exception e, unsigned vector, uint32_t error)
{
	unsigned width = (world->v.efer & EFER_LMA) != 0 ? 8 : 4;
	assert_true(deliver(e));
	assert_at(vector);
	assert_int_equal(frame(0, width), error);
}

static const struct soft_exception external = { .vector = 0x40, .is_external = true };

static void bad_gates_are_told_by_their_error_codes(void **state)
{
	(void)state;
	const uint32_t gate = 0x40 * 8 + 2;
	static const struct {
		unsigned type;
		uint16_t selector;
		unsigned vector;
		uint32_t error;
	} rows[] = {
		{ 12, CODE32, VECTOR_GP, 0x40 * 8 + 2 }, /* no gate of an IDT */
		{ 5, CODE32, VECTOR_TS, 0x40 * 8 + 2 },  /* a task gate */
		{ 14, 0, VECTOR_GP, 0 },
		{ 14, GDT_END, VECTOR_GP, GDT_END },
		{ 14, STACK, VECTOR_GP, STACK },                  /* no code */
		{ 14, USER_CODE32, VECTOR_GP, USER_CODE32 & ~3 }, /* an outer ring's */
		{ 14, ABSENT_CODE, VECTOR_NP, ABSENT_CODE },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		world_mode(PROTECTED, 0);
		put_gate(0x40, rows[i].type, 0, rows[i].selector, 0);
		assert_becomes(SOFTWARE(0x40, 2), rows[i].vector, rows[i].error);
		world_mode(PROTECTED, 0);
		put_gate(0x40, rows[i].type, 0, rows[i].selector, 0);
		assert_becomes(external, rows[i].vector, rows[i].error | 1);
	}
	world_mode(PROTECTED, 0);
	put(IDT + 0x40 * 8 + 5, 0x0e, 1); /* not present */
	assert_becomes(external, VECTOR_NP, gate | 1);
	world_mode(PROTECTED, 0);
	world->v.idt.limit = 0x40 * 8 + 6;
	assert_becomes(external, VECTOR_GP, gate | 1);
}

static void bad_inner_stacks_are_invalid_tss(void **state)
{
	(void)state;
	static const struct {
		uint16_t ss;
		unsigned vector;
		uint32_t error;
	} rows[] = {
		{ 0, VECTOR_TS, 1 },
		{ GDT_END, VECTOR_TS, GDT_END | 1 },
		{ STACK | 3, VECTOR_TS, STACK | 1 },       /* RPL */
		{ INNER_DATA, VECTOR_TS, INNER_DATA | 1 }, /* DPL */
		{ READ_ONLY_DATA, VECTOR_TS, READ_ONLY_DATA | 1 },
		{ CODE32, VECTOR_TS, CODE32 | 1 },
		{ ABSENT_DATA, VECTOR_SS, ABSENT_DATA | 1 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		world_mode(PROTECTED, 3);
		/* What it becomes is handled in ring 3, by a conforming handler. */
		put_gate(rows[i].vector, 14, 0, CONFORMING, 0);
		put(TSS + 8, rows[i].ss, 2);
		assert_becomes(external, rows[i].vector, rows[i].error);
	}
	world_mode(PROTECTED, 3);
	put_gate(VECTOR_TS, 14, 0, CONFORMING, 0);
	world->v.seg[SEG_TR].limit = 8;
	assert_becomes(external, VECTOR_TS, TASK | 1);
	world_mode(PROTECTED, 3);
	put_gate(VECTOR_SS, 14, 0, CONFORMING, 0);
	put(TSS + 4, 8, 4); /* ESP: no room, in a segment that does not wrap */
	put(TSS + 8, STACK16, 2);
	put_descriptor(GDT + STACK16, 0, 0xfff, 0x093);
	assert_becomes(external, VECTOR_SS, STACK16 | 1);
}

static void a_stack_without_room_is_a_stack_fault(void **state)
{
	(void)state;
	/* 16-bit stack in the old ring: frame beyond its limit.  #SS has the same stack: #DF has,
	 * too. */
	world->v.seg[SEG_SS].limit = 0x100;
	assert_false(deliver(UD));
}

static void handlers_beyond_their_segment_are_general_protection(void **state)
{
	(void)state;
	put_descriptor(GDT + CODE16, 0, 0xff, 0x49b);
	put_gate(0x40, 14, 0, CODE16, 0);
	assert_becomes(external, VECTOR_GP, 1);
	world_mode(PROTECTED, 0);
	put_gate(0x40, 14, 0, CODE16, 0);
	assert_becomes(SOFTWARE(0x40, 2), VECTOR_GP, 0);
}

/* ---- long mode ---- */

static void long_mode_aligns_the_stack_and_always_pushes_it(void **state)
{
	(void)state;
	struct soft_vcpu *v = &world->v;
	world_mode(LONG, 0);
	v->gpr[RSP] = KERNEL_STACK - 7;
	v->other_flags = FLAG_IF | FLAG_AC;
	assert_true(deliver(UD));
	assert_at(VECTOR_UD);
	assert_int_equal(v->gpr[RSP], KERNEL_STACK - 16 - 40);
	assert_int_equal(frame(0, 8), CODE);
	assert_int_equal(frame(1, 8), CODE64);
	assert_int_equal(frame(2, 8), FLAG_IF | FLAG_AC | FLAG_RF | 2);
	assert_int_equal(frame(3, 8), KERNEL_STACK - 7);
	assert_int_equal(frame(4, 8), STACK);
	assert_int_equal(v->seg[SEG_SS].selector, STACK);
	assert_int_equal(v->other_flags, FLAG_AC); /* SMAP's is cleared by software */
}

static void long_mode_from_user_loads_a_null_stack_segment(void **state)
{
	(void)state;
	struct soft_vcpu *v = &world->v;
	world_mode(LONG, 3);
	put(TSS + 4, KERNEL_STACK - 8, 8);
	assert_true(deliver(PF));
	assert_at(VECTOR_PF);
	assert_int_equal(v->cpl, 0);
	assert_int_equal(v->seg[SEG_SS].selector, 0);
	assert_int_equal(v->gpr[RSP], KERNEL_STACK - 16 - 48);
	assert_int_equal(frame(0, 8), 2);
	assert_int_equal(frame(4, 8), USER_STACK);
	assert_int_equal(frame(5, 8), USER_STACK_SEG);
}

static void from_compatibility_mode_the_frame_is_64_bits_wide(void **state)
{
	(void)state;
	struct soft_vcpu *v = &world->v;
	world_mode(LONG, 3);
	v->seg[SEG_CS] = segment_at(USER_CODE32);
	soft_settle(v);
	assert_int_equal(v->code_size, 4);
	put_gate(0x80, 14, 3, CODE64, 0);
	assert_true(deliver(SOFTWARE(0x80, 2)));
	assert_int_equal(v->code_size, 8);
	assert_int_equal(frame(0, 8), CODE + 2);
	assert_int_equal(frame(1, 8), USER_CODE32);
}

static void interrupt_stacks_are_used_from_every_ring(void **state)
{
	(void)state;
	static const unsigned rings[] = { 0, 3 };
	for (size_t i = 0; i < ARRAY_LEN(rings); i++) {
		world_mode(LONG, rings[i]);
		put_gate(VECTOR_NMI, 14, 0, CODE64, 1);
		assert_true(soft_interrupt(&world->v, VECTOR_NMI));
		assert_int_equal(world->v.gpr[RSP], IST_STACK - 40);
		assert_true(world->v.is_nmi_blocked);
	}
}

static void long_mode_checks_its_gates_and_stacks(void **state)
{
	(void)state;
	world_mode(LONG, 0);
	put_gate(0x40, 6, 0, CODE64, 0);
	assert_becomes(external, VECTOR_GP, 0x40 * 8 + 3);
	world_mode(LONG, 0);
	put_gate(0x40, 14, 0, CODE32, 0); /* not 64-bit code */
	assert_becomes(external, VECTOR_GP, CODE32 | 1);
	world_mode(LONG, 0);
	put(IDT + 0x40 * 16 + 8, 0x8000, 8); /* a handler that is not canonical */
	assert_becomes(external, VECTOR_GP, 1);
	world_mode(LONG, 3);
	put(TSS + 4, UINT64_C(1) << 60, 8);
	put_gate(VECTOR_SS, 14, 0, CODE64, 1);
	assert_becomes(external, VECTOR_SS, 1);
	world_mode(LONG, 3);
	put(TSS + 36, IST_STACK, 8);
	put_gate(VECTOR_TS, 14, 0, CODE64, 1);
	put_gate(0x40, 14, 0, CODE64, 7);
	world->v.seg[SEG_TR].limit = 0x53;
	assert_becomes(external, VECTOR_TS, TASK | 1);
	world_mode(LONG, 0);
	world->v.idt.limit = 0x40 * 16 + 14;
	assert_becomes(external, VECTOR_GP, 0x40 * 8 + 3);
}

/* ---- one behind another ---- */

/* A handler that is not there raises #NP, which is of the contributory kind. */
static void absent(unsigned vector)
{
	put(IDT + vector * 16 + 5, 0x0e, 1);
}

static void faults_of_delivery_combine_as_the_table_says(void **state)
{
	(void)state;
	/* first: contributory, benign; on the way: #NP */
	world_mode(LONG, 0);
	absent(VECTOR_GP);
	assert_becomes(GP(8), VECTOR_DF, 0);
	world_mode(LONG, 0);
	absent(VECTOR_UD);
	assert_becomes(UD, VECTOR_NP, VECTOR_UD * 8 + 3);
	world_mode(LONG, 0);
	absent(VECTOR_PF);
	assert_becomes(PF, VECTOR_DF, 0);
	/* an external interrupt, even of that number, is benign */
	world_mode(LONG, 0);
	absent(VECTOR_GP);
	assert_becomes((struct soft_exception){ .vector = VECTOR_GP, .is_external = true },
		VECTOR_NP, VECTOR_GP * 8 + 3);
}

static void page_faults_on_the_way_combine_too(void **state)
{
	(void)state;
	struct soft_vcpu *v = &world->v;
	/* A stack that is not there, for the first only. */
	world_mode(LONG, 0);
	v->gpr[RSP] = NOWHERE + 0x100;
	put_gate(VECTOR_PF, 14, 0, CODE64, 1);
	assert_becomes(GP(8), VECTOR_PF, 2);
	assert_int_equal(v->cr2, NOWHERE + 0x100 - 48);
	world_mode(LONG, 0);
	v->gpr[RSP] = NOWHERE + 0x100;
	put_gate(VECTOR_DF, 14, 0, CODE64, 1);
	assert_becomes(PF, VECTOR_DF, 0);
	assert_int_equal(frame(4, 8), NOWHERE + 0x100); /* nothing was changed before */
	world_mode(LONG, 0);
	v->gpr[RSP] = READ_ONLY + 0x100;
	put_gate(VECTOR_PF, 14, 0, CODE64, 1);
	assert_becomes(UD, VECTOR_PF, 3);
}

static void a_third_fault_shuts_down(void **state)
{
	(void)state;
	world_mode(LONG, 0);
	absent(VECTOR_GP);
	absent(VECTOR_DF);
	assert_false(deliver(GP(0)));
	world_mode(LONG, 0);
	world->v.gpr[RSP] = NOWHERE + 0x100;
	assert_false(deliver(PF));
	/* From a benign one it takes four. */
	world_mode(LONG, 0);
	world->v.idt.limit = 0;
	assert_false(deliver(UD));
}

static void fixed_interrupts_say_what_they_are(void **state)
{
	(void)state;
	world_mode(LONG, 0);
	world->v.is_halted = world->v.is_inhibited = true;
	assert_true(soft_interrupt(&world->v, 0x40));
	assert_at(0x40);
	assert_false(world->v.is_halted || world->v.is_inhibited);
	assert_int_equal(world->v.gpr[RSP], KERNEL_STACK - 40);
	assert_int_equal(frame(2, 8) & FLAG_RF, 0);
	assert_false(world->v.is_nmi_blocked);
}

static void smap_guards_tables_and_stacks(void **state)
{
	(void)state;
	struct soft_vcpu *v = &world->v;
	/* All pages here are a user's: with SMAP no table can be read. */
	world_mode(LONG, 0);
	v->cr4 |= CR4_SMAP;
	v->other_flags = FLAG_AC;
	soft_settle(v);
	soft_tlb_flush(v, true);
	assert_false(deliver(UD));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(real_mode_pushes_three_words_and_clears_if_tf_ac),
		WORLD_TEST(real_mode_has_no_error_codes_and_software_interrupts_return_behind),
		WORLD_TEST(real_mode_shuts_down_without_a_table),
		WORLD_TEST(same_ring_frames_have_no_stack),
		WORLD_TEST(trap_gates_leave_if),
		WORLD_TEST(old_gates_have_frames_of_16_bits),
		WORLD_TEST(an_inner_ring_has_its_stack_from_the_tss),
		WORLD_TEST(conforming_handlers_run_in_the_ring_they_interrupt),
		WORLD_TEST(software_interrupts_need_the_gates_privilege),
		WORLD_TEST(bad_gates_are_told_by_their_error_codes),
		WORLD_TEST(bad_inner_stacks_are_invalid_tss),
		WORLD_TEST(a_stack_without_room_is_a_stack_fault),
		WORLD_TEST(handlers_beyond_their_segment_are_general_protection),
		WORLD_TEST(long_mode_aligns_the_stack_and_always_pushes_it),
		WORLD_TEST(long_mode_from_user_loads_a_null_stack_segment),
		WORLD_TEST(from_compatibility_mode_the_frame_is_64_bits_wide),
		WORLD_TEST(interrupt_stacks_are_used_from_every_ring),
		WORLD_TEST(long_mode_checks_its_gates_and_stacks),
		WORLD_TEST(faults_of_delivery_combine_as_the_table_says),
		WORLD_TEST(page_faults_on_the_way_combine_too),
		WORLD_TEST(a_third_fault_shuts_down),
		WORLD_TEST(fixed_interrupts_say_what_they_are),
		WORLD_TEST(smap_guards_tables_and_stacks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
