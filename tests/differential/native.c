/* native - see native.h. */
#include "native.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "base/cleanup.h"
#include "base/mem.h"

/* Of the one run at a time: what the handlers work on. */
static struct {
	const struct registers *in; /* NULL: the first signal has been taken */
	struct outcome *out;
	gregset_t saved;
} run;

/* In the order of instructions' numbers. */
static const int order[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI,
	REG_RDI, REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };

static void put_in(ucontext_t *context)
{
	greg_t *g = context->uc_mcontext.gregs;
	memcpy(run.saved, g, sizeof(run.saved));
	for (unsigned i = 0; i < 16; i++)
		g[order[i]] = (greg_t)run.in->gpr[i];
	g[REG_RIP] = (greg_t)run.in->rip;
	g[REG_EFL] = (greg_t)run.in->flags;
	run.in = NULL;
}

static void bring_out(ucontext_t *context)
{
	enum { BREAKPOINT = 3, PAGE_FAULT = 14 };
	greg_t *g = context->uc_mcontext.gregs;
	struct outcome *out = run.out;
	for (unsigned i = 0; i < 16; i++)
		out->registers.gpr[i] = (uint64_t)g[order[i]];
	out->registers.rip = (uint64_t)g[REG_RIP];
	out->registers.flags = (uint64_t)g[REG_EFL];
	out->vector = (int)g[REG_TRAPNO];
	out->error = (uint32_t)g[REG_ERR];
	out->address = out->vector == PAGE_FAULT ? (uint64_t)g[REG_CR2] : 0;
	if (out->vector == BREAKPOINT) {
		out->vector = -1;
		out->error = 0;
		out->registers.rip--;
	}
	memcpy(g, run.saved, sizeof(run.saved));
}

static void handle(int number, siginfo_t *info, void *context)
{
	(void)number, (void)info;
	if (run.in != NULL)
		put_in(context);
	else
		bring_out(context);
}

static void map(uint64_t at, size_t len, int protection)
{
	void *wanted = (void *)(uintptr_t)at;
	CHECK(mmap(wanted, len, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
		      0) == wanted);
}

void native_start(void)
{
	static const int signals[] = { SIGUSR1, SIGTRAP, SIGSEGV, SIGBUS, SIGILL, SIGFPE };
	static uint8_t stack[64 << 10];
	const stack_t alternate = { .ss_sp = stack, .ss_size = sizeof(stack) };
	const struct sigaction action = { .sa_sigaction = handle,
		.sa_flags = SA_SIGINFO | SA_ONSTACK };
	map(CODE_AT, CODE_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC);
	map(DATA_AT, DATA_BYTES, PROT_READ | PROT_WRITE);
	CHECK(sigaltstack(&alternate, NULL) == 0);
	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		CHECK(sigaction(signals[i], &action, NULL) == 0);
}

void native_run(const struct registers *registers, struct outcome *ret_outcome)
{
	run.in = registers;
	run.out = ret_outcome;
	(void)raise(SIGUSR1);
}
