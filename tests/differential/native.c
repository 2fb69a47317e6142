/* native - see native.h. */
#include "native.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "base/cleanup.h"
#include "base/mem.h"

/* Of the one run at a time: what the handlers work on. */
static struct {
	const struct mode *mode;
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
	g[REG_CSGSFS] = (g[REG_CSGSFS] & ~(greg_t)0xffff) | run.mode->cs;
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
	if (((uint64_t)g[REG_CSGSFS] & 0xffff) != run.mode->cs)
		out->vector = -2; /* none that there is */
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

/* A random instruction shall do nothing to the host. */
static void forbid_calls(void)
{
	static const unsigned allowed[] = { SYS_rt_sigreturn, SYS_rt_sigprocmask, SYS_tgkill,
		SYS_getpid, SYS_gettid, SYS_write, SYS_exit_group, SYS_brk, SYS_mmap, SYS_munmap,
		SYS_newfstatat, SYS_alarm };
	struct sock_filter program[2 * ARRAY_LEN(allowed) + 8];
	size_t n = 0;
	program[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
		offsetof(struct seccomp_data, arch));
	program[n++] =
		(struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
	program[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
	program[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
		offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < ARRAY_LEN(allowed); i++) {
		program[n++] =
			(struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i], 0, 1);
		program[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	}
	program[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
	const struct sock_fprog filter = { .len = (unsigned short)n, .filter = program };
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
}

void native_start(const struct mode *modes, size_t count)
{
	static const int signals[] = { SIGUSR1, SIGTRAP, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGSYS };
	static uint8_t stack[64 << 10];
	const stack_t alternate = { .ss_sp = stack, .ss_size = sizeof(stack) };
	const struct sigaction action = { .sa_sigaction = handle,
		.sa_flags = SA_SIGINFO | SA_ONSTACK };
	for (size_t i = 0; i < count; i++) {
		map(modes[i].code, CODE_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC);
		map(modes[i].data, DATA_BYTES, PROT_READ | PROT_WRITE);
	}
	CHECK(sigaltstack(&alternate, NULL) == 0);
	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		CHECK(sigaction(signals[i], &action, NULL) == 0);
	/* 64-bit code does not look at them, 32-bit code needs them. */
	__asm__ volatile("movl %0, %%ds\n\tmovl %0, %%es" : : "r"(0x2b));
	forbid_calls();
}

void native_run(const struct mode *mode, const struct registers *registers,
	struct outcome *ret_outcome)
{
	run.mode = mode;
	run.in = registers;
	run.out = ret_outcome;
	(void)raise(SIGUSR1);
}

bool native_has(const struct mode *mode)
{
	const struct registers in = { .rip = mode->code, .flags = 2 };
	struct outcome out;
	memset((void *)(uintptr_t)mode->code, TRAP, CODE_BYTES);
	native_run(mode, &in, &out);
	return out.vector == -1 && out.registers.rip == mode->code;
}
