/* bpf_reach - whether a seccomp filter lets a system call through with some arguments: its program
 * is walked for one number, and where a jump depends on an argument both ways are taken. */
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bpf_reach {
	const struct sock_filter *insns; /* borrowed */
	size_t len;
	uint32_t arch, number;
};

/* From instruction pc on, with a in the accumulator if that is known. */
static inline bool bpf_reach_from(const struct bpf_reach *reach, size_t pc, bool is_known,
	uint32_t a)
{
	for (; pc < reach->len; pc++) {
		const struct sock_filter *i = &reach->insns[pc];
		bool holds = false;
		switch (i->code) {
		case BPF_RET | BPF_K: return i->k == SECCOMP_RET_ALLOW;
		case BPF_JMP | BPF_JA: pc += i->k; continue;
		case BPF_ALU | BPF_AND | BPF_K: a &= i->k; continue;
		case BPF_LD | BPF_W | BPF_ABS:
			is_known = i->k <= offsetof(struct seccomp_data, arch);
			a = i->k == offsetof(struct seccomp_data, arch) ? reach->arch
									: reach->number;
			continue;
		case BPF_JMP | BPF_JEQ | BPF_K: holds = a == i->k; break;
		case BPF_JMP | BPF_JGE | BPF_K: holds = a >= i->k; break;
		case BPF_JMP | BPF_JGT | BPF_K: holds = a > i->k; break;
		default: fail_msg("instruction 0x%x", i->code);
		}
		if (!is_known && bpf_reach_from(reach, pc + 1 + i->jt, false, 0))
			return true;
		pc += is_known && holds ? i->jt : i->jf;
	}
	fail_msg("the program runs past its end");
	return false;
}

/* How many numbers below end the program lets through. */
static inline unsigned bpf_reach_count(const struct sock_filter *insns, size_t len, uint32_t arch,
	uint32_t end)
{
	unsigned count = 0;
	for (uint32_t number = 0; number < end; number++) {
		const struct bpf_reach reach = { insns, len, arch, number };
		count += bpf_reach_from(&reach, 0, false, 0);
	}
	return count;
}
