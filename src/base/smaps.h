/* smaps - what a process weighs in the host's memory (proc_pid_smaps(5)): the sum of its mappings'
 * proportional shares, in which a page of several processes counts once among them all. */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"
#include "base/proc.h"
#include "base/text.h"

/* Of the text of a smaps file, without the mappings that have a flag in their VmFlags ("dd": not in
 * a core file); NULL: all.  -EBADMSG where a mapping says less than that. */
MUST_CHECK int smaps_sum(struct view smaps, const char *without, uint64_t *ret_bytes);
/* Of a process; -ESRCH when it has gone. */
MUST_CHECK int smaps_read(const struct proc_id *process, const char *without, uint64_t *ret_bytes);
