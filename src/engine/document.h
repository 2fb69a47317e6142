/* document - the OCI runtime-spec document of a workload. */
#pragma once

#include "engine/launch.h"

/* From the resolved specification; the caller owns it (json_object_put).  The user is not in it:
 * its name is looked up in the root file system, by the init. */
json *document_build(const struct launch *launch);
/* The same for the inside of a virtual machine: CPUs and memory are the machine's own limits, and
 * moat-guest makes the files in /etc. */
json *document_build_guest(const struct launch *launch);
/* The cgroup of a workload, in every hierarchy: "moat/ID"; caller owns. */
char *document_cgroup_path(const char *id);
