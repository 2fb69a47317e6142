/* spec - what a workload is to run, as JSON for the database and joined with its image. */
#pragma once

#include "engine/engine.h"
#include "image/image.h"

json *workload_spec_to_json(const struct workload_spec *spec);
MUST_CHECK int workload_spec_from_json(struct view text, struct workload_spec *ret_spec,
	struct err *err);

/* ERR_INVALID for what a record cannot keep: it is JSON, and JSON is UTF-8. */
MUST_CHECK int workload_spec_check(const struct workload_spec *spec, struct err *err);

/* Joins the image's configuration in: command by Docker's entrypoint and cmd rules, environment,
 * user, working directory, stop signal, labels, volumes' absence.  After it the spec needs no image
 * to be run.  ERR_INVALID when there is no command. */
MUST_CHECK int workload_spec_resolve(struct workload_spec *spec, const struct image_config *config,
	const char *id, struct err *err);
