/* isal - the functions of libisal.so.2 (ISA-L) that inflate, loaded at run time: Debian has no
 * archive of it, and only pulls need it. */
#pragma once

#include <isa-l/igzip_lib.h>

#include "base/cleanup.h"
#include "base/err.h"

struct isal {
	void (*inflate_init)(struct inflate_state *state);
	void (*inflate_reset)(struct inflate_state *state);
	int (*inflate)(struct inflate_state *state);
	void (*gzip_header_init)(struct isal_gzip_header *header);
	int (*read_gzip_header)(struct inflate_state *state, struct isal_gzip_header *header);
};

/* Once loaded the library stays: later calls open no file, so they work inside a jail. */
MUST_CHECK int isal_load(struct isal *ret_isal, struct err *err);
