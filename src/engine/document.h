/* document - the OCI runtime-spec document of a workload. */
#pragma once

#include "engine/launch.h"

/* From the resolved specification; the caller owns it (json_object_put).  The user is not in it:
 * its name is looked up in the root file system, by the init. */
json *document_build(const struct launch *launch);
/* The cgroup of a workload, in every hierarchy: "moat/ID"; caller owns. */
char *document_cgroup_path(const char *id);
