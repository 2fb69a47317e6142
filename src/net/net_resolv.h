/* net_resolv - which lines of the host's resolv.conf a workload gets. */
#pragma once

#include <stddef.h>

#include "base/text.h"

/* Appends what a workload can use of a host's file; the number of name servers among it. */
size_t net_resolv_filter(struct view host, struct text *ret_text);
