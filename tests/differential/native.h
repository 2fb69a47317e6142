/* native - one instruction on the real processor: registers in, registers and fault out.  It runs
 * in this process, between two signals: the first puts the registers in, the trap behind the
 * instruction, or its fault, brings them out. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Where code and data are, for both processors. */
#define CODE_AT UINT64_C(0x300000000000)
#define DATA_AT UINT64_C(0x304000000000)
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

void native_start(void);
/* The code at CODE_AT is an instruction and traps behind it. */
void native_run(const struct registers *registers, struct outcome *ret_outcome);
