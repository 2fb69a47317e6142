/* container_init - the first process of a container, from its clone to its exec. */
#pragma once

struct container_create;

#define CONTAINER_JOINS_MAX 8
struct container_joins {
	int fds[CONTAINER_JOINS_MAX]; /* borrowed; namespaces to enter */
	int flags[CONTAINER_JOINS_MAX];
	int len;
};

/* The body of the cloned process. */
_Noreturn void container_init_run(const struct container_create *create,
	const struct container_joins *joins);
