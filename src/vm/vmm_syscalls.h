/* vmm_syscalls - what the role "@vmm" may still ask of the host's kernel while its guest runs. */
#pragma once

#include "base/cleanup.h"
#include "base/err.h"

struct cpu_accel;

/* From now on and for all threads: the rows of vm_syscalls.def and vm_syscall_rules.def, or the
 * process is killed. */
MUST_CHECK int vmm_syscalls_close(const struct cpu_accel *accel, struct err *err);
