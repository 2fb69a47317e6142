/* What a guest's program sees of the processor in a stub, and what comes out of it. */
#include "stub_world.h"

#include <cpuid.h>
#include <pthread.h>

#define VECTOR_DB 1
#define VECTOR_UD 6
#define VECTOR_GP 13
#define VECTOR_PF 14

#define RFLAGS_CF 1u
#define RFLAGS_TF 0x100u
#define RFLAGS_DF 0x400u
#define RFLAGS_NT 0x4000u
#define RFLAGS_AC 0x40000u

/* ---- system calls ---- */

GUEST(guest_calls, "1: syscall; jmp 1b");

static void a_system_call_comes_out_with_every_register(void **state)
{
	struct stub_world *w = *state;
	LOAD(w, guest_calls);
	struct stub_regs in = { 0 };
	uint64_t *values = (uint64_t *)&in;
	for (size_t i = 0; i < 16; i++)
		values[i] = 0x1111111111111111u * (i + 1) + i;
	in.rsp = 0x123456789abc; /* some hypervisors refuse calls with one that is not canonical */
	in.rip = CODE;
	in.rflags = 0x202 | RFLAGS_CF | RFLAGS_DF | RFLAGS_NT | RFLAGS_AC;
	for (unsigned round = 0; round < 100; round++) {
		struct stub_regs out = in;
		stub_world_expect(w->stub, &out, STUB_SYSCALL);
		assert_int_equal(out.rip, CODE + 2);
		assert_int_equal(out.rcx, CODE + 2);
		/* NT must do no harm; some hypervisors lose it. */
		out.r11 |= RFLAGS_NT;
		out.rflags |= RFLAGS_NT;
		assert_int_equal(out.r11 & 0x244dd5, in.rflags & 0x244dd5);
		assert_int_equal(out.rflags, in.rflags);
		out.rcx = in.rcx;
		out.r11 = in.r11;
		out.rip = in.rip;
		assert_memory_equal(&out, &in, sizeof(in));
		in.rax += 0x100000001;
		in.r15 ^= in.rsp;
		in.rsp += 8;
	}
}

GUEST(guest_sum, "add %rbx, %rax; syscall; imul %rax, %rdx; syscall");

static void what_the_vmm_changes_the_guest_sees(void **state)
{
	struct stub_world *w = *state;
	LOAD(w, guest_sum);
	struct stub_regs regs = { .rip = CODE, .rax = 40, .rbx = 2 };
	stub_world_expect(w->stub, &regs, STUB_SYSCALL);
	assert_int_equal(regs.rax, 42);
	regs.rax = 7;
	regs.rdx = 6;
	stub_world_expect(w->stub, &regs, STUB_SYSCALL);
	assert_int_equal(regs.rdx, 42);
}

static void every_number_of_a_call_is_the_guests(void **state)
{
	struct stub_world *w = *state;
	const uint64_t abis[] = { 0, 0x40000000, 0xffffffff00000000 };
	LOAD(w, guest_calls);
	for (size_t abi = 0; abi < ARRAY_LEN(abis); abi++)
		for (uint64_t number = 0; number < 600; number++) {
			struct stub_regs regs = { .rip = CODE, .rax = number + abis[abi] };
			stub_world_expect(w->stub, &regs, STUB_SYSCALL);
			/* Linux 6.18 answers 336 itself, so that the guest comes round with it. */
			if ((uint32_t)number == 336 && regs.rax == (uint64_t)-ENXIO)
				continue;
			assert_int_equal((uint32_t)regs.rax, (uint32_t)(number + abis[abi]));
		}
}

GUEST(guest_old_calls, "1: int $0x80; jmp 1b");
GUEST(guest_calls_32, ".code32; int $0x80; sysenter; .code64");

static void old_ways_to_call_are_told_apart(void **state)
{
	struct stub_world *w = *state;
	LOAD(w, guest_old_calls);
	struct stub_regs regs = { .rip = CODE, .rcx = 77, .r11 = 78 };
	for (unsigned number = 0; number < 600; number++) {
		regs.rax = number;
		stub_world_expect(w->stub, &regs, STUB_INT80);
		assert_int_equal(regs.rax, number);
		assert_int_equal(regs.rip, CODE + 2);
		assert_true(regs.rcx == 77 && regs.r11 == 78);
	}
	LOAD(w, guest_calls_32);
	if (!stub_pool_runs_32bit(w->pool)) {
		regs.is_32bit = true;
		stub_world_expect(w->stub, &regs, STUB_UNSUPPORTED);
		return;
	}
	regs = (struct stub_regs){ .rip = CODE,
		.rsp = DATA + 64,
		.rbp = DATA + 64,
		.rbx = 0x12345678,
		.is_32bit = true };
	stub_world_expect(w->stub, &regs, STUB_INT80);
	assert_true(regs.is_32bit && regs.rip == CODE + 2 && regs.rbx == 0x12345678);
	struct stub_event e = stub_world_run(w->stub, &regs);
	/* A host's kernel without 32-bit calls refuses it; AMD's processors do not have it here. */
	assert_true(e.kind == STUB_SYSENTER ||
		    (e.kind == STUB_EXCEPTION && (e.vector == VECTOR_GP || e.vector == VECTOR_UD)));
	assert_int_equal(regs.rbx, 0x12345678);
}

/* ---- 32-bit code ---- */

GUEST(guest_tls, ".code32; movl %gs:4, %eax; movw %gs, %cx; movw %cx, %gs; movl %gs:8, %ebx;"
		 "movl %fs:(0), %edx; int $0x80; .code64");
GUEST(guest_other_tls, ".code32; movw $0x73, %cx; movw %cx, %gs; int $0x80; .code64");
GUEST(guest_gate,
	".code32; ljmp $0x33, $(0x400000 + 1f - guest_gate); .code64; 1: movl $5, %ebx; syscall");
GUEST(guest_back,
	"pushq $0x23; pushq $(0x400000 + 1f - guest_back); lretq; .code32; 1: int $0x80; .code64");
GUEST(guest_bases_again,
	"movq %fs:0, %rax; movq %gs:0, %rbx; movw %fs, %cx; movw %gs, %dx; syscall");

static uint64_t data_segment(uint32_t base)
{
	return 0xcff3000000ffff | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)(base >> 24) << 56;
}

static struct stub_regs compat_regs(uint32_t gs_base, uint32_t fs_base)
{
	return (struct stub_regs){
		.rip = CODE,
		.rsp = DATA + PAGE - 64,
		.is_32bit = true,
		.ds = STUB_DATA,
		.es = STUB_DATA,
		.gs = STUB_TLS_FIRST,
		.fs = STUB_TLS_FIRST + 8,
		.tls = { data_segment(gs_base), data_segment(fs_base), 0 },
	};
}

static void thread_local_storage_of_32bit_code_is_where_its_descriptors_say(void **state)
{
	struct stub_world *w = *state;
	uint32_t *data = (uint32_t *)(void *)(w->bytes + DATA_OFFSET);
	if (!stub_pool_runs_32bit(w->pool))
		skip();
	for (uint32_t i = 0; i < PAGE / 4; i++)
		data[i] = 1000 + i;
	for (uint32_t round = 0; round < 50; round++) {
		const uint32_t gs = round % 7 * 16, fs = round % 5 * 32;
		if (round % 10 == 0)
			LOAD(w, guest_tls);
		struct stub_regs regs = compat_regs((uint32_t)DATA + gs, (uint32_t)DATA + fs);
		stub_world_expect(w->stub, &regs, STUB_INT80);
		assert_int_equal(regs.rax, 1000 + gs / 4 + 1);
		assert_int_equal(regs.rbx, 1000 + gs / 4 + 2);
		assert_int_equal(regs.rdx, 1000 + fs / 4);
		assert_int_equal(regs.rcx, STUB_TLS_FIRST);
		assert_true(regs.is_32bit && regs.gs == STUB_TLS_FIRST && regs.ds == STUB_DATA);
	}
	/* One that is not there faults; one that is can be loaded, and is told. */
	LOAD(w, guest_other_tls);
	struct stub_regs regs = compat_regs((uint32_t)DATA, (uint32_t)DATA);
	stub_world_expect_vector(w->stub, &regs, VECTOR_GP, 0x70, 0);
	regs = compat_regs((uint32_t)DATA, (uint32_t)DATA);
	regs.tls[2] = data_segment(0x1234);
	stub_world_expect(w->stub, &regs, STUB_INT80);
	assert_int_equal(regs.gs, 0x73);
}

static void code_of_one_kind_goes_on_as_the_other(void **state)
{
	struct stub_world *w = *state;
	if (!stub_pool_runs_32bit(w->pool))
		skip();
	LOAD(w, guest_gate);
	struct stub_regs regs = compat_regs((uint32_t)DATA, (uint32_t)DATA);
	stub_world_expect(w->stub, &regs, STUB_SYSCALL);
	assert_true(!regs.is_32bit && regs.rbx == 5);
	LOAD(w, guest_back);
	regs = (struct stub_regs){ .rip = CODE, .rsp = DATA + PAGE - 64 };
	stub_world_expect(w->stub, &regs, STUB_INT80);
	assert_true(regs.is_32bit);
	/* Then 64-bit code has its bases, and no selectors of the other's. */
	LOAD(w, guest_bases_again);
	memcpy(w->bytes + DATA_OFFSET, (const uint64_t[]){ 11, 22 }, 16);
	regs = (struct stub_regs){ .rip = CODE, .fs_base = DATA, .gs_base = DATA + 8 };
	stub_world_expect(w->stub, &regs, STUB_SYSCALL);
	assert_int_equal(regs.rax, 11);
	assert_int_equal(regs.rbx, 22);
	assert_int_equal(regs.rdx, 0);
}

/* ---- faults ---- */

GUEST(guest_read, "mov (%rdi), %rax; syscall");
GUEST(guest_write, "mov %rax, (%rdi); syscall");
GUEST(guest_jump, "jmp *%rdi");

static void a_missing_page_faults_and_is_there_after_mapping(void **state)
{
	struct stub_world *w = *state;
	const uint64_t value = 0x1234567890abcdef;
	memcpy(w->bytes + DATA_OFFSET + PAGE + 8, &value, sizeof(value));
	LOAD(w, guest_read);
	struct stub_regs regs = { .rip = CODE, .rdi = DATA + 5 * PAGE + 8 };
	stub_world_expect_vector(w->stub, &regs, VECTOR_PF, 4, regs.rdi);
	assert_int_equal(regs.rip, CODE);
	assert_int_equal(stub_map(w->stub, DATA + 5 * PAGE, 0, DATA_OFFSET + PAGE, PAGE, PROT_READ),
		0);
	stub_world_expect(w->stub, &regs, STUB_SYSCALL);
	assert_int_equal(regs.rax, value);

	LOAD(w, guest_write);
	regs.rip = CODE;
	stub_world_expect_vector(w->stub, &regs, VECTOR_PF, 6, regs.rdi);
	assert_int_equal(stub_map(w->stub, DATA + 5 * PAGE, 0, DATA_OFFSET + PAGE, PAGE, PROT_READ),
		0);
	struct stub_event e = stub_world_run(w->stub, &regs);
	assert_true(e.kind == STUB_EXCEPTION && e.vector == VECTOR_PF && e.address == regs.rdi);
	assert_int_equal(e.error_code | 1, 7);
	assert_int_equal(stub_map(w->stub, DATA + 5 * PAGE, 0, DATA_OFFSET + PAGE, PAGE,
				 PROT_READ | PROT_WRITE),
		0);
	regs.rax = 99;
	stub_world_expect(w->stub, &regs, STUB_SYSCALL);
	assert_int_equal(w->bytes[DATA_OFFSET + PAGE + 8], 99);
}

static void a_page_that_is_not_executable_is_not_executed(void **state)
{
	struct stub_world *w = *state;
	LOAD(w, guest_jump);
	struct stub_regs regs = { .rip = CODE, .rdi = DATA };
	struct stub_event e = stub_world_run(w->stub, &regs);
	assert_true(e.kind == STUB_EXCEPTION && e.vector == VECTOR_PF && e.address == DATA);
	assert_int_equal(e.error_code | 1, 0x15);
	assert_int_equal(regs.rip, DATA);
}

static void an_address_of_the_kernels_half_faults(void **state)
{
	struct stub_world *w = *state;
	LOAD(w, guest_read);
	struct stub_regs regs = { .rip = CODE, .rdi = 0xffff888000000000 };
	/* Linux says "present" of all of them, so as not to tell which are. */
	stub_world_expect_vector(w->stub, &regs, VECTOR_PF, 5, regs.rdi);
	/* The host's page of calls is emulated by its kernel; the guest has none there. */
	LOAD(w, guest_jump);
	regs = (struct stub_regs){ .rip = CODE, .rdi = 0xffffffffff600000, .rsp = DATA + 64 };
	struct stub_event e = stub_world_run(w->stub, &regs);
	assert_true(e.kind == STUB_EXCEPTION && e.vector == VECTOR_PF);
	assert_int_equal(e.address, 0xffffffffff600000);
	assert_int_equal(regs.rip, 0xffffffffff600000);
	assert_int_equal(regs.rsp, DATA + 64);
}

static void unmapped_pages_are_gone(void **state)
{
	struct stub_world *w = *state;
	LOAD(w, guest_read);
	struct stub_regs regs = { .rip = CODE, .rdi = DATA };
	stub_world_expect(w->stub, &regs, STUB_SYSCALL);
	assert_int_equal(stub_unmap(w->stub, DATA, PAGE), 0);
	regs.rip = CODE;
	stub_world_expect_vector(w->stub, &regs, VECTOR_PF, 4, DATA);
	const uint64_t high = 0x7f0000000000;
	LOAD(w, guest_read);
	assert_int_equal(stub_map(w->stub, high, 0, DATA_OFFSET, PAGE, PROT_READ), 0);
	regs.rdi = high;
	stub_world_expect(w->stub, &regs, STUB_SYSCALL);
	LOAD(w, guest_read);
	regs.rip = CODE;
	stub_world_expect_vector(w->stub, &regs, VECTOR_PF, 4, high);
	stub_unmap_all(w->stub);
	stub_world_expect_vector(w->stub, &regs, VECTOR_PF, 0x14, CODE);
}

static void more_mappings_than_the_queue_holds_are_all_made(void **state)
{
	struct stub_world *w = *state;
	LOAD(w, guest_read);
	/* Backwards, so that none becomes one with the one before it. */
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(stub_map(w->stub, DATA + (1000 - i) * PAGE, 0,
					 DATA_OFFSET + (i % 4) * PAGE, PAGE, PROT_READ),
			0);
	for (unsigned i = 0; i < 1000; i++) {
		struct stub_regs regs = { .rip = CODE, .rdi = DATA + (1000 - i) * PAGE };
		w->bytes[DATA_OFFSET + (i % 4) * PAGE] = (uint8_t)(i % 4 + 1);
		stub_world_expect(w->stub, &regs, STUB_SYSCALL);
		assert_int_equal(regs.rax & 0xff, i % 4 + 1);
	}
}

static void what_the_kernel_does_not_map_is_said(void **state)
{
	struct stub_world *w = *state;
	LOAD(w, guest_read);
	/* Root may map page 0; everybody is refused an address space's end. */
	assert_int_equal(stub_map(w->stub, 0x7ffffffff000, 0, 0, PAGE, PROT_READ), -EFAULT);
	assert_int_equal(stub_map(w->stub, DATA + 1, 0, 0, PAGE, PROT_READ), -EFAULT);
	assert_int_equal(stub_map(w->stub, DATA, 1, 0, PAGE, PROT_READ), -EFAULT);
	assert_int_equal(stub_map(w->stub, DATA + PAGE, 0, INT64_MAX & ~0xfffull, 2 * PAGE,
				 PROT_READ),
		0);
	assert_int_equal(stub_map(w->stub, DATA + 9 * PAGE, 0, DATA_OFFSET, PAGE, PROT_READ), 0);
	struct stub_regs regs = { .rip = CODE, .rdi = DATA + 9 * PAGE };
	struct stub_event e = stub_world_run(w->stub, &regs);
	assert_int_equal(e.kind, STUB_UNMAPPABLE);
	assert_int_equal(e.address, DATA + PAGE);
	assert_int_equal(regs.rip, CODE);
	/* The others are made all the same. */
	stub_world_expect(w->stub, &regs, STUB_SYSCALL);
}

static void memory_that_the_file_lacks_is_not_a_fault_of_the_guests(void **state)
{
	struct stub_world *w = *state;
	LOAD(w, guest_read);
	assert_int_equal(stub_map(w->stub, DATA + PAGE, 0, MEMORY_PAGES * PAGE, PAGE, PROT_READ),
		0);
	struct stub_regs regs = { .rip = CODE, .rdi = DATA + PAGE };
	stub_world_expect(w->stub, &regs, STUB_BUS);
}

/* ---- other exceptions ---- */

GUEST(guest_de, "xor %ecx, %ecx; 1: div %ecx");
GUEST(guest_bp, "int3");
GUEST(guest_icebp, ".byte 0xf1");
GUEST(guest_ud, "ud2");
GUEST(guest_hlt, "hlt");
GUEST(guest_int, "int $0x31");
GUEST(guest_wild, "mov $0x1234567890abcdef, %rax; mov (%rax), %al");
GUEST(guest_stack, "mov $0x1234567890abcdef, %rbp; mov (%rbp), %al");
GUEST(guest_mf, "fninit; pushq $0x0340; fldcw (%rsp); fldz; fld1; fdivp; fwait");
GUEST(guest_xm, "pushq $0; ldmxcsr (%rsp); pxor %xmm0, %xmm0; divss %xmm0, %xmm0");
GUEST(guest_ac, "pushfq; orl $0x40000, (%rsp); popfq; mov 1(%rsp), %eax");
GUEST(guest_of, ".code32; mov $0x7fffffff, %eax; inc %eax; into; .code64");
GUEST(guest_br, ".code32; mov $5, %eax; bound %eax, (%esp); .code64");

static void each_exception_has_its_vector(void **state)
{
	struct stub_world *w = *state;
	static const struct {
		const uint8_t *code, *end;
		uint64_t rip;
		unsigned vector;
		uint32_t error_code;
		bool is_32bit;
	} cases[] = {
		{ guest_de, guest_de_end, 2, 0, 0, false },
		{ guest_bp, guest_bp_end, 1, 3, 0, false },
		{ guest_icebp, guest_icebp_end, 1, VECTOR_DB, 0, false },
		{ guest_ud, guest_ud_end, 0, 6, 0, false },
		{ guest_hlt, guest_hlt_end, 0, VECTOR_GP, 0, false },
		{ guest_int, guest_int_end, 0, VECTOR_GP, 0x31 * 8 + 2, false },
		{ guest_wild, guest_wild_end, 10, VECTOR_GP, 0, false },
		{ guest_stack, guest_stack_end, 10, 12, 0, false },
		{ guest_mf, guest_mf_end, 16, 16, 0, false },
		{ guest_xm, guest_xm_end, 10, 19, 0, false },
		{ guest_ac, guest_ac_end, 9, 17, 0, false },
		{ guest_of, guest_of_end, 7, 4, 0, true },
		{ guest_br, guest_br_end, 5, 5, 0, true },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (cases[i].is_32bit && !stub_pool_runs_32bit(w->pool))
			continue;
		stub_world_load(w, w->stub, cases[i].code, cases[i].end);
		memset(w->bytes + DATA_OFFSET, 0, PAGE);
		struct stub_regs regs = { .rip = CODE,
			.rsp = DATA + 512,
			.is_32bit = cases[i].is_32bit };
		stub_world_expect_vector(w->stub, &regs, cases[i].vector, cases[i].error_code, 0);
		/* Some hypervisors leave rip at ICEBP. */
		if (regs.rip != CODE + cases[i].rip &&
			!(cases[i].code == guest_icebp && regs.rip == CODE))
			fail_msg("case %zu: rip %#jx", i, (uintmax_t)regs.rip);
	}
}

GUEST(guest_nops, "nop; nop; nop; popfq; nop; nop");

static void single_steps_stop_after_each_instruction(void **state)
{
	struct stub_world *w = *state;
	LOAD(w, guest_nops);
	struct stub_regs regs = { .rip = CODE, .rflags = RFLAGS_TF, .rsp = DATA };
	memset(w->bytes + DATA_OFFSET, 0, 8);
	for (unsigned i = 1; i <= 3; i++) {
		stub_world_expect_vector(w->stub, &regs, VECTOR_DB, 0, 0);
		assert_int_equal(regs.rip, CODE + i);
		assert_true((regs.rflags & RFLAGS_TF) != 0);
	}
	/* popfq clears TF, and is still followed by the trap. */
	stub_world_expect_vector(w->stub, &regs, VECTOR_DB, 0, 0);
	assert_int_equal(regs.rip, CODE + 4);
	assert_true((regs.rflags & RFLAGS_TF) == 0);
}

GUEST(guest_cpuid, "cpuid");
GUEST(guest_rdtsc, "rdtsc; syscall");

static void cpuid_and_rdtsc_come_out_where_they_can(void **state)
{
	struct stub_world *w = *state, trapping;
	LOAD(w, guest_rdtsc);
	struct stub_regs regs = { .rip = CODE };
	stub_world_expect(w->stub, &regs, STUB_SYSCALL);
	if (stub_pool_traps_cpuid(w->pool)) {
		LOAD(w, guest_cpuid);
		regs.rip = CODE;
		stub_world_expect_vector(w->stub, &regs, VECTOR_GP, 0, 0);
		assert_int_equal(regs.rip, CODE);
	}
	stub_world_start(&trapping, true);
	LOAD(&trapping, guest_rdtsc);
	regs.rip = CODE;
	if (stub_pool_traps_tsc(trapping.pool)) {
		stub_world_expect_vector(trapping.stub, &regs, VECTOR_GP, 0, 0);
		assert_int_equal(regs.rip, CODE);
	} else {
		stub_world_expect(trapping.stub, &regs, STUB_SYSCALL);
	}
	stub_world_end(&trapping);
}

/* ---- state that is kept ---- */

GUEST(guest_bases, "1: mov %fs:8, %rax; mov %gs:16, %rbx; syscall; jmp 1b");

static void fs_and_gs_base_are_kept(void **state)
{
	struct stub_world *w = *state;
	LOAD(w, guest_bases);
	for (uint64_t i = 0; i < 512; i++)
		memcpy(w->bytes + DATA_OFFSET + i * 8, &i, 8);
	struct stub_regs regs = { .rip = CODE };
	for (uint64_t i = 0; i < 200; i++) {
		/* Sometimes one changes, sometimes neither. */
		regs.fs_base = DATA + i / 3 * 8;
		regs.gs_base = DATA + i / 5 * 8;
		if (i % 50 == 49)
			LOAD(w, guest_bases);
		stub_world_expect(w->stub, &regs, STUB_SYSCALL);
		assert_int_equal(regs.rax, i / 3 + 1);
		assert_int_equal(regs.rbx, i / 5 + 2);
		assert_int_equal(regs.fs_base, DATA + i / 3 * 8);
	}
}

GUEST(guest_ymm, "vmovdqu (%rdi), %ymm7; 1: syscall; vmovdqu %ymm7, (%rsi); jmp 1b");
GUEST(guest_zmm,
	"vmovdqu64 (%rdi), %zmm23; kmovq (%rdi), %k5; 1: syscall; vmovdqu64 %zmm23, (%rsi);"
	"kmovq %k5, 64(%rsi); jmp 1b");

static void vectors_are_kept(struct stub_world *w, const uint8_t *code, const uint8_t *end,
	size_t size)
{
	enum { ROUNDS = 3000 };
	AUTO(stub) other = NULL;
	assert_int_equal(stub_new(w->pool, &other, NULL), 0);
	struct stub *stubs[] = { w->stub, other };
	struct stub_regs regs[2];
	uint8_t wanted[2][64];
	for (unsigned i = 0; i < 2; i++) {
		stub_world_load(w, stubs[i], code, end);
		regs[i] = (struct stub_regs){ .rip = CODE,
			.rdi = DATA + i * 256,
			.rsi = DATA + 1024 + i * 256 };
		for (unsigned b = 0; b < 64; b++)
			wanted[i][b] = (uint8_t)(b * 7 + i * 101 + 3);
		memcpy(w->bytes + DATA_OFFSET + i * 256, wanted[i], 64);
		stub_world_expect(stubs[i], &regs[i], STUB_SYSCALL);
	}
	for (unsigned round = 0; round < ROUNDS; round++)
		for (unsigned i = 0; i < 2; i++) {
			uint8_t *seen = w->bytes + DATA_OFFSET + 1024 + i * 256;
			memset(seen, 0, 128);
			stub_world_expect(stubs[i], &regs[i], STUB_SYSCALL);
			assert_memory_equal(seen, wanted[i], size);
			if (size == 64)
				assert_memory_equal(seen + 64, wanted[i], 8);
		}
	/* What one has, put into the other. */
	uint8_t fpu[STUB_XSAVE_MAX];
	stub_get_xsave(stubs[0], fpu);
	stub_set_xsave(stubs[1], fpu);
	stub_world_expect(stubs[1], &regs[1], STUB_SYSCALL);
	assert_memory_equal(w->bytes + DATA_OFFSET + 1024 + 256, wanted[0], size);
}

static void vector_registers_are_kept_while_two_stubs_take_turns(void **state)
{
	if (!__builtin_cpu_supports("avx"))
		skip();
	vectors_are_kept(*state, guest_ymm, guest_ymm_end, 32);
	if (__builtin_cpu_supports("avx512bw"))
		vectors_are_kept(*state, guest_zmm, guest_zmm_end, 64);
}

static void a_broken_fpu_state_is_mended(void **state)
{
	struct stub_world *w = *state;
	uint8_t fpu[STUB_XSAVE_MAX];
	LOAD(w, guest_calls);
	memset(fpu, 0xff, sizeof(fpu));
	stub_set_xsave(w->stub, fpu);
	struct stub_regs regs = { .rip = CODE };
	stub_world_expect(w->stub, &regs, STUB_SYSCALL);
	memset(fpu, 0, sizeof(fpu));
	stub_set_xsave(w->stub, fpu);
}

/* ---- kicks ---- */

GUEST(guest_spin, "1: incq (%rdi); jmp 1b");

static uint64_t counter(const struct stub_world *w)
{
	uint64_t value;
	__atomic_load((const uint64_t *)(const void *)(w->bytes + DATA_OFFSET), &value,
		__ATOMIC_SEQ_CST);
	return value;
}

static void a_kick_before_the_run_ends_it(void **state)
{
	struct stub_world *w = *state;
	LOAD(w, guest_spin);
	memset(w->bytes + DATA_OFFSET, 0, 8);
	struct stub_regs regs = { .rip = CODE, .rdi = DATA };
	stub_kick(w->stub);
	stub_world_expect(w->stub, &regs, STUB_KICK);
	assert_int_equal(counter(w), 0);
}

static void *kick_when_it_runs(void *arg)
{
	struct stub_world *w = arg;
	while (counter(w) == 0)
		(void)sched_yield();
	stub_kick(w->stub);
	return NULL;
}

static void a_kick_ends_a_program_that_spins(void **state)
{
	struct stub_world *w = *state;
	LOAD(w, guest_spin);
	memset(w->bytes + DATA_OFFSET, 0, 8);
	struct stub_regs regs = { .rip = CODE, .rdi = DATA };
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, kick_when_it_runs, w), 0);
	stub_world_expect(w->stub, &regs, STUB_KICK);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(counter(w) > 0);
	assert_true(regs.rip == CODE || regs.rip == CODE + 3);
	/* It goes on where it was. */
	uint64_t before = counter(w);
	memset(w->bytes + CODE_OFFSET + 3, 0x90, 2);
	memcpy(w->bytes + CODE_OFFSET + 5, "\x0f\x05", 2);
	struct stub_event e = { .kind = STUB_KICK };
	while (e.kind == STUB_KICK)
		e = stub_world_run(w->stub, &regs);
	assert_int_equal(e.kind, STUB_SYSCALL);
	assert_true(counter(w) - before <= 1);
}

enum { KICKS = 2000 };
struct kicks {
	struct stub_world *w;
	unsigned wanted, seen; /* atomics */
};

/* Asks once, then waits until it was seen: a lost kick would leave both waiting. */
static void *kick_often(void *arg)
{
	struct kicks *kicks = arg;
	for (unsigned i = 1; i <= KICKS; i++) {
		__atomic_store_n(&kicks->wanted, i, __ATOMIC_SEQ_CST);
		stub_kick(kicks->w->stub);
		while (__atomic_load_n(&kicks->seen, __ATOMIC_SEQ_CST) != i)
			(void)sched_yield();
	}
	return NULL;
}

static void no_kick_is_lost(void **state)
{
	struct stub_world *w = *state;
	LOAD(w, guest_spin);
	struct kicks kicks = { .w = w };
	struct stub_regs regs = { .rip = CODE, .rdi = DATA };
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, kick_often, &kicks), 0);
	while (kicks.seen < KICKS) {
		stub_world_expect(w->stub, &regs, STUB_KICK);
		unsigned wanted = __atomic_load_n(&kicks.wanted, __ATOMIC_SEQ_CST);
		__atomic_store_n(&kicks.seen, wanted, __ATOMIC_SEQ_CST);
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static int start(void **state)
{
	static struct stub_world w;
	stub_world_start(&w, false);
	*state = &w;
	return 0;
}

static int end(void **state)
{
	stub_world_end(*state);
	return 0;
}

/* Runs those whose names match its argument, where there is one. */
int main(int argc, char **argv)
{
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_system_call_comes_out_with_every_register),
		cmocka_unit_test(what_the_vmm_changes_the_guest_sees),
		cmocka_unit_test(every_number_of_a_call_is_the_guests),
		cmocka_unit_test(old_ways_to_call_are_told_apart),
		cmocka_unit_test(thread_local_storage_of_32bit_code_is_where_its_descriptors_say),
		cmocka_unit_test(code_of_one_kind_goes_on_as_the_other),
		cmocka_unit_test(a_missing_page_faults_and_is_there_after_mapping),
		cmocka_unit_test(a_page_that_is_not_executable_is_not_executed),
		cmocka_unit_test(an_address_of_the_kernels_half_faults),
		cmocka_unit_test(unmapped_pages_are_gone),
		cmocka_unit_test(more_mappings_than_the_queue_holds_are_all_made),
		cmocka_unit_test(what_the_kernel_does_not_map_is_said),
		cmocka_unit_test(memory_that_the_file_lacks_is_not_a_fault_of_the_guests),
		cmocka_unit_test(each_exception_has_its_vector),
		cmocka_unit_test(single_steps_stop_after_each_instruction),
		cmocka_unit_test(cpuid_and_rdtsc_come_out_where_they_can),
		cmocka_unit_test(fs_and_gs_base_are_kept),
		cmocka_unit_test(vector_registers_are_kept_while_two_stubs_take_turns),
		cmocka_unit_test(a_broken_fpu_state_is_mended),
		cmocka_unit_test(a_kick_before_the_run_ends_it),
		cmocka_unit_test(a_kick_ends_a_program_that_spins),
		cmocka_unit_test(no_kick_is_lost),
	};
	return cmocka_run_group_tests(tests, start, end);
}
