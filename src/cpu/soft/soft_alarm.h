/* soft_alarm - a processor's next timer, as a signal to its thread: it ends what that thread waits
 * for, also a stub's run. */
#pragma once

#include "cpu/soft/soft_vcpu.h"

/* In the vCPU's thread. */
MUST_CHECK int soft_alarm_new(struct soft_vcpu *v, struct err *err);
void soft_alarm_free(struct soft_vcpu *v);
/* Not later than this (the guest's time stamp counter; UINT64_MAX: never) the processor gets
 * attention; it may come earlier. */
void soft_alarm_set(struct soft_vcpu *v, uint64_t deadline);
