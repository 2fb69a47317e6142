/* seccomp_tree - compiles ranges of numbers to classic BPF.
 *
 * Neighbours with the same verdict are one range, so that the 380 allowed calls of x86-64 are about
 * 70 ranges and a look-up takes seven comparisons.  Loading is what it is for: the kernel
 *translates the program and tries every number once (its cache of constant verdicts), and both cost
 *by the length of the program: libseccomp's tree of the same profile is three times as long.
 *
 *	tree(ranges):	one range: its verdict
 *			else:	if nr >= middle.start goto right
 *				tree(left)
 *			right:	tree(right)
 *
 * A conditional jump reaches 255 instructions; where the left side is longer it jumps over a long
 * one. */
#include "container/seccomp_tree.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>

#include "base/mem.h"

struct program {
	struct sock_filter *insns; /* owned */
	size_t len;
};

static void emit(struct program *program, uint16_t code, uint32_t k, uint8_t jt, uint8_t jf)
{
	program->insns = mem_grow(program->insns, program->len + 1, sizeof(*program->insns));
	program->insns[program->len++] = (struct sock_filter){ code, jt, jf, k };
}

static void emit_load(struct program *program, size_t offset)
{
	emit(program, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void emit_return(struct program *program, uint32_t action)
{
	emit(program, BPF_RET | BPF_K, action, 0, 0);
}

/* Compares one half of an argument; a difference leads past the check, filled in by its end. */
static void emit_half(struct program *program, size_t offset, uint32_t mask, uint32_t value)
{
	if (mask == 0)
		return;
	emit_load(program, offset);
	if (mask != UINT32_MAX)
		emit(program, BPF_ALU | BPF_AND | BPF_K, mask, 0, 0);
	emit(program, BPF_JMP | BPF_JEQ | BPF_K, value, 0, 0);
}

static void emit_check(struct program *program, const struct seccomp_check *check)
{
	size_t start = program->len;
	/* Little endian: the low half of an argument comes first. */
	size_t offset = offsetof(struct seccomp_data, args) + check->argument * sizeof(uint64_t);
	emit_half(program, offset, (uint32_t)check->mask, (uint32_t)check->value);
	emit_half(program, offset + sizeof(uint32_t), (uint32_t)(check->mask >> 32),
		(uint32_t)(check->value >> 32));
	emit_return(program, check->action);
	for (size_t i = start; i < program->len; i++)
		if (BPF_CLASS(program->insns[i].code) == BPF_JMP)
			program->insns[i].jf = (uint8_t)(program->len - i - 1);
}

static void emit_verdict(struct program *program, const struct seccomp_verdict *verdict)
{
	for (size_t i = 0; i < verdict->checks_len; i++)
		emit_check(program, &verdict->checks[i]);
	emit_return(program, verdict->action);
}

static void emit_tree(struct program *program, const struct seccomp_range *ranges, size_t len)
{
	if (len == 1) {
		emit_verdict(program, ranges[0].verdict);
		return;
	}
	size_t middle = len / 2;
	size_t jump = program->len;
	emit(program, BPF_JMP | BPF_JGE | BPF_K, ranges[middle].start, 0, 0);
	emit_tree(program, ranges, middle);
	size_t distance = program->len - jump - 1;
	if (distance <= UINT8_MAX) {
		program->insns[jump].jt = (uint8_t)distance;
	} else {
		/* What moves has only jumps within itself. */
		emit(program, 0, 0, 0, 0);
		memmove(&program->insns[jump + 2], &program->insns[jump + 1],
			distance * sizeof(program->insns[0]));
		program->insns[jump].jf = 1;
		program->insns[jump + 1] =
			(struct sock_filter){ BPF_JMP | BPF_JA, 0, 0, (uint32_t)distance };
	}
	emit_tree(program, ranges + middle, len - middle);
}

void seccomp_tree_compile(const struct seccomp_arch *archs, size_t len, struct text *bpf)
{
	struct program program = { 0 };
	emit_load(&program, offsetof(struct seccomp_data, arch));
	for (size_t i = 0; i < len; i++) {
		/* "goto next unless this one", long: a tree may be longer than 255. */
		size_t jump = program.len;
		emit(&program, BPF_JMP | BPF_JEQ | BPF_K, archs[i].arch, 1, 0);
		emit(&program, BPF_JMP | BPF_JA, 0, 0, 0);
		emit_load(&program, offsetof(struct seccomp_data, nr));
		emit_tree(&program, archs[i].ranges, archs[i].len);
		program.insns[jump + 1].k = (uint32_t)(program.len - jump - 2);
	}
	emit_return(&program, SECCOMP_RET_KILL_PROCESS);
	text_add(bpf, (const char *)program.insns, program.len * sizeof(program.insns[0]));
	free(program.insns);
}
