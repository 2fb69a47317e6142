/* soft_control - control registers: what may be written to them, and what follows from it (Intel
 * SDM 3, 2.5; 4.1; 9.8.5).  Each raises #GP(0) for what may not, and then has changed nothing. */
#pragma once

#include "cpu/soft/soft_vcpu.h"

void soft_set_cr0(struct soft_vcpu *v, uint64_t value);
void soft_set_cr3(struct soft_vcpu *v, uint64_t value);
void soft_set_cr4(struct soft_vcpu *v, uint64_t value);
void soft_set_efer(struct soft_vcpu *v, uint64_t value);
void soft_set_xcr0(struct soft_vcpu *v, uint64_t value);
