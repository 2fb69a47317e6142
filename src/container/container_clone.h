/* container_clone - a child in the namespaces of a container; private to this folder. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/err.h"

struct cgroup;

struct container_clone {
	uint64_t namespaces; /* CLONE_NEW* that are made */
	int pid_namespace;   /* borrowed; pidfd or namespace whose pids the child gets; -1: by flags
			      */
	const struct cgroup *cgroup; /* v2: the child is born in it; else unused */
};

/* fork(2) with these; 0 in the child, which is not dumpable. */
MUST_CHECK pid_t container_clone(const struct container_clone *clone, int *ret_pidfd,
	struct err *err);
