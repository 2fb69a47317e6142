/* soft_msr - model-specific registers: a table, msrs.def. */
#pragma once

#include "cpu/soft/soft_vcpu.h"

/* As after reset. */
void soft_msr_reset(struct soft_vcpu *v);
/* False: there is none, or not with that value, which is #GP.  A write may itself raise. */
MUST_CHECK bool soft_msr_read(struct soft_vcpu *v, uint32_t number, uint64_t *ret_value);
MUST_CHECK bool soft_msr_write(struct soft_vcpu *v, uint32_t number, uint64_t value);
