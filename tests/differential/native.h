/* native - one instruction on the real processor: registers in, registers and fault out.  It runs
 * in this process, between two signals: the first puts the registers in, the trap behind the
 * instruction, or its fault, brings them out.  Whatever it is, it can make no system call but those
 * of that way (seccomp). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A kind of code, and where it and its data are, for both processors. */
struct mode {
	const char *name;
	unsigned code_size; /* 8, 4 */
	uint16_t cs;
	uint64_t code, data;
};
enum { CODE_BYTES = 4096, DATA_BYTES = 64 << 10, TRAP = 0xcc };

struct registers {
	uint64_t gpr[16]; /* as instructions number them */
	uint64_t rip, flags;
};
struct outcome {
	struct registers registers;
	int vector; /* -1: none */
	uint32_t error;
	uint64_t address; /* of a page fault */
};

/* Maps what these modes need; from then on there are no other system calls than to run and to
 * write. */
void native_start(const struct mode *modes, size_t count);
/* The code at mode->code is an instruction and traps behind it. */
void native_run(const struct mode *mode, const struct registers *registers,
	struct outcome *ret_outcome);
/* Whether this host has it.  Leaves traps at mode->code. */
bool native_has(const struct mode *mode);
