/* soft_differential - the interpreter against the real processor: for each row of ops.def that ring
 * 3 may execute, instructions of every form from random registers, flags and memory, run by both;
 * registers, flags, memory, rip and faults have to be equal.
 *
 *   soft_differential [CASES [SEED [MNEMONIC]]]
 *
 * once as 64-bit code and, where the host runs such, once as 32-bit code.  Prints a line for each
 * row: cases, faults among them, mismatches; with a row without a case, or any mismatch, it fails.
 * Everything comes from SEED. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/text.h"
#include "cpu/soft/interpreter/soft_block.h"
#include "cpu/soft/interpreter/soft_decode.h"
#include "cpu/soft/interpreter/soft_flags.h"
#include "cpu/soft/interpreter/soft_native.h"
#include "cpu/soft/soft_machine.h"
#include "cpu/soft/soft_run.h"
#include "form.h"
#include "native.h"

enum {
	CASES_DEFAULT = 60,
	CASES_MAX = 1000000,
	FORMS_MAX = 512,
	SHOWN_MAX = 3,
	REPETITIONS_MAX = 1000,
	SECONDS = 240
};

static const struct mode modes[] = {
	{ "64-bit code", 8, 0x33, UINT64_C(0x300000000000), UINT64_C(0x304000000000) },
	{ "32-bit code", 4, 0x23, 0x30000000, 0x70000000 },
};

/* ---- which rows ---- */

static const struct row {
	const char *name, *builder;
	ZydisMnemonic mnemonic;
} rows[] = {
#define OP(mnemonic, builder, what) { #mnemonic, #builder, ZYDIS_MNEMONIC_##mnemonic },
#include "cpu/soft/interpreter/ops.def"
#undef OP
};

/* Builders whose instructions ring 3 may execute and whose whole effect is on what is compared. */
static const char *const builders[] = { "build_adx", "build_bit", "build_bswap", "build_call",
	"build_cmov", "build_cmpxchg", "build_cmpxchg_pair", "build_compare", "build_crc32",
	"build_double_shift", "build_enter", "build_extend", "build_field", "build_flag",
	"build_jump", "build_jump_if", "build_lea", "build_leave", "build_loop", "build_mov",
	"build_mov_general", "build_movbe", "build_multiply", "build_mulx", "build_one",
	"build_pop", "build_push", "build_ret", "build_rorx", "build_scan", "build_set",
	"build_shift", "build_string", "build_two", "build_widen", "build_xadd", "build_xchg",
	"build_xlat" };

/* ... in 32-bit code. */
static const char *const old_builders[] = { "build_all", "build_decimal" };

/* Names that are in one kind of code only. */
static const struct {
	ZydisMnemonic mnemonic;
	unsigned code_size;
} special[] = {
	{ ZYDIS_MNEMONIC_JCXZ, 4 },
	{ ZYDIS_MNEMONIC_JRCXZ, 8 },
	{ ZYDIS_MNEMONIC_CDQE, 8 },
	{ ZYDIS_MNEMONIC_CQO, 8 },
	{ ZYDIS_MNEMONIC_CMPXCHG16B, 8 },
	{ ZYDIS_MNEMONIC_MOVSXD, 8 },
	{ ZYDIS_MNEMONIC_CMPSQ, 8 },
	{ ZYDIS_MNEMONIC_LODSQ, 8 },
	{ ZYDIS_MNEMONIC_MOVSQ, 8 },
	{ ZYDIS_MNEMONIC_SCASQ, 8 },
	{ ZYDIS_MNEMONIC_STOSQ, 8 },
};

static bool is_tested(const struct row *row, const struct mode *mode)
{
	for (size_t i = 0; i < ARRAY_LEN(special); i++)
		if (row->mnemonic == special[i].mnemonic && mode->code_size != special[i].code_size)
			return false;
	for (size_t i = 0; i < ARRAY_LEN(old_builders) && mode->code_size == 4; i++)
		if (strcmp(row->builder, old_builders[i]) == 0)
			return true;
	for (size_t i = 0; i < ARRAY_LEN(builders); i++)
		if (strcmp(row->builder, builders[i]) == 0)
			return true;
	return false;
}

/* ---- random values, weighted to where arithmetic breaks ---- */

static uint64_t next_random(uint64_t *state)
{
	/* splitmix64 */
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static uint64_t next_value(uint64_t *state)
{
	static const uint64_t corners[] = { 0, 1, 2, 7, 8, 15, 16, 31, 32, 33, 63, 64, 65, 127, 128,
		255, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, INT64_MAX,
		(uint64_t)INT64_MIN, UINT64_MAX, UINT64_MAX - 1 };
	uint64_t r = next_random(state);
	switch (r & 3) {
	case 0: return corners[(r >> 8) % ARRAY_LEN(corners)];
	case 1: return next_random(state) >> ((r >> 8) & 63);
	default: return next_random(state);
	}
}

/* ---- the interpreter's side: the same addresses, in ring 3 ---- */

enum { TABLES = 0x1000, CODE_GPA = 0x10000, DATA_GPA = 0x20000, RAM_BYTES = 1 << 20 };

struct world {
	const struct mode *mode; /* of the row that runs */
	struct soft_machine machine;
	struct soft_vcpu v;
	uint8_t *ram;
};

static void put_entry(struct world *w, uint64_t table, uint64_t index, uint64_t to)
{
	enum { PRESENT_WRITABLE_USER = 7 };
	uint64_t entry = to | PRESENT_WRITABLE_USER;
	memcpy(w->ram + table + (index & 511) * 8, &entry, sizeof(entry));
}

/* pointers: a table of each mode's own; directories: with the page table behind it. */
static void map_page(struct world *w, uint64_t pointers, uint64_t directories, uint64_t linear,
	uint64_t gpa)
{
	put_entry(w, TABLES, linear >> 39, pointers);
	put_entry(w, pointers, linear >> 30, directories);
	put_entry(w, directories, linear >> 21, directories + 0x1000);
	put_entry(w, directories + 0x1000, linear >> 12, gpa);
}

static struct world *world_new(void)
{
	struct world *w = NEW(world);
	struct err err = { 0 };
	if (soft_decode_load(&err) < 0 || soft_native_load(&err) < 0 || form_load(&err) < 0) {
		fprintf(stderr, "%s\n", err.message);
		exit(2);
	}
	w->ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(w->ram != MAP_FAILED);
	w->machine.ranges = 1;
	w->machine.range[0] = (struct soft_range){ .size = RAM_BYTES,
		.host = w->ram,
		.memory = SOFT_NO_MEMORY,
		.code = mem_new(RAM_BYTES / SOFT_PAGE, sizeof(uint32_t)) };
	soft_model_init(&w->machine.model, 1);
	CHECK(soft_vcpu_init(&w->v, &w->machine, 0, &err) == 0);
	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		const uint64_t pointers = TABLES + 0x1000 + i * 0x5000;
		map_page(w, pointers, pointers + 0x1000, modes[i].code, CODE_GPA);
		for (uint64_t at = 0; at < DATA_BYTES; at += SOFT_PAGE)
			map_page(w, pointers, pointers + 0x3000, modes[i].data + at, DATA_GPA + at);
	}
	struct soft_vcpu *v = &w->v;
	for (unsigned i = 0; i <= SEG_GS; i++)
		v->seg[i] = (struct cpu_segment){ .limit = UINT32_MAX,
			.selector = 0x2b,
			.attributes = 0xcf3 };
	v->cr0 = CR0_PE | CR0_PG | CR0_WP;
	v->cr3 = TABLES;
	v->cr4 = CR4_PAE;
	v->efer = EFER_LME | EFER_LMA;
	return w;
}

static void enter_mode(struct world *w, const struct mode *mode)
{
	w->mode = mode;
	w->v.seg[SEG_CS] = (struct cpu_segment){ .limit = UINT32_MAX,
		.selector = mode->cs,
		.attributes = mode->code_size == 8 ? 0xafb : 0xcfb };
	soft_settle(&w->v);
	soft_tlb_flush(&w->v, true);
}

static void interpret(struct world *w, const struct registers *in, struct outcome *out)
{
	struct soft_vcpu *v = &w->v;
	struct soft_exception exception = { .vector = -1 };
	memcpy(v->gpr, in->gpr, sizeof(in->gpr));
	v->rip = in->rip;
	v->cr2 = 0;
	soft_set_flags(v, in->flags);
	/* A repeated instruction may leave with its work half done, to look around. */
	bool is_done = false;
	for (unsigned times = 0; !is_done && times < REPETITIONS_MAX; times++)
		is_done = !soft_step(v, &exception) || v->rip != in->rip;
	memcpy(out->registers.gpr, v->gpr, sizeof(out->registers.gpr));
	out->registers.rip = v->rip;
	out->registers.flags = soft_flags(v);
	out->vector = exception.vector;
	out->error = exception.vector >= 0 && exception.has_error ? exception.error : 0;
	out->address = exception.vector == VECTOR_PF ? v->cr2 : 0;
}

/* ---- one case ---- */

struct one {
	uint8_t code[ZYDIS_MAX_INSTRUCTION_LENGTH];
	size_t len;
	struct registers in;
	uint8_t data[DATA_BYTES];
};

/* A register that points into the data, sometimes to its very ends. */
static uint64_t next_pointer(const struct mode *mode, uint64_t *random)
{
	uint64_t r = next_random(random);
	if ((r & 15) == 0)
		return mode->data + DATA_BYTES - (r >> 8) % 16;
	return mode->data + 1024 + (r >> 8) % (DATA_BYTES - 4096);
}

static bool is_string(const struct row *row)
{
	return strcmp(row->builder, "build_string") == 0;
}

/* What a compare and exchange compares with, everywhere: else it would never match. */
static void fill_expected(const struct row *row, struct one *one)
{
	const uint64_t rax = one->in.gpr[0], rdx = one->in.gpr[2];
	const uint64_t halves = rdx << 32 | (uint32_t)rax;
	uint64_t pair[2] = { rax, rax };
	if (row->mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B)
		pair[1] = rdx;
	else if (row->mnemonic == ZYDIS_MNEMONIC_CMPXCHG8B)
		pair[0] = pair[1] = halves;
	for (size_t i = 0; i < DATA_BYTES; i += sizeof(pair))
		memcpy(one->data + i, pair, sizeof(pair));
}

static bool is_decimal(const struct row *row)
{
	return strcmp(row->builder, "build_decimal") == 0;
}

/* Registers and memory are equal, as they seldom are by chance: a bound is one. */
static void make_equal(struct one *one, unsigned base)
{
	uint64_t pair = one->in.gpr[(base + 1) % 4];
	pair = pair << 32 | (uint32_t)pair;
	for (unsigned i = 0; i < 8; i++)
		if (i != base && i != 4)
			one->in.gpr[i] = pair;
	for (size_t i = 0; i < DATA_BYTES; i += sizeof(pair))
		memcpy(one->data + i, &pair, sizeof(pair));
}

/* Far branches change what is not compared. */
static bool is_far(const struct row *row, const struct form *form, const struct mode *mode)
{
	bool is_branch =
		row->mnemonic == ZYDIS_MNEMONIC_JMP || row->mnemonic == ZYDIS_MNEMONIC_CALL;
	return is_branch && form_is_memory(form->operand[0]) &&
	       form->operand[0] != (mode->code_size == 8 ? OPERAND_M64 : OPERAND_NONE);
}

static bool make_case(const struct row *row, const struct form *form, const struct mode *mode,
	uint64_t *random, struct one *one)
{
	uint64_t r = next_random(random);
	struct form_choice choice = {
		.random = next_random(random),
		.immediate = next_value(random),
		.displacement = (uint32_t)((next_random(random) & 0xff) - 128),
		.base = (ZydisRegister)(ZYDIS_REGISTER_RAX + (int)(r & (mode->code_size * 2 - 1))),
		.has_short_address = mode->code_size == 4,
		.is_rip_relative = mode->code_size == 8 && (r >> 4 & 31) == 0,
		.has_index = (r >> 9 & 3) == 0,
		.wants_lock = (r >> 11 & 3) == 0,
		.wants_repeat = is_string(row) && (r >> 13 & 3) == 1,
		.wants_repeat_not = is_string(row) && (r >> 13 & 3) == 2,
	};
	/* Not over the instruction itself. */
	if (choice.is_rip_relative)
		choice.displacement = 0u - 100 - (uint32_t)(r >> 40) % 100;
	/* Branches go to traps behind them. */
	if (strstr(row->builder, "jump") != NULL || strstr(row->builder, "call") != NULL ||
		strstr(row->builder, "loop") != NULL)
		choice.immediate &= 0x3f;
	/* At an address where what is filled in is whole. */
	bool is_matching = strstr(row->builder, "cmpxchg") != NULL && (r >> 27 & 1) != 0;
	if (is_matching) {
		choice.has_index = false;
		choice.displacement &= ~UINT32_C(15);
	}
	for (unsigned i = 0; i < 16; i++)
		one->in.gpr[i] = next_value(random);
	one->in.gpr[4] = mode->data + DATA_BYTES / 2 + (r >> 16 & 7);
	if (choice.base != ZYDIS_REGISTER_RSP)
		one->in.gpr[choice.base - ZYDIS_REGISTER_RAX] =
			next_pointer(mode, random) & (is_matching ? ~UINT64_C(15) : UINT64_MAX);
	if (choice.has_index)
		for (unsigned i = 0; i < 16; i++)
			if (i != 4 && i != (unsigned)(choice.base - ZYDIS_REGISTER_RAX))
				one->in.gpr[i] %= 512;
	if (is_string(row)) {
		one->in.gpr[6] = next_pointer(mode, random);
		one->in.gpr[7] = next_pointer(mode, random);
		one->in.gpr[1] = next_random(random) % 600;
	}
	one->len = form_encode(row->mnemonic, mode->code_size, form, &choice, one->code);
	choice.wants_lock = false;
	if (one->len == 0)
		one->len = form_encode(row->mnemonic, mode->code_size, form, &choice, one->code);
	if (one->len == 0)
		return false;
	const uint64_t arithmetic = FLAGS_ARITH | FLAG_DF;
	one->in.rip = mode->code + 256 + (r >> 20 & 63);
	one->in.flags = (next_random(random) & arithmetic) | FLAG_IF | 2;
	for (size_t i = 0; i < DATA_BYTES; i += 8) {
		uint64_t value = next_value(random);
		memcpy(one->data + i, &value, 8);
	}
	if (row->mnemonic == ZYDIS_MNEMONIC_BOUND && (r >> 28 & 1) != 0)
		make_equal(one, (unsigned)(choice.base - ZYDIS_REGISTER_RAX));
	for (unsigned i = 0; i < 16 && mode->code_size == 4; i++)
		one->in.gpr[i] = (uint32_t)one->in.gpr[i];
	if (is_matching)
		fill_expected(row, one);
	/* What a return finds. */
	uint64_t back = one->in.rip + 32;
	if ((r >> 26 & 1) != 0)
		memcpy(one->data + (one->in.gpr[4] - mode->data), &back, 8);
	return true;
}

static void place(const struct mode *mode, uint8_t *code, uint8_t *data, const struct one *one)
{
	memset(code, TRAP, CODE_BYTES);
	memcpy(code + (one->in.rip - mode->code), one->code, one->len);
	memcpy(data, one->data, DATA_BYTES);
}

static const char *difference(const struct mode *mode, const struct outcome *native,
	const struct outcome *soft)
{
	static const char *const names[16] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi",
		"rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15" };
	/* The next instruction's fetch may fail; that is no more of this one. */
	bool is_gone = soft->vector < 0 && native->registers.rip == soft->registers.rip &&
		       soft->registers.rip - mode->code >= CODE_BYTES;
	if (native->vector != soft->vector && !is_gone)
		return "vector";
	/* In the kernel's half the host has pages that the guest has not. */
	uint32_t errors = (int64_t)native->address < 0 ? ~UINT32_C(1) : UINT32_MAX;
	if (((native->error ^ soft->error) & errors) != 0 && !is_gone)
		return "error code";
	if (native->address != soft->address && !is_gone)
		return "address";
	if (native->registers.rip != soft->registers.rip)
		return "rip";
	/* 32-bit code has eight, and says nothing of their upper halves. */
	const uint64_t bits = mode->code_size == 8 ? UINT64_MAX : UINT32_MAX;
	for (unsigned i = 0; i < mode->code_size * 2; i++)
		if (((native->registers.gpr[i] ^ soft->registers.gpr[i]) & bits) != 0)
			return names[i];
	/* Also those that manuals leave undefined: the interpreter uses the host's own
	 * instructions. */
	const uint64_t compared = FLAGS_ARITH | FLAG_DF;
	if (((native->registers.flags ^ soft->registers.flags) & compared) != 0)
		return "flags";
	return NULL;
}

static void show(const struct row *row, const struct one *one, const struct outcome *native,
	const struct outcome *soft, const char *what)
{
	printf("# %s differs in %s:", row->name, what);
	for (size_t i = 0; i < one->len; i++)
		printf(" %02x", one->code[i]);
	printf("; flags %#" PRIx64 " -> %#" PRIx64 ", interpreted %#" PRIx64
	       "; vector %d, %d; error %#x, %#x\n",
		one->in.flags, native->registers.flags, soft->registers.flags, native->vector,
		soft->vector, native->error, soft->error);
	for (unsigned i = 0; i < 16; i++)
		if (native->registers.gpr[i] != soft->registers.gpr[i])
			printf("#   register %u: %#" PRIx64 " -> %#" PRIx64
			       ", interpreted %#" PRIx64 "\n",
				i, one->in.gpr[i], native->registers.gpr[i],
				soft->registers.gpr[i]);
	printf("#   rip %#" PRIx64 ", %#" PRIx64 "; address %#" PRIx64 ", %#" PRIx64 "\n",
		native->registers.rip, soft->registers.rip, native->address, soft->address);
}

struct tally {
	unsigned cases, faults, mismatches;
};

/* Both, from the same state; NULL when they agree. */
static const char *compare(struct world *w, const struct one *one, struct outcome *native,
	struct outcome *soft)
{
	const struct mode *mode = w->mode;
	uint8_t *data = (uint8_t *)(uintptr_t)mode->data;
	place(mode, (uint8_t *)(uintptr_t)mode->code, data, one);
	place(mode, w->ram + CODE_GPA, w->ram + DATA_GPA, one);
	/* As after a page table's change: what was decoded is compared again. */
	soft_tlb_flush(&w->v, true);
	native_run(mode, &one->in, native);
	interpret(w, &one->in, soft);
	const char *what = difference(mode, native, soft);
	if (what == NULL && memcmp(data, w->ram + DATA_GPA, DATA_BYTES) != 0)
		what = "memory";
	return what;
}

/* Under some hypervisors the processor now and then refuses an instruction (#UD) that it runs the
 * next time, once in 200,000: only what differs twice counts. */
static void run_case(struct world *w, const struct row *row, const struct one *one,
	struct tally *tally)
{
	struct outcome native, soft;
	const char *what = compare(w, one, &native, &soft);
	if (what != NULL)
		what = compare(w, one, &native, &soft);
	tally->cases++;
	tally->faults += native.vector >= 0;
	if (what != NULL && tally->mismatches++ < SHOWN_MAX)
		show(row, one, &native, &soft, what);
}

static void run_row(struct world *w, const struct row *row, unsigned cases, uint64_t random,
	struct tally *tally)
{
	static struct form forms[FORMS_MAX];
	static struct one one;
	size_t n = form_find(row->mnemonic, w->mode->code_size, forms, FORMS_MAX);
	for (unsigned tries = 0; n > 0 && tally->cases < cases && tries < cases * 4; tries++)
		if (!is_far(row, &forms[tries % n], w->mode) &&
			make_case(row, &forms[tries % n], w->mode, &random, &one))
			run_case(w, row, &one, tally);
}

/* The rows of one mode: how many had no case. */
static unsigned run_mode(struct world *w, unsigned cases, uint64_t seed, const char *only,
	struct tally *all)
{
	unsigned empty = 0, seen = 0;
	printf("%-12s %8s %8s %10s\n", w->mode->name, "cases", "faults", "mismatches");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct tally tally = { 0 };
		if (!is_tested(&rows[i], w->mode) ||
			(only != NULL && strcmp(only, rows[i].name) != 0))
			continue;
		/* Of all values of AL few are where something changes. */
		run_row(w, &rows[i], cases * (is_decimal(&rows[i]) ? 40 : 1),
			seed ^ (i * 0x100000001b3u), &tally);
		printf("%-12s %8u %8u %10u\n", rows[i].name, tally.cases, tally.faults,
			tally.mismatches);
		(void)fflush(stdout);
		empty += tally.cases == 0;
		seen++;
		all->cases += tally.cases;
		all->faults += tally.faults;
		all->mismatches += tally.mismatches;
	}
	printf("%u rows, %u without a case\n", seen, empty);
	return empty;
}

/* In a process of its own: what a random instruction does to it does not matter. */
static int run_all(unsigned cases, uint64_t seed, const char *only)
{
	struct world *w = world_new();
	struct tally all = { 0 };
	unsigned empty = 0;
	(void)alarm(SECONDS);
	native_start(modes, ARRAY_LEN(modes));
	printf("seed %" PRIu64 "\n", seed);
	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		enter_mode(w, &modes[i]);
		if (native_has(&modes[i]))
			empty += run_mode(w, cases, seed, only, &all);
		else
			printf("%s: this host runs none\n", modes[i].name);
	}
	printf("%u cases, %u faults, %u mismatches\n", all.cases, all.faults, all.mismatches);
	return all.mismatches != 0 || empty != 0;
}

int main(int argc, char **argv)
{
	uint64_t cases = CASES_DEFAULT, seed = 1;
	if ((argc > 1 && num_parse_u64(view_of(argv[1]), CASES_MAX, &cases) < 0) ||
		(argc > 2 && num_parse_u64(view_of(argv[2]), UINT64_MAX, &seed) < 0)) {
		fprintf(stderr, "usage: soft_differential [CASES [SEED [MNEMONIC]]]\n");
		return 2;
	}
	pid_t child = fork();
	if (child == 0)
		_exit(run_all((unsigned)cases, seed, argc > 3 ? argv[3] : NULL) |
			(fflush(stdout) != 0));
	int status;
	if (child < 0 || waitpid(child, &status, 0) != child)
		return 2;
	if (WIFSIGNALED(status))
		fprintf(stderr, "it was killed by signal %d\n", WTERMSIG(status));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
