/* A guest that does anything: system instructions with random operands, in all modes, over tables
 * that are damaged.  Whatever comes out, the processor is one that could be. */
#include "soft_world.h"

enum { ROUNDS = 200000, ROUNDS_OF_A_WORLD = 64, FRAME = KERNEL_STACK - 0x100 };

static uint64_t seed;

static uint64_t next(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static uint64_t below(uint64_t n)
{
	return next() % n;
}

/* A number that may mean something. */
static uint64_t some_value(void)
{
	switch (below(8)) {
	case 0: return 0;
	case 1: return UINT64_MAX;
	case 2: return UINT64_C(1) << below(64);
	case 3: return below(256);
	case 4: return below(WORLD_RAM);
	case 5: return DATA + below(4096);
	case 6: return below(24) * 8 + below(4);
	default: return next();
	}
}

/* Length, then opcode; what follows is random. */
static const uint8_t opcodes[][5] = {
	{ 1, 0x06 },
	{ 1, 0x07 },
	{ 1, 0x17 },
	{ 1, 0x1f },
	{ 1, 0x63 },
	{ 1, 0x8c },
	{ 1, 0x8e },
	{ 1, 0x9a },
	{ 1, 0x9c },
	{ 1, 0x9d },
	{ 1, 0xc4 },
	{ 1, 0xc5 },
	{ 1, 0xca },
	{ 1, 0xcb },
	{ 1, 0xcc },
	{ 1, 0xcd },
	{ 1, 0xce },
	{ 1, 0xcf },
	{ 1, 0xd9 },
	{ 1, 0xdb },
	{ 1, 0xdd },
	{ 1, 0xdf },
	{ 1, 0xe4 },
	{ 1, 0xe5 },
	{ 1, 0xea },
	{ 1, 0xec },
	{ 1, 0xef },
	{ 1, 0xf1 },
	{ 1, 0xfa },
	{ 1, 0xfb },
	{ 1, 0xff },
	{ 2, 0x0f, 0x00 },
	{ 2, 0x0f, 0x01 },
	{ 2, 0x0f, 0x02 },
	{ 2, 0x0f, 0x03 },
	{ 2, 0x0f, 0x05 },
	{ 2, 0x0f, 0x06 },
	{ 2, 0x0f, 0x07 },
	{ 2, 0x0f, 0x20 },
	{ 2, 0x0f, 0x21 },
	{ 2, 0x0f, 0x22 },
	{ 2, 0x0f, 0x23 },
	{ 2, 0x0f, 0x30 },
	{ 2, 0x0f, 0x32 },
	{ 2, 0x0f, 0x34 },
	{ 2, 0x0f, 0x35 },
	{ 2, 0x0f, 0xa1 },
	{ 2, 0x0f, 0xa2 },
	{ 2, 0x0f, 0xa9 },
	{ 2, 0x0f, 0xae },
	{ 2, 0x0f, 0xb2 },
	{ 2, 0x0f, 0xc7 },
	{ 2, 0x48, 0xcb },
	{ 2, 0x48, 0xcf },
	{ 2, 0xf3, 0x6c },
	{ 2, 0xf3, 0x6d },
	{ 2, 0xf3, 0x6e },
	{ 3, 0x48, 0x0f, 0x07 },
	{ 3, 0x48, 0x0f, 0x35 },
	{ 3, 0x48, 0x0f, 0xae },
	{ 3, 0x0f, 0x01, 0xca },
	{ 3, 0x0f, 0x01, 0xcb },
	{ 3, 0x0f, 0x22, 0xc0 },
	{ 3, 0x0f, 0x22, 0xe0 },
	{ 4, 0x66, 0x0f, 0x38, 0x82 },
};

static void new_world(void)
{
	struct soft_vcpu *v = &world->v;
	put_gdt();
	put_page_tables();
	world_mode((enum world_mode)below(3), below(2) == 0 ? 0 : 3);
	world->machine.model.is_amd = below(2) == 0;
	for (unsigned i = 0; i < below(4); i++)
		put(below(DATA), some_value(), 8);
	for (unsigned i = 0; i < below(3); i++)
		put(GDT + below(GDT_END), some_value(), 1 + below(8));
	/* Ring 0's code is in a user's pages. */
	if (below(4) == 0)
		v->cr4 |= next() & soft_cr4_known(v) & ~(uint64_t)(CR4_SMEP | CR4_PCIDE);
	soft_settle(v);
	soft_tlb_flush(v, true);
}

static uint16_t some_selector(void)
{
	return (uint16_t)(below(GDT_END / 8) * 8 | below(4));
}

/* As a far return, or IRET, would find it. */
static void put_some_frame(void)
{
	const unsigned width = 2u << below(3);
	static const uint16_t likely[] = { CODE32, CODE64, USER_CODE32, USER_CODE64 };
	const uint16_t cs = below(2) == 0 ? some_selector() : likely[below(ARRAY_LEN(likely))];
	const uint16_t ss = below(2) == 0   ? some_selector()
			    : (cs & 3) == 3 ? USER_STACK_SEG
					    : STACK;
	const uint64_t words[] = { CODE, cs, some_value(), FRAME, ss };
	world->v.gpr[RSP] = FRAME;
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		put(FRAME + i * width, words[i], width);
}

static void random_state(void)
{
	struct soft_vcpu *v = &world->v;
	static const uint8_t bits[] = { 0, 1, 2, 3, 5, 7, 8, 11, 16, 17, 18, 21, 31 };
	const uint64_t bit = UINT64_C(1) << bits[below(sizeof(bits))];
	const uint64_t likely[] = { v->cr0 ^ bit, v->cr4 ^ bit, v->efer ^ bit, some_selector() };
	for (unsigned i = 0; i < 3; i++)
		v->gpr[below(16)] = some_value();
	v->gpr[RAX] = likely[below(ARRAY_LEN(likely))];
	if (below(3) == 0)
		v->gpr[RSP] = FRAME + below(64);
	for (unsigned i = 0; i < below(6); i++)
		put(FRAME + below(128), some_value(), 8);
	if (below(3) == 0)
		put_some_frame();
}

static int random_instruction(void)
{
	static const uint8_t prefixes[] = { 0x66, 0x67, 0x2e, 0x36, 0x64, 0x65 };
	uint8_t bytes[15];
	size_t len = 0;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)next();
	if (below(6) == 0)
		bytes[len++] = prefixes[below(sizeof(prefixes))];
	const uint8_t *opcode = opcodes[below(ARRAY_LEN(opcodes))];
	memcpy(bytes + len, opcode + 1, opcode[0]);
	if (below(2) == 0) /* a register operand: rax */
		bytes[len + opcode[0]] = (uint8_t)(0xc0 | below(8) << 3);
	world->code = CODE;
	/* As if the guest had written the code. */
	(void)atomic_fetch_add(&world->machine.range[0].code[CODE / 4096], 2);
	return exec_bytes(bytes, sizeof(bytes));
}

/* A ring 3 that has no gate to ring 0 stays there, whatever it does. */
static void assert_no_way_in(unsigned cpl_before, int vector)
{
	if (cpl_before == 3 && vector < 0 && world->v.cpl != 3)
		assert_true(world->v.rip == world->v.msr.lstar ||
			    world->v.rip == world->v.msr.cstar ||
			    world->v.rip == (uint32_t)world->v.msr.star ||
			    world->v.rip == world->v.msr.sysenter_eip ||
			    world->v.rip == (uint32_t)world->v.msr.sysenter_eip);
}

static void whatever_a_guest_does_the_processor_is_whole(void **state)
{
	(void)state;
	struct soft_vcpu *v = &world->v;
	for (uint64_t world_seed = 1; world_seed <= ROUNDS / ROUNDS_OF_A_WORLD; world_seed++) {
		seed = world_seed * 0x9e3779b97f4a7c15;
		new_world();
		bool runs = true;
		for (unsigned i = 0; runs && i < ROUNDS_OF_A_WORLD; i++) {
			unsigned cpl = v->cpl;
			random_state();
			int vector = random_instruction();
			assert_no_way_in(cpl, vector);
			assert_could_be();
			if (vector >= 0)
				runs = soft_deliver(v);
			assert_could_be();
			if (runs && below(50) == 0)
				runs = soft_interrupt(v, (unsigned)below(256));
			assert_could_be();
			v->is_halted = false;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(whatever_a_guest_does_the_processor_is_whole),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
