/* soft_user - ring 3: run directly on the processor, in a stub for each of the guest's address
 * spaces that are in use.  What cannot run there - a page that is a device's, code outside 64-bit
 * mode - the interpreter runs. */
#pragma once

#include "cpu/soft/soft_vcpu.h"

/* Before the jail closes, in the vCPU's thread, when all memory is mapped: stubs end when it does.
 */
MUST_CHECK int soft_user_new(struct soft_vcpu *v, struct err *err);
void soft_user_free(struct soft_user *user); /* NULL is fine; when nobody kicks it any more */

/* Whether what is to be run now can be. */
MUST_CHECK bool soft_user_fits(const struct soft_vcpu *v);
enum soft_user_result {
	SOFT_USER_DONE,      /* something has happened: look around, go on */
	SOFT_USER_INTERPRET, /* the next instruction is the interpreter's */
	SOFT_USER_SHUTDOWN,
};
enum soft_user_result soft_user_run(struct soft_vcpu *v);
/* From any thread, or a signal handler: out of the stub. */
void soft_user_kick(struct soft_user *user);

/* The guest's TLB flushes: of one address space (by PCID, 0 without PCIDs), of one page of it, of
 * all. */
void soft_user_flush(struct soft_vcpu *v, unsigned pcid);
void soft_user_flush_page(struct soft_vcpu *v, unsigned pcid, uint64_t linear);
void soft_user_flush_all(struct soft_vcpu *v);

/* v->xstate as ring 3 left it, for ring 0 to read; or to change. */
void soft_user_read_xstate(struct soft_vcpu *v);
void soft_user_write_xstate(struct soft_vcpu *v);
