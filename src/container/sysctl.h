/* sysctl - kernel settings that belong to a namespace of the container. */
#pragma once

#include "base/cleanup.h"
#include "base/err.h"

/* Checks that name may be set by a container with these new namespaces (CLONE_NEW*), and that the
 * value is one line. */
MUST_CHECK int sysctl_check(const char *name, const char *value, int namespaces, struct err *err);
/* Writes "name=value", which was checked, below a procfs whose root is proc_fd. */
MUST_CHECK int sysctl_write(int proc_fd, const char *entry, struct err *err);
