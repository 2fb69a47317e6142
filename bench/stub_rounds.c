/* stub_rounds - what the parts of direct execution cost (docs/decisions/0013): rounds between a
 * stub and the VMM, mapping, unmapping, making stubs, and the speed of what runs in them.
 *
 * usage: stub_rounds [pinned]    one line per figure
 * build: cc -O2 -D_GNU_SOURCE -Isrc bench/stub_rounds.c build/src/cpu/libmoat-cpu.a
 *        build/src/base/libmoat-base.a -o stub_rounds */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "cpu/soft/stub/stub_private.h"

#define MIB (1u << 20)
#define MEMORY (64 * MIB)
#define CODE 0x400000ull
#define DATA 0x10000000ull
#define PAGE 4096ull

struct world {
	int memory;
	uint8_t *bytes;
	struct stub_pool *pool;
	struct stub *stub;
};

static void fail(const char *what)
{
	(void)fprintf(stderr, "stub_rounds: %s\n", what);
	exit(1);
}

/* Wall time, and the processor time of this process and the stub together: on a busy machine only
 * the second means something. */
struct moment {
	uint64_t wall_ns, cpu_ns;
};

static uint64_t cpu_ns(clockid_t clock)
{
	struct timespec t = { 0 };
	(void)clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static struct moment now(const struct world *w)
{
	clockid_t clock;
	uint64_t stub = clock_getcpuclockid(w->stub->window.pid, &clock) == 0 ? cpu_ns(clock) : 0;
	return (struct moment){ .wall_ns = clock_monotonic_ns(),
		.cpu_ns = stub + cpu_ns(CLOCK_PROCESS_CPUTIME_ID) };
}

static void say(const struct world *w, const char *name, struct moment start, uint64_t count)
{
	struct moment end = now(w);
	(void)printf("%-34s %12.2f ns, %12.2f ns of CPU\n", name,
		(double)(end.wall_ns - start.wall_ns) / (double)count,
		(double)(end.cpu_ns - start.cpu_ns) / (double)count);
}

static void map(struct stub *stub, uint64_t va, uint64_t offset, uint64_t len, int prot)
{
	if (stub_map(stub, va, 0, offset, len, prot) < 0)
		fail("map");
}

static struct stub_event run(struct stub *stub, struct stub_regs *regs)
{
	struct stub_event e;
	stub_run(stub, regs, &e);
	if (e.kind == STUB_LOST)
		fail("the stub has died");
	return e;
}

/* ---- guests: bytes of code at CODE ---- */

static const uint8_t call_loop[] = { 0x0f, 0x05, 0xeb, 0xfc };      /* syscall; jmp */
static const uint8_t touch_loop[] = { 0x8a, 0x07,                   /* mov (%rdi),%al */
	0x48, 0x81, 0xc7, 0x00, 0x10, 0x00, 0x00,                   /* add $4096,%rdi */
	0xeb, 0xf5 };                                               /* jmp */
static const uint8_t count_loop[] = { 0x48, 0x69, 0xc0, 3, 0, 0, 0, /* imul $3,%rax,%rax */
	0x48, 0xff, 0xc9, 0x75, 0xf4,                               /* dec %rcx; jnz */
	0x0f, 0x05 };                                               /* syscall */
static const uint8_t copy_loop[] = { 0x48, 0x89, 0xd1,              /* mov %rdx,%rcx */
	0x48, 0x89, 0xde, 0x4c, 0x89, 0xc7, /* mov %rbx,%rsi; mov %r8,%rdi */
	0xf3, 0xa4, 0x48, 0xff, 0xcd, 0x75, 0xf0, 0x0f,
	0x05 }; /* rep movsb; dec %rbp; jnz; syscall */

static void load(struct world *w, const uint8_t *code, size_t len)
{
	memcpy(w->bytes, code, len);
	stub_unmap_all(w->stub);
	map(w->stub, CODE, 0, PAGE, PROT_READ | PROT_EXEC);
}

static void measure_calls(struct world *w)
{
	enum { ROUNDS = 100000 };
	struct stub_regs regs = { .rip = CODE };
	load(w, call_loop, sizeof(call_loop));
	for (unsigned i = 0; i < 1000; i++)
		(void)run(w->stub, &regs);
	struct moment start = now(w);
	for (unsigned i = 0; i < ROUNDS; i++)
		if (run(w->stub, &regs).kind != STUB_SYSCALL)
			fail("no system call");
	say(w, "system call, round", start, ROUNDS);
}

static void measure_faults(struct world *w, unsigned around)
{
	enum { PAGES = 8192 };
	struct stub_regs regs = { .rip = CODE, .rdi = DATA };
	load(w, touch_loop, sizeof(touch_loop));
	unsigned faults = 0;
	struct moment start = now(w);
	for (;; faults++) {
		struct stub_event e = run(w->stub, &regs);
		if (e.kind != STUB_EXCEPTION || e.vector != 14)
			fail("no page fault");
		uint64_t page = e.address - DATA;
		if (page >= PAGES * PAGE)
			break;
		/* Scattered, so that each page is a mapping of its own. */
		for (unsigned i = 0; i < around; i++)
			map(w->stub, DATA + page + i * PAGE,
				(around == 1 ? PAGES * PAGE - page : page + i * PAGE), PAGE,
				PROT_READ | PROT_WRITE);
	}
	say(w, around == 1 ? "page fault, one page, round" : "page fault, 16 in a row, round",
		start, faults);
}

static void measure_unmap(struct world *w, unsigned pages)
{
	struct stub_regs regs = { .rip = CODE };
	struct moment start, first = now(w), spent = first;
	for (unsigned i = 0; i < 50; i++) {
		load(w, call_loop, sizeof(call_loop));
		for (unsigned p = 0; p < pages; p++)
			map(w->stub, DATA + p * PAGE, (pages - p) * PAGE, PAGE,
				PROT_READ | PROT_WRITE);
		regs.rip = CODE;
		(void)run(w->stub, &regs);
		start = now(w);
		load(w, call_loop, sizeof(call_loop));
		regs.rip = CODE;
		(void)run(w->stub, &regs);
		struct moment end = now(w);
		spent.wall_ns -= end.wall_ns - start.wall_ns;
		spent.cpu_ns -= end.cpu_ns - start.cpu_ns;
	}
	char name[64];
	(void)snprintf(name, sizeof(name), "unmap %u scattered, and a round", pages);
	struct moment end = now(w);
	spent.wall_ns += end.wall_ns - first.wall_ns;
	spent.cpu_ns += end.cpu_ns - first.cpu_ns;
	say(w, name, spent, 50);
}

static void measure_speed(struct world *w)
{
	enum { COUNT = 200000000, COPIES = 2000 };
	struct stub_regs regs = { .rip = CODE, .rax = 1, .rcx = COUNT };
	load(w, count_loop, sizeof(count_loop));
	struct moment start = now(w);
	(void)run(w->stub, &regs);
	say(w, "integer loop, stub", start, COUNT);
	void (*here)(void);
	void *code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy(code, count_loop, sizeof(count_loop));
	memcpy((uint8_t *)code + sizeof(count_loop) - 2, "\xc3", 1);
	memcpy(&here, &code, sizeof(here));
	start = now(w);
	__asm__ volatile("call *%2" : : "a"(1ul), "c"((uint64_t)COUNT), "r"(here) : "memory");
	say(w, "integer loop, host", start, COUNT);

	load(w, copy_loop, sizeof(copy_loop));
	map(w->stub, DATA, MIB, 2 * MIB, PROT_READ | PROT_WRITE);
	for (unsigned i = 0; i < 2; i++) {
		regs = (struct stub_regs){ .rip = CODE,
			.rbx = DATA,
			.r8 = DATA + MIB,
			.rdx = MIB,
			.rbp = COPIES };
		start = now(w);
		(void)run(w->stub, &regs);
	}
	say(w, "copy of 1 MiB, stub", start, COPIES);
	start = now(w);
	for (unsigned i = 0; i < COPIES; i++) {
		void *to = w->bytes + 2 * MIB, *from = w->bytes + MIB;
		size_t n = MIB;
		__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
	}
	say(w, "copy of 1 MiB, host", start, COPIES);
}

static void measure_stubs(struct world *w)
{
	enum { STUBS = 60 };
	struct stub *stubs[STUBS];
	struct moment start = now(w);
	for (unsigned i = 0; i < STUBS; i++)
		if (stub_new(w->pool, &stubs[i], NULL) < 0)
			fail("make a stub");
	say(w, "make a stub", start, STUBS);
	start = now(w);
	for (unsigned i = 0; i < STUBS; i++)
		stub_free(stubs[i]);
	say(w, "end a stub", start, STUBS);
}

static void measure_pool(const struct world *w, const struct stub_options *options)
{
	struct moment start = now(w);
	for (unsigned i = 0; i < 20; i++) {
		AUTO(stub_pool) pool = NULL;
		if (stub_pool_new(options, &pool, NULL) < 0)
			fail("make a pool");
	}
	say(w, "make and end a pool", start, 20);
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "pinned") == 0) {
		cpu_set_t set;
		CPU_ZERO(&set);
		CPU_SET((size_t)sched_getcpu(), &set);
		(void)sched_setaffinity(0, sizeof(set), &set);
	}
	struct world w = { .memory = memfd_create("ram", MFD_CLOEXEC) };
	if (w.memory < 0 || ftruncate(w.memory, MEMORY) < 0)
		fail("memory");
	w.bytes =
		mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, w.memory, 0);
	const struct stub_options options = { .memory_fds = &w.memory,
		.memory_fds_len = 1,
		.stubs_max = 64 };
	struct err err = { 0 };
	if (stub_pool_new(&options, &w.pool, &err) < 0 || stub_new(w.pool, &w.stub, &err) < 0)
		fail(err.message);
	measure_calls(&w);
	measure_faults(&w, 1);
	measure_faults(&w, 16);
	measure_unmap(&w, 200);
	measure_unmap(&w, 2000);
	measure_stubs(&w);
	measure_pool(&w, &options);
	measure_speed(&w);
	stub_free(w.stub);
	stub_pool_free(w.pool);
	return 0;
}
