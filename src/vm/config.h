/* config - the configuration that the role is started with (vm.h), as a value. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "base/limits.h"

struct config {
	json *document; /* owned: strings and devices are borrowed from it */
	const char *accel, *cmdline;
	int accel_fd, kernel_fd, serial_fd; /* -1: none */
	int initrd_fds[LIMIT_INITRDS];
	size_t initrds;
	unsigned cpus, uid;
	uint64_t memory_bytes;
	json *devices; /* array; may be NULL */
	int *fds;      /* owned: every descriptor that the document names, whatever for */
	size_t fds_len;
};

MUST_CHECK int config_parse(struct view bytes, struct config *ret_config, struct err *err);
void config_done(struct config *config);
