/* soft_run - the loop: block after block, and what comes between them. */
#pragma once

#include "cpu/soft/soft_vcpu.h"

/* Bits of soft_vcpu.attention. */
#define ATTENTION_KICK 1u  /* leave the loop */
#define ATTENTION_EVENT 2u /* an interrupt, a timer, a start: ask the interrupt controllers */

/* In reset's state but for what cpu_vcpu_set_state() sets; machine is borrowed. */
MUST_CHECK int soft_vcpu_init(struct soft_vcpu *v, struct soft_machine *machine, unsigned index,
	struct err *err);
void soft_vcpu_done(struct soft_vcpu *v);

/* From any thread; wakes a processor that is halted. */
void soft_attend(struct soft_vcpu *v, unsigned attention);

enum soft_outcome { SOFT_KICKED, SOFT_SHUTDOWN };
enum soft_outcome soft_run(struct soft_vcpu *v);

/* One instruction, for tests: false with what it raised, which is not delivered. */
MUST_CHECK bool soft_step(struct soft_vcpu *v, struct soft_exception *ret_exception);
