/* thirty_two - a 32-bit program (cc -m32) that uses what such programs use: x87 and SSE,
 * thread-local storage by way of the GDT, signals with registers in them, fork, 64-bit arithmetic,
 * system calls by int 0x80 and by the vDSO.  Prints what it computed, the same on every processor.
 */
#define _GNU_SOURCE
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

enum { THREADS = 4, ROUNDS = 20000 };

static __thread unsigned own;
static sigjmp_buf back;
static volatile sig_atomic_t faults[32];

static uint64_t hash(uint64_t h, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;
	for (size_t i = 0; i < len; i++)
		h = (h ^ at[i]) * UINT64_C(0x100000001b3);
	return h;
}

static void floats(void)
{
	uint64_t h = 1;
	for (int i = 1; i < 2000; i++) {
		long double x = sinl(i) * expl(-i / 700.0L) + sqrtl(i);
		double y = x / 3, z = (float)y;
		h = hash(h, &x, 10);
		h = hash(h, &y, sizeof(y));
		h = hash(h, &z, sizeof(z));
		h ^= (uint64_t)(int64_t)(y * 1e15);
	}
	printf("x87 %.18Lg %.17g %016llx\n", logl(10), 1 / 3.0, (unsigned long long)h);
}

__attribute__((target("sse2"))) static void vectors(void)
{
	typedef float four __attribute__((vector_size(16)));
	typedef uint32_t words __attribute__((vector_size(16)));
	four f = { 1, 2, 3, 4 };
	words w = { 1, 0x10001, 3, 0xffffffff };
	for (int i = 0; i < ROUNDS; i++) {
		f = f * (four){ 1.0001f, 0.9999f, 1.00005f, 0.99995f } + (four){ 1e-3f };
		w = (w << 3 ^ w >> 5) + 77;
	}
	printf("sse %g %g %g %g %08x %08x\n", f[0], f[1], f[2], f[3], w[0], w[3]);
}

static int compare(const void *a, const void *b)
{
	return (*(const uint32_t *)a > *(const uint32_t *)b) -
	       (*(const uint32_t *)a < *(const uint32_t *)b);
}

static void integers(void)
{
	static uint32_t numbers[50000];
	static char text[1 << 16];
	uint64_t x = 88172645463325252u, sum = 0;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		numbers[i] = (uint32_t)x;
		sum += x / (numbers[i] | 1u) + x % 1000003u;
	}
	qsort(numbers, sizeof(numbers) / sizeof(numbers[0]), sizeof(numbers[0]), compare);
	memset(text, 'x', sizeof(text) - 1);
	memmove(text + 100, text, 30000);
	text[40000] = 'y';
	printf("integers %016llx %016llx %zu %d\n", (unsigned long long)sum,
		(unsigned long long)hash(1, numbers, sizeof(numbers)), strlen(text),
		(int)(strchr(text, 'y') - text));
}

static void *count(void *number)
{
	for (int i = 0; i < ROUNDS; i++) {
		own += (uintptr_t)number;
		if (i % 1000 == 0)
			(void)sched_yield();
	}
	return (void *)(uintptr_t)own;
}

static void threads(void)
{
	pthread_t thread[THREADS];
	uint16_t gs;
	printf("threads");
	for (uintptr_t i = 0; i < THREADS; i++)
		(void)pthread_create(&thread[i], NULL, count, (void *)(i + 1));
	for (size_t i = 0; i < THREADS; i++) {
		void *result;
		(void)pthread_join(thread[i], &result);
		printf(" %u", (unsigned)(uintptr_t)result);
	}
	/* The selector can be read and put back. */
	__asm__ volatile("movw %%gs, %0\n\tmovw %0, %%gs" : "=r"(gs));
	printf(" %u %d\n", own, (gs & 7) == 3);
}

static void on_fault(int number, siginfo_t *info, void *context)
{
	const ucontext_t *c = context;
	faults[number] = number == SIGSEGV ? (int)(uintptr_t)info->si_addr
					   : (int)c->uc_mcontext.gregs[REG_EBX];
	siglongjmp(back, 1);
}

static void signals(void)
{
	const struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	(void)sigaction(SIGFPE, &action, NULL);
	(void)sigaction(SIGSEGV, &action, NULL);
	(void)sigaction(SIGILL, &action, NULL);
	if (sigsetjmp(back, 1) == 0)
		__asm__ volatile("movl $7, %%ebx; xorl %%edx, %%edx; xorl %%ecx, %%ecx; divl "
				 "%%ecx" ::
					 : "eax", "ebx", "ecx", "edx");
	if (sigsetjmp(back, 1) == 0)
		*(volatile char *)0x1234 = 1;
	if (sigsetjmp(back, 1) == 0)
		__asm__ volatile("movl $9, %%ebx; ud2" ::: "ebx");
	printf("signals %d %#x %d\n", faults[SIGFPE], (unsigned)faults[SIGSEGV], faults[SIGILL]);
}

/* 64-bit code, for a moment. */
static void both(void)
{
	uint32_t low, high;
	__asm__ volatile("movl $2f, %%ecx; ljmp $0x33, $1f\n.code64\n1: movabsq "
			 "$0x123456789abcdef0, %%rax\n\t"
			 "movq %%rax, %%rdx; shrq $32, %%rdx; pushq $0x23; movl %%ecx, %%ecx;"
			 " pushq %%rcx; lretq\n"
			 ".code32\n2:"
			 : "=a"(low), "=d"(high)
			 :
			 : "ecx", "memory", "cc");
	printf("both %08x%08x %u\n", high, low, own);
}

static void processes(void)
{
	int status = 0;
	struct timespec now = { 0 };
	long pid;
	(void)fflush(stdout);
	pid_t child = fork();
	if (child == 0)
		_exit(42);
	(void)waitpid(child, &status, 0);
	__asm__ volatile("int $0x80" : "=a"(pid) : "a"(SYS_getpid) : "memory");
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	printf("processes %d %d %d\n", WEXITSTATUS(status), pid == getpid(),
		now.tv_sec != 0 || now.tv_nsec != 0);
}

int main(void)
{
	floats();
	vectors();
	integers();
	threads();
	signals();
	both();
	processes();
	return 0;
}
