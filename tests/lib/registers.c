/* registers - shows that programs keep their registers: several share the processor, each with its
 * own values in every vector register that the processor says it has, give the processor away, and
 * look. `registers`: prints which registers and "kept", or says which were not. */
#include <cpuid.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROGRAMS = 6, TURNS = 3000, BYTES = 64 };

struct registers {
	uint8_t vector[32][BYTES];
	uint64_t mask[8];
} __attribute__((aligned(64)));

#define EACH_8(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define EACH_16(X) EACH_8(X) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define EACH_24(X) EACH_16(X) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23)
#define EACH_32(X) EACH_24(X) X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31)
#define LOAD_XMM(n) "movdqu " #n "*64(%0), %%xmm" #n "\n\t"
#define SAVE_XMM(n) "movdqu %%xmm" #n ", " #n "*64(%0)\n\t"
#define LOAD_YMM(n) "vmovdqu " #n "*64(%0), %%ymm" #n "\n\t"
#define SAVE_YMM(n) "vmovdqu %%ymm" #n ", " #n "*64(%0)\n\t"
#define LOAD_ZMM(n) "vmovdqu64 " #n "*64(%0), %%zmm" #n "\n\t"
#define SAVE_ZMM(n) "vmovdqu64 %%zmm" #n ", " #n "*64(%0)\n\t"
#define LOAD_MASK(n) "kmovw 2048+" #n "*8(%0), %%k" #n "\n\t"
#define SAVE_MASK(n) "kmovw %%k" #n ", 2048+" #n "*8(%0)\n\t"
/* Between them a system call that gives the processor away. */
#define YIELD "movl $24, %%eax\n\tsyscall\n\t"
#define SPOILT                                                                                 \
	"rax", "rcx", "r11", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", \
		"xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"

static void yield_sse(struct registers *r)
{
	__asm__ volatile(EACH_16(LOAD_XMM) YIELD EACH_16(SAVE_XMM) : : "r"(r) : SPOILT);
}

static void yield_avx(struct registers *r)
{
	__asm__ volatile(EACH_16(LOAD_YMM) YIELD EACH_16(SAVE_YMM) : : "r"(r) : SPOILT);
}

static void yield_avx512(struct registers *r)
{
	__asm__ volatile(EACH_32(LOAD_ZMM) EACH_8(LOAD_MASK) YIELD EACH_32(SAVE_ZMM)
				 EACH_8(SAVE_MASK)
			 :
			 : "r"(r)
			 : SPOILT);
}

static const struct kind {
	const char *name;
	unsigned vectors, bytes, masks;
	void (*yield)(struct registers *registers);
} kinds[] = {
	{ "SSE", 16, 16, 0, yield_sse },
	{ "AVX", 16, 32, 0, yield_avx },
	{ "AVX-512", 32, 64, 8, yield_avx512 },
};

/* As the C library finds out what it may use. */
static const struct kind *best(void)
{
	uint32_t a, b, c, d, low = 0, high;
	__cpuid(1, a, b, c, d);
	if ((c >> 27 & 1) != 0)
		__asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	if ((low & 6) != 6)
		return &kinds[0];
	__cpuid_count(7, 0, a, b, c, d);
	return &kinds[(low & 0xe6) == 0xe6 && (b >> 16 & 1) != 0 ? 2 : 1];
}

static void fill(const struct kind *kind, struct registers *r, unsigned program)
{
	memset(r, 0, sizeof(*r));
	for (unsigned i = 0; i < kind->vectors; i++)
		for (unsigned k = 0; k < kind->bytes; k++)
			r->vector[i][k] = (uint8_t)(program * 37 + i * 5 + k + 1);
	for (unsigned i = 0; i < kind->masks; i++)
		r->mask[i] = (program * 257 + i * 31 + 1) & 0xffff;
}

static int run(const struct kind *kind, unsigned program)
{
	struct registers given, r;
	fill(kind, &given, program);
	for (unsigned turn = 0; turn < TURNS; turn++) {
		r = given;
		kind->yield(&r);
		if (memcmp(&r, &given, sizeof(r)) == 0)
			continue;
		fprintf(stderr, "registers: program %u lost %s registers in turn %u\n", program,
			kind->name, turn);
		return 1;
	}
	return 0;
}

int main(void)
{
	const struct kind *kind = best();
	int failed = 0, status;
	for (unsigned i = 0; i < PROGRAMS; i++)
		if (fork() == 0)
			_exit(run(kind, i));
	while (wait(&status) > 0)
		failed |= status;
	printf("%s %s\n", kind->name, failed ? "lost" : "kept");
	return failed != 0;
}
