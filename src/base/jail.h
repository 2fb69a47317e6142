/* jail - how a role gives up its rights before it reads hostile bytes. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

/* Allowed where (argument & mask) == value, of the argument's lower 32 bits.  Several rules of one
 * system call are alternatives. */
struct jail_rule {
	int syscall;
	unsigned argument; /* 0 .. 5 */
	uint32_t mask, value;
};

struct jail {
	const int *syscalls; /* the only ones allowed after entering; all else kills the process */
	size_t syscalls_len;
	const struct jail_rule *rules; /* allowed as well; looked at first, in this order */
	size_t rules_len;
	unsigned uid; /* 0: stay; else this user and group, no supplementary groups */
};

/* New mount, network, ipc, uts namespaces with an empty root where privileged enough, then the uid,
 * no_new_privs, no capabilities, then the seccomp list.  Fails closed. */
MUST_CHECK int jail_enter(const struct jail *jail, struct err *err);

/* The same in two parts, for a role that prepares itself in between: all but the list while it has
 * one thread, and then the list, for all its threads. */
MUST_CHECK int jail_leave(const struct jail *jail, struct err *err);
MUST_CHECK int jail_close(const struct jail *jail, struct err *err);
