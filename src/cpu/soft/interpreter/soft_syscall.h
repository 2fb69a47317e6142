/* soft_syscall - the instructions of system calls, for who meets them elsewhere: a program in ring
 * 3 that runs directly. */
#pragma once

#include "cpu/soft/soft_vcpu.h"

/* next_rip: behind the instruction.  Raises #UD where there is none. */
void soft_syscall(struct soft_vcpu *v, uint64_t next_rip);
/* SYSENTER: raises #GP where there is none, and #UD where it is AMD's. */
void soft_sysenter(struct soft_vcpu *v);
