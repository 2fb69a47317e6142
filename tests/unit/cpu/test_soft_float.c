/* x87, MMX and SSE where the interpreter meets them - ring 0, and programs that no stub can run:
 * what they leave in memory is what the real processor leaves there, in 64-bit and in 32-bit code;
 * and what stops them stops them. */
#include "soft_world.h"

#include "cpu/soft/interpreter/soft_xstate.h"

enum { BUFFER = 512 };

/* Their bytes mean the same in both modes; they work on BUFFER bytes at (r/e)di. */
#define PROGRAM(name, text)                                                                 \
	extern const uint8_t name##_start[], name##_end[];                                  \
	__asm__(".pushsection .text\n.globl " #name "_start, " #name "_end\n.hidden " #name \
		"_start, " #name "_end\n" #name "_start: " text "\n" #name "_end: ret\n"    \
		".popsection")

PROGRAM(arithmetic, "fninit; fldpi; fldl2e; fmul %st(1); fstpl (%rdi); fsqrt; fstpt 16(%rdi);"
		    "fldl 64(%rdi); fadds 72(%rdi); fidivs 76(%rdi); fistpll 80(%rdi);"
		    "filds 84(%rdi); fsin; fstps 88(%rdi); fildl 92(%rdi); fbstp 96(%rdi)");
PROGRAM(stack, "fninit; fld1; fldz; fldpi; fxch %st(2); fincstp; ffree %st(3); fdecstp;"
	       "fstpt (%rdi); fstpt 16(%rdi); fstpt 32(%rdi); fxam; fnstsw 48(%rdi)");
PROGRAM(compares,
	"fninit; fld1; fldz; fcom; fnstsw 0(%rdi); fcomi %st(1), %st; lahf; movb %ah, 8(%rdi);"
	"fcmovb %st(1), %st; fstpt 16(%rdi); ftst; fnstsw 32(%rdi);"
	"fucomi %st(0), %st; fcmove %st(0), %st; lahf; movb %ah, 40(%rdi)");
PROGRAM(control,
	"fninit; fnstcw (%rdi); orw $0x0c00, (%rdi); fldcw (%rdi); fldl 64(%rdi);"
	"frndint; fistpl 4(%rdi); fld1; fldz; fdivrp; fnstsw 8(%rdi); fnclex;"
	"fnstsw 10(%rdi); fldcw (%rdi); frstor 128(%rdi); fnstcw 12(%rdi); fisttpl 16(%rdi)");
PROGRAM(environment,
	"fninit; fld1; fnstenv 256(%rdi); fldenv 256(%rdi); fldpi; fnsave 288(%rdi);"
	"frstor 288(%rdi); fstpl (%rdi); movl $0, 268(%rdi); movl $0, 272(%rdi);"
	"movl $0, 276(%rdi); movl $0, 280(%rdi); movl $0, 300(%rdi); movl $0, 304(%rdi);"
	"movl $0, 308(%rdi); movl $0, 312(%rdi)");
PROGRAM(mmx,
	"fninit; movq 64(%rdi), %mm0; paddb 72(%rdi), %mm0; movd %eax, %mm1; punpcklbw %mm1, %mm0;"
	"movq %mm0, (%rdi); pshufw $0x1b, %mm0, %mm2; pmaddwd %mm2, %mm0; movq %mm0, 8(%rdi);"
	"movd %mm0, 16(%rdi); pmovmskb %mm0, %eax; movl %eax, 20(%rdi); cvtps2pi 96(%rdi), %mm3;"
	"movq %mm3, 24(%rdi); movq2dq %mm3, %xmm1; movdqu %xmm1, 32(%rdi); emms; fld1;"
	"fstps 48(%rdi)");
PROGRAM(sse,
	"movups 64(%rdi), %xmm0; addps 80(%rdi), %xmm0; movaps %xmm0, (%rdi); sqrtpd %xmm0, %xmm1;"
	"cvtsi2sd %eax, %xmm2; addsd 96(%rdi), %xmm2; movsd %xmm2, 16(%rdi); ucomisd %xmm2, %xmm1;"
	"lahf; movb %ah, 24(%rdi); pxor %xmm3, %xmm3; paddq 112(%rdi), %xmm3; movdqa %xmm3, "
	"32(%rdi);"
	"pshufd $0x1b, %xmm3, %xmm4; movd %xmm4, 48(%rdi); pmovmskb %xmm4, %ecx;"
	"movl %ecx, 52(%rdi); cvttss2si 72(%rdi), %edx; movl %edx, 56(%rdi);"
	"pextrw $3, %xmm3, %eax; movl %eax, 60(%rdi)");
PROGRAM(nothing, "nop");

static const struct program {
	const uint8_t *start, *end;
} programs[] = {
	{ arithmetic_start, arithmetic_end },
	{ stack_start, stack_end },
	{ compares_start, compares_end },
	{ control_start, control_end },
	{ environment_start, environment_end },
	{ mmx_start, mmx_end },
	{ sse_start, sse_end },
	{ nothing_start, nothing_end },
};

static void fill(uint8_t buffer[BUFFER])
{
	static const double doubles[] = { 1234567.875, -2.5e10, 3.25e-3, 42.0 };
	for (unsigned i = 0; i < BUFFER; i++)
		buffer[i] = (uint8_t)(i * 29 + 7);
	memcpy(buffer + 64, doubles, sizeof(doubles));
	/* What frstor takes: all masked, to nearest, one register in use. */
	memset(buffer + 128, 0, 108);
	buffer[128] = 0x7f;
	buffer[129] = 0x03;
	buffer[132] = 0x00;
	buffer[133] = 0x38;
	memset(buffer + 136, 0xff, 2);
	buffer[137] = 0x3f;
	memcpy(buffer + 128 + 28, "\0\0\0\0\0\0\0\xa0\x03\x40", 10);
}

static void run_on_the_processor(const struct program *p, uint8_t *buffer)
{
	__asm__ volatile("call *%[code]; fninit"
			 :
			 : [code] "r"(p->start), "D"(buffer), "a"(0x12345678)
			 : "rcx", "rdx", "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4");
}

static void run_interpreted(const struct program *p, uint8_t *buffer, uint16_t code)
{
	struct soft_vcpu *v = &world->v;
	size_t len = (size_t)(p->end - p->start);
	world_mode(LONG, 3);
	v->seg[SEG_CS] = segment_at(code);
	soft_settle(v);
	v->cr4 |= CR4_OSXMMEXCPT;
	assert_true(CODE + len < CODE_END);
	memcpy(world->ram + CODE, p->start, len);
	memcpy(world->ram + DATA, buffer, BUFFER);
	soft_tlb_flush(v, true);
	memset(v->xstate, 0, 4096);
	soft_store32(v->xstate + XSTATE_MXCSR, 0x1f80);
	v->gpr[RDI] = DATA;
	v->gpr[RAX] = 0x12345678;
	v->rip = CODE;
	while (v->rip != CODE + len)
		assert_int_equal(run_some(1), -1);
	memcpy(buffer, world->ram + DATA, BUFFER);
}

static void it_computes_as_the_processor_does(uint16_t code)
{
	for (size_t i = 0; i < ARRAY_LEN(programs); i++) {
		_Alignas(64) uint8_t native[BUFFER], soft[BUFFER];
		fill(native);
		fill(soft);
		run_on_the_processor(&programs[i], native);
		run_interpreted(&programs[i], soft, code);
		for (size_t at = 0; at < BUFFER; at++)
			if (native[at] != soft[at])
				fail_msg("program %zu: byte %zu is %02x, interpreted %02x", i, at,
					native[at], soft[at]);
	}
}

static void sixty_four_bit_code_computes_as_the_processor_does(void **state)
{
	(void)state;
	it_computes_as_the_processor_does(USER_CODE64);
}

static void thirty_two_bit_code_computes_as_the_processor_does(void **state)
{
	(void)state;
	it_computes_as_the_processor_does(USER_CODE32);
}

/* ---- what stops them ---- */

static struct soft_vcpu *cpu(void)
{
	return &world->v;
}

#define FLD1 0xd9, 0xe8
#define FLDZ 0xd9, 0xee
#define FDIVP 0xde, 0xf9
#define FLDCW_AT_RDI 0xd9, 0x2f
#define FNSTSW_AX 0xdf, 0xe0
#define FSTP_AT_RDI 0xdd, 0x1f
#define FNSTENV_AT_RDI 0xd9, 0x37
#define PXOR_XMM 0x66, 0x0f, 0xef, 0xc0
#define PXOR_MM 0x0f, 0xef, 0xc0

static void start_long(void)
{
	world_mode(LONG, 0);
	cpu()->cr0 |= CR0_NE;
	cpu()->gpr[RDI] = DATA;
	soft_store32(cpu()->xstate + XSTATE_MXCSR, 0x1f80);
	assert_runs(0xdb, 0xe3); /* fninit */
}

static void x87_raises_at_the_next_instruction_that_looks(void **state)
{
	enum { ZERO_DIVIDE_UNMASKED = 0x37b, ZE = 4 };
	(void)state;
	start_long();
	put(DATA, ZERO_DIVIDE_UNMASKED, 2);
	assert_runs(FLDCW_AT_RDI);
	assert_runs(FLD1);
	assert_runs(FLDZ);
	assert_runs(FDIVP);
	assert_runs(FNSTSW_AX);
	assert_int_equal(cpu()->gpr[RAX] & (FSW_SUMMARY | ZE), FSW_SUMMARY | ZE);
	assert_raises(VECTOR_MF, 0, FLD1);
	assert_raises(VECTOR_MF, 0, PXOR_MM);
	assert_runs(PXOR_XMM);
	cpu()->cr0 &= ~(uint64_t)CR0_NE; /* nor does the host then run into it */
	assert_raises(VECTOR_MF, 0, FLD1);
	cpu()->cr0 |= CR0_NE;
	assert_runs(FNSTENV_AT_RDI); /* which masks all */
	assert_runs(FLD1);
}

static void a_store_that_raises_stores_nothing(void **state)
{
	enum { INVALID_UNMASKED = 0x37e };
	(void)state;
	start_long();
	put(DATA, INVALID_UNMASKED, 2);
	assert_runs(FLDCW_AT_RDI);
	put(DATA, 0x1122334455667788, 8);
	assert_runs(FSTP_AT_RDI); /* of an empty register */
	assert_int_equal(get(DATA, 8), 0x1122334455667788);
	assert_raises(VECTOR_MF, 0, FLD1);
}

static void a_summary_without_an_exception_is_none(void **state)
{
	(void)state;
	start_long();
	soft_store16(cpu()->xstate + XSTATE_FSW, FSW_SUMMARY | 1);
	assert_runs(FLD1);
	assert_runs(FNSTSW_AX);
	assert_int_equal(cpu()->gpr[RAX] & FSW_SUMMARY, 0);
}

static void its_pointers_are_the_guests(void **state)
{
	(void)state;
	start_long();
	put(DATA, 0x3ff0000000000000, 8);
	uint64_t at = world->code;
	assert_runs(0xdd, 0x07); /* fldl (%rdi) */
	uint64_t fip = soft_load64(cpu()->xstate + XSTATE_FIP);
	uint64_t fdp = soft_load64(cpu()->xstate + XSTATE_FDP);
	/* Some processors keep them only with an exception. */
	assert_true(fip == at || fip == 0);
	assert_true(fdp == DATA || fdp == 0);
	assert_runs(FLD1);
	assert_true(soft_load64(cpu()->xstate + XSTATE_FIP) == at + 16 || fip == 0);
	assert_int_equal(soft_load64(cpu()->xstate + XSTATE_FDP), fdp);
}

static void control_registers_turn_them_off(void **state)
{
	(void)state;
	start_long();
	cpu()->cr0 |= CR0_TS;
	assert_raises(VECTOR_NM, 0, FLD1);
	assert_raises(VECTOR_NM, 0, PXOR_MM);
	assert_raises(VECTOR_NM, 0, PXOR_XMM);
	cpu()->cr0 = (cpu()->cr0 & ~(uint64_t)CR0_TS) | CR0_EM;
	assert_raises(VECTOR_NM, 0, FLD1);
	assert_raises(VECTOR_UD, 0, PXOR_MM);
	assert_raises(VECTOR_UD, 0, PXOR_XMM);
	cpu()->cr0 &= ~(uint64_t)CR0_EM;
	cpu()->cr4 &= ~(uint64_t)CR4_OSFXSR;
	assert_raises(VECTOR_UD, 0, PXOR_XMM);
	assert_runs(PXOR_MM);
	assert_raises(VECTOR_UD, 0, 0xc5, 0xf9, 0xef, 0xc0); /* vpxor, without OSXSAVE */
}

static void sse_raises_what_is_not_masked(void **state)
{
	(void)state;
	start_long();
	cpu()->cr4 |= CR4_OSXMMEXCPT;
	assert_runs(PXOR_XMM);
	assert_runs(0xf3, 0x0f, 0x5e, 0xc0); /* divss %xmm0, %xmm0 */
	soft_store32(cpu()->xstate + XSTATE_MXCSR, 0x1f00);
	assert_runs(PXOR_XMM);
	assert_raises(VECTOR_XF, 0, 0xf3, 0x0f, 0x5e, 0xc0);
	cpu()->cr4 &= ~(uint64_t)CR4_OSXMMEXCPT;
	assert_runs(PXOR_XMM);
	assert_raises(VECTOR_UD, 0, 0xf3, 0x0f, 0x5e, 0xc0);
	/* What is of both: cvtps2pi of a NaN. */
	put(DATA, UINT64_MAX, 8);
	assert_raises(VECTOR_UD, 0, 0x0f, 0x2d, 0x07);
}

static void operands_are_checked(void **state)
{
	(void)state;
	start_long();
	cpu()->gpr[RDI] = DATA + 1;
	assert_raises(VECTOR_GP, 0, 0x66, 0x0f, 0x6f, 0x07); /* movdqa */
	assert_runs(0xf3, 0x0f, 0x6f, 0x07);                 /* movdqu */
	cpu()->gpr[RDI] = NOWHERE;
	assert_raises(VECTOR_PF, 2, FSTP_AT_RDI);
	assert_int_equal(cpu()->cr2, NOWHERE);
	cpu()->gpr[RDI] = READ_ONLY;
	assert_raises(VECTOR_PF, 3, FSTP_AT_RDI);
	assert_raises(VECTOR_PF, 3, 0xdd, 0x37); /* fnsave */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(sixty_four_bit_code_computes_as_the_processor_does),
		WORLD_TEST(thirty_two_bit_code_computes_as_the_processor_does),
		WORLD_TEST(x87_raises_at_the_next_instruction_that_looks),
		WORLD_TEST(a_store_that_raises_stores_nothing),
		WORLD_TEST(a_summary_without_an_exception_is_none),
		WORLD_TEST(its_pointers_are_the_guests),
		WORLD_TEST(control_registers_turn_them_off),
		WORLD_TEST(sse_raises_what_is_not_masked),
		WORLD_TEST(operands_are_checked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
