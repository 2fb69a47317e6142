/* soft_syscall - the SYSCALL instruction, for who meets it elsewhere: a program in ring 3 that runs
 * directly. */
#pragma once

#include "cpu/soft/soft_vcpu.h"

/* next_rip: behind the instruction.  Raises #UD where there is none. */
void soft_syscall(struct soft_vcpu *v, uint64_t next_rip);
