/* settings - what the owner of this host has decided for all workloads: a JSON file, by default
 * /etc/moat/config.json, with an object for each section:
 *
 *   { "vm": { "require_hardware": true } }
 *
 * Without the file all is as settings.def says.  It is read when something asks for it, so a
 * mistake in it stops only what depends on it. */
#pragma once

#include "engine/handle.h"

struct settings {
#define SETTING_BOOL(section, key, field, fallback) bool field;
#include "engine/settings.def"
#undef SETTING_BOOL
};

/* ERR_INVALID names the file and what in it is unknown or of the wrong type. */
MUST_CHECK int settings_read(const struct engine *engine, struct settings *ret_settings,
	struct err *err);
