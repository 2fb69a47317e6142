/* guest_workload - the one workload of the machine, as the container that it is. */
#pragma once

#include <sys/types.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "container/container.h"
#include "guest/guest.h"
#include "guest/guest_order.h"
#include "guest/guest_root.h"

struct guest_workload {
	struct container_spec *spec; /* owned, as all here */
	struct cgroup *cgroup;
	char *cache_dir; /* NULL: filters are compiled each time */
	pid_t pid;       /* 0: not made, or reaped */
	int pidfd;
	int go_fd, report_fd; /* the init's: see container_create() */
	int streams[3];       /* our ends of its pipes; -1: none */
	int master, peer;     /* of its terminal; the peer keeps it from hanging up; -1: none */
};

/* In place; returns when the init waits for its go.  root->mount_fd becomes its root. */
MUST_CHECK int guest_workload_create(const struct guest_platform *platform,
	struct guest_order *order, struct guest_root *root, struct guest_workload *ret_workload,
	struct err *err);
MUST_CHECK int guest_workload_go(struct guest_workload *workload, struct err *err);
void guest_workload_done(struct guest_workload *workload);

/* A pipe for one of the three streams (CLOEXEC): *ret_process is the process's end. */
MUST_CHECK int guest_stream_open(int stream, int *ret_process, int *ret_ours, struct err *err);
/* The master that a container's process sent to the other end of socket, not blocking. */
MUST_CHECK int guest_terminal_receive(int socket, int *ret_master, struct err *err);
void guest_terminal_resize(int master, uint32_t rows_and_columns);
