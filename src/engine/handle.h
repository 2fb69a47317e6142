/* handle - struct engine: where this engine keeps its things. */
#pragma once

#include "engine/engine.h"
#include "state/state.h"

/* ROOT/  moat.db                    the database
 *        blobs/sha256/HEX           configs, manifests, layers as they came
 *        layers/sha256/HEX          EROFS image of the layer with this diff-id
 *        images/sha256/HEX          merged metadata of the image with this id
 *        workloads/ID/              upper, work, log, exit, hosts, ...: what lasts of a workload
 *        unfinished/N               one locked file for each command now changing the store
 *        kernels/NAME/              a kernel of virtual machines (kernels.h)
 *        cache/                     compiled seccomp filters, the guest's initramfs
 * RUN/   ID/                        what lives of a workload; its first trace and its last
 *        mnt, images/               image mounts (storage.h)
 *        addresses/                 addresses in use (net.h)
 *        names/                     names of running workloads (running.h) */
struct engine {
	char *root, *run;    /* owned; absolute */
	char *config;        /* owned; the configuration file (settings.h) */
	int root_fd, run_fd; /* owned */
	struct state *state; /* owned; opened by engine_state() */
	bool is_new_boot;    /* RUN was made by this call: nothing of an earlier boot lives */
};

/* The database, opened on first use. */
MUST_CHECK int engine_state(struct engine *engine, struct state **ret_state, struct err *err);

/* Paths and descriptors of parts of the store; ret paths are the caller's. */
char *engine_path(const struct engine *engine, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The default network's bridge: "moat0" for the default run directory, else "mt" and eight hex
 * digits of the run directory's name, so that engines live side by side. */
void engine_bridge_name(const struct engine *engine, char name[16]);
