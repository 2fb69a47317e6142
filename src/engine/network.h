/* network - a workload's place on the default network, and the files that tell it so. */
#pragma once

#include "engine/launch.h"

/* Gives back the address a workload holds; RUN/ID/address names it.  Idempotent.  The interface
 * goes with the network namespace. */
MUST_CHECK int network_release(struct engine *engine, const char *id, struct err *err);
/* The same for a workload whose start was cut before it could note its address: looks through all.
 */
MUST_CHECK int network_release_unnoted(struct engine *engine, const char *id, struct err *err);
/* "172.30.0.2" of a running workload, caller owns; NULL: none. */
char *network_address(int run_fd);
/* Removes the bridge and its firewall table where no workload holds an address. */
MUST_CHECK int network_prune(struct engine *engine, struct err *err);
