/* soft_compat - 32-bit programs in stubs.  A stub has the segments of 64-bit Linux's programs: so
 * it can run those of a guest that has laid out its own in the same way, flat, with the same
 * selectors, and thread-local storage in the same three entries of the GDT.  All others are
 * interpreted. */
#pragma once

#include "cpu/soft/soft_vcpu.h"
#include "cpu/soft/stub/stub.h"

/* Whether the segments that are loaded are such. */
MUST_CHECK bool soft_compat_fits(const struct soft_vcpu *v);
/* What the stub needs of them.  False where FS or GS is no more what its descriptor says. */
MUST_CHECK bool soft_compat_put(struct soft_vcpu *v, struct stub_regs *regs);
/* What the program has loaded by itself, also another kind of code; `put` is what went in.  Raises
 * what loading it here raises. */
void soft_compat_take(struct soft_vcpu *v, const struct stub_regs *put,
	const struct stub_regs *regs);
