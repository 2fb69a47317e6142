/* soft_trap - exceptions and interrupts: from what was raised to the first instruction of its
 * handler (Intel SDM 3, chapter 6). */
#pragma once

#include "cpu/soft/soft_vcpu.h"

/* Delivers v->exception, which soft_raise() left, at soft_rip(); what that meets on its way (a page
 * fault of the stack, a bad gate) becomes what it does on the processor.  False: the last of it is
 * a triple fault, and the processor shuts down.  Both set v->trap: set it anew behind them. */
MUST_CHECK bool soft_deliver(struct soft_vcpu *v);
/* The same for an interrupt from outside: NMI (vector 2) or what the interrupt controller gave.
 * Between blocks only. */
MUST_CHECK bool soft_interrupt(struct soft_vcpu *v, unsigned vector);
