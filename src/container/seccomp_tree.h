/* seccomp_tree - a filter as a search tree over ranges of system call numbers; private to this
 * folder. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

/* Bits of one argument that must have a value, and what follows then. */
struct seccomp_check {
	unsigned argument;
	uint64_t mask, value;
	uint32_t action; /* SECCOMP_RET_* */
};

#define SECCOMP_CHECKS_MAX 8
/* What happens to a call: the first check that holds decides, else the action. */
struct seccomp_verdict {
	uint32_t action;
	struct seccomp_check checks[SECCOMP_CHECKS_MAX];
	size_t checks_len;
};

/* Numbers from start up to the next range's start. */
struct seccomp_range {
	uint32_t start;
	const struct seccomp_verdict *verdict; /* borrowed */
};

/* The calls of one AUDIT_ARCH_*, ascending, the first from 0. */
struct seccomp_arch {
	uint32_t arch;
	const struct seccomp_range *ranges; /* borrowed */
	size_t len;
};

/* Appends the program: other architectures are killed. */
void seccomp_tree_compile(const struct seccomp_arch *archs, size_t len, struct text *bpf);
