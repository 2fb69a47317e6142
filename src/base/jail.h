/* jail - how a role gives up its rights before it reads hostile bytes. */
#pragma once

#include <stddef.h>

#include "base/cleanup.h"
#include "base/err.h"

struct jail {
	const int *syscalls; /* the only ones allowed after entering; all else kills the process */
	size_t syscalls_len;
	unsigned uid; /* 0: stay; else this user and group, no supplementary groups */
};

/* New mount, network, ipc, uts namespaces with an empty root where privileged enough, then the uid,
 * no_new_privs, no capabilities, then the seccomp list.  Fails closed. */
MUST_CHECK int jail_enter(const struct jail *jail, struct err *err);
