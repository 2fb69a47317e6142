/* fault - makes the n-th call of a libc function fail, by the linker's --wrap: calls from the code
 * under test and from the test itself are counted, those inside libc are not.  One thread. */
#pragma once

#include <stdbool.h>

/* The n-th call (1: the next one) of the function from now on fails with errnum, once.  Naming a
 * function that fault.def does not have ends the test. */
void fault_set(const char *function, unsigned nth, int errnum);
/* The next call of read, write, pread64 or pwrite64 moves one byte only. */
void fault_set_short(const char *function);
/* Nothing fails any more; true if the fault has happened. */
bool fault_clear(void);
