/* stub_filter - which system calls the kernel makes for a stub, and which are the guest's.
 *
 * A call whose instruction is not in the trampoline's page is the guest's: SIGSYS.  So is a call of
 * another architecture (int $0x80, sysenter) or ABI (x32), but for one.  From the trampoline:
 *
 *   futex       wait and wake on the one word, without a timeout
 *   mmap        with the secret, shared and fixed only
 *   munmap      with the secret
 *   arch_prctl  with the secret, FS and GS base
 *   set_thread_area  of 32-bit programs, the only ones that have it, with the secret
 *
 * Operation of futex and code of arch_prctl are ints in the kernel: only their lower halves count.
 * The kernel takes flags and fd of mmap as 32-bit values (Linux: mmap_pgoff drops the flags it does
 * not know for MAP_SHARED, fget takes an unsigned int), so their upper halves are free.  The
 * others have one or two arguments; the third register is free, or two halves of it are. */
#include "cpu/soft/stub/stub_filter.h"

#include <asm/prctl.h>
#include <asm/unistd.h>
#include <linux/audit.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "cpu/soft/stub/stub_code.h"

/* One comparison of 32 bits of struct seccomp_data: (word & mask) is value, or other. */
struct test {
	uint32_t offset, mask, value, other;
};
#define IS(offset, value)                              \
	{                                              \
		(offset), UINT32_MAX, (value), (value) \
	}
#define IS_EITHER(offset, value, other)                \
	{                                              \
		(offset), UINT32_MAX, (value), (other) \
	}
#define HAS_ONLY(offset, bits)                    \
	{                                         \
		(offset), ~(uint32_t)(bits), 0, 0 \
	}

struct rule {
	uint32_t number;
	size_t tests_len;
	struct test tests[5];
};

struct writer {
	struct sock_filter *program;
	size_t len;
};

#define STUB_MMAP_FLAGS (MAP_SHARED | MAP_FIXED)
#define ARG_LOW(n) (uint32_t)(offsetof(struct seccomp_data, args) + (n) * sizeof(uint64_t))
#define ARG_HIGH(n) (ARG_LOW(n) + 4)

static void put(struct writer *w, struct sock_filter instruction)
{
	CHECK(w->len < STUB_FILTER_MAX);
	w->program[w->len++] = instruction;
}

/* Goes on behind it where the test holds, else the call is the guest's. */
static void put_test(struct writer *w, const struct test *t)
{
	put(w, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, t->offset));
	if (t->mask != UINT32_MAX)
		put(w, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, t->mask));
	if (t->other != t->value)
		put(w, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, t->other, 2, 0));
	put(w, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, t->value, 1, 0));
	put(w, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP));
}

/* For calls whose word at offset is the rule's number. */
static void put_rule(struct writer *w, uint32_t offset, const struct rule *rule)
{
	put(w, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset));
	size_t jump = w->len;
	put(w, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, rule->number, 0, 0));
	for (size_t i = 0; i < rule->tests_len; i++)
		put_test(w, &rule->tests[i]);
	put(w, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
	w->program[jump].jf = (uint8_t)(w->len - jump - 1);
}

size_t stub_filter_build(uint64_t code, uint64_t secret, struct sock_filter *program)
{
	const uint64_t turn = code + STUB_CONTROL + STUB_TURN;
	const uint32_t ip = offsetof(struct seccomp_data, instruction_pointer);
	const uint32_t arch = offsetof(struct seccomp_data, arch);
	const uint32_t number = offsetof(struct seccomp_data, nr);
	const struct test always[] = {
		IS(ip + 4, (uint32_t)(code >> 32)),
		{ ip, ~(uint32_t)(STUB_PAGE - 1), (uint32_t)code, (uint32_t)code },
	};
	const struct rule of_32bit = { AUDIT_ARCH_I386, 3,
		{ IS(number, STUB_FILTER_I386_SET_THREAD_AREA), IS(ARG_LOW(1), (uint32_t)secret),
			IS(ARG_LOW(2), (uint32_t)(secret >> 32)) } };
	const struct test is_64bit = IS(arch, AUDIT_ARCH_X86_64);
	const struct rule rules[] = {
		{ __NR_futex, 5,
			{ IS(ARG_LOW(0), (uint32_t)turn), IS(ARG_HIGH(0), (uint32_t)(turn >> 32)),
				IS_EITHER(ARG_LOW(1), FUTEX_WAIT, FUTEX_WAKE), IS(ARG_LOW(3), 0),
				IS(ARG_HIGH(3), 0) } },
		{ __NR_munmap, 2,
			{ IS(ARG_LOW(2), (uint32_t)secret),
				IS(ARG_HIGH(2), (uint32_t)(secret >> 32)) } },
		{ __NR_arch_prctl, 3,
			{ IS_EITHER(ARG_LOW(0), ARCH_SET_FS, ARCH_SET_GS),
				IS(ARG_LOW(2), (uint32_t)secret),
				IS(ARG_HIGH(2), (uint32_t)(secret >> 32)) } },
		{ __NR_mmap, 4,
			{ IS(ARG_LOW(3), STUB_MMAP_FLAGS),
				IS(ARG_HIGH(3), (uint32_t)(secret >> 32)),
				IS(ARG_HIGH(4), (uint32_t)secret),
				HAS_ONLY(ARG_LOW(2), PROT_READ | PROT_WRITE | PROT_EXEC) } },
	};
	struct writer w = { .program = program };
	for (size_t i = 0; i < ARRAY_LEN(always); i++)
		put_test(&w, &always[i]);
	put_rule(&w, arch, &of_32bit);
	put_test(&w, &is_64bit);
	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		put_rule(&w, number, &rules[i]);
	put(&w, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP));
	return w.len;
}

uint64_t stub_filter_mmap_flags(uint64_t secret)
{
	return (secret & 0xffffffff00000000) | STUB_MMAP_FLAGS;
}

uint64_t stub_filter_mmap_fd(uint64_t secret, unsigned fd)
{
	return secret << 32 | fd;
}
