/* document - the OCI runtime-spec document of a workload. */
#pragma once

#include "engine/launch.h"

/* From the resolved specification; the caller owns it (json_object_put). */
MUST_CHECK int document_build(const struct launch *launch, json **ret_document, struct err *err);
/* The cgroup of a workload, in every hierarchy: "moat/ID"; caller owns. */
char *document_cgroup_path(const char *id);
