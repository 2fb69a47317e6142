/* soft_clock - KVM's paravirtual clock (Documentation/virt/kvm/x86/msr.rst). */
#pragma once

#include "cpu/soft/soft_vcpu.h"

/* The guest's time stamp counter now. */
uint64_t soft_tsc(const struct soft_vcpu *v);
/* What is written to the two MSRs: an address, and for the clock a bit that starts it. */
void soft_clock_set(struct soft_vcpu *v, uint64_t value);
void soft_clock_set_wall(struct soft_vcpu *v, uint64_t value);
