/* monitor_args - the command line of moat-monitor, for the side that writes it and the one that
 * reads it:
 *
 *     moat-monitor ID name=number ... [-- PROGRAM ARGUMENT...]
 *
 * Everything is an inherited descriptor (not close-on-exec) or a small number: rows of
 * monitor_args.def.  After "--" stands the exit command, executed once when the workload has ended,
 * with the monitor's environment (moat --root R --run R system reap ID), unless a client announced
 * that it cleans up (MONITOR_WILL_CLEAN) and did.  The monitor ignores what is at 0, 1 and 2 after
 * its options are read; an error in them is said there. */
#pragma once

#include "base/cleanup.h"
#include "base/err.h"
#include "base/text.h"

struct monitor_args {
	const char *id; /* borrowed; of the workload */
#define ARG(field, name, smallest, largest, fallback, meaning) int field;
#include "wire/monitor_args.def"
#undef ARG
	const char *const *exit_command; /* borrowed, NULL-terminated; NULL: none */
};

/* All options at their defaults. */
void monitor_args_init(struct monitor_args *ret_args, const char *id);
/* Appends to argv, which already holds the path of moat-monitor: the id and the options that differ
 * from their defaults, the exit command last. */
void monitor_args_format(const struct monitor_args *args, struct strv *argv);
/* argv as main() gets it, which must outlive ret_args. */
MUST_CHECK int monitor_args_parse(int argc, const char *const *argv, struct monitor_args *ret_args,
	struct err *err);
