/* monitor - one workload's keeper, from the start of its init to the record of its exit. */
#pragma once

#include "base/cleanup.h"
#include "base/err.h"
#include "wire/monitor_args.h"

struct monitor;

/* Consumes the descriptors in args, which must outlive the monitor.  What a first client has said
 * already is obeyed. */
MUST_CHECK int monitor_new(const struct monitor_args *args, struct monitor **ret_monitor,
	struct err *err);
void monitor_free(struct monitor *monitor);
DEFINE_AUTO(monitor)
/* Returns when the exit is recorded and every client has been told. */
MUST_CHECK int monitor_keep(struct monitor *monitor, struct err *err);
