/* launch - a workload on its way from a specification to a running process: what the steps of
 * `run`, `create` and `start` (run.c) hand from one to the next. */
#pragma once

#include <netinet/in.h>

#include "base/id.h"
#include "base/proc.h"
#include "engine/dirs.h"
#include "engine/engine.h"
#include "image/image.h"
#include "net/net.h"

struct backend;

struct launch {
	struct engine *engine;      /* borrowed */
	struct workload_spec *spec; /* borrowed */
	const struct backend *backend;
	char id[ID_LEN + 1];
	bool is_name_made_up;
	int64_t created_ns;

	struct state_image image;
	struct dirs dirs;
	int image_mount_fd; /* owned; the image, read-only and detached */

	struct net_bridge bridge;
	struct in_addr address; /* 0: none */
	bool is_connected;      /* by create already: a machine is made with its interface */

	bool wants_client; /* the caller attaches at once */
	int client_fd;     /* owned; its end of the monitor's first client socket */
	pid_t monitor_pid;
	struct proc_id init;
	int init_pidfd; /* owned */
	int go_fd;      /* owned; one byte lets the init execute, closing it ends it */
	int report_fd;  /* owned; what the init has to say */
	bool is_started;
};

void launch_init(struct launch *launch, struct engine *engine, struct workload_spec *spec);
void launch_done(struct launch *launch);

/* Steps; the files hold apply and undo of one thing each (struct step). */
int launch_image(void *launch, struct err *err);  /* images.c */
int launch_rootfs(void *launch, struct err *err); /* rootfs.c */
void launch_rootfs_undo(void *launch);
int launch_disk(void *launch, struct err *err);
int launch_mount(void *launch, struct err *err);
void launch_mount_undo(void *launch);
int launch_network(void *launch, struct err *err); /* network.c */
void launch_network_undo(void *launch);
int launch_connect(void *launch, struct err *err);
int launch_create(void *launch, struct err *err); /* run.c */
void launch_create_undo(void *launch);
int launch_record(void *launch, struct err *err);
void launch_record_undo(void *launch);
int launch_start(void *launch, struct err *err);
