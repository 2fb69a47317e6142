/* engine - workloads: the one place where a container and a virtual machine are the same thing.
 * Everything the CLI and the APIs can ask of moat, called in-process. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/json.h"
#include "base/text.h"

/* ---- opening ---- */

/* One command's or one request's view of the state: the data root (what lasts), the run directory
 * (what lives until the next boot) and the database. */
struct engine;
/* Absolute paths; config is a file that need not be there. */
MUST_CHECK int engine_open(const char *root, const char *run, const char *config,
	struct engine **ret_engine, struct err *err);
void engine_free(struct engine *engine);
DEFINE_AUTO(engine)

#define ENGINE_ROOT_DEFAULT "/var/lib/moat"
#define ENGINE_RUN_DEFAULT "/run/moat"
#define ENGINE_CONFIG_DEFAULT "/etc/moat/config.json"

/* ---- what a workload is ---- */

enum workload_network { NETWORK_BRIDGE, NETWORK_NONE, NETWORK_HOST };
const char *workload_network_name(enum workload_network network);
MUST_CHECK int workload_network_parse(const char *text, enum workload_network *ret_network,
	struct err *err);

struct workload_mount {
	char *source; /* owned; absolute host path; NULL for a tmpfs */
	char *target; /* owned; absolute path inside */
	bool is_tmpfs;
	bool read_only;
	bool make_source; /* a missing source becomes a directory at the start */
	char *options;    /* owned; further tmpfs options ("size=64m"), or NULL */
};

/* What the user asked for; plain values.  Filled by the CLI and the APIs, kept in the database as
 * JSON once the image's part is merged in. */
struct workload_spec {
	char *image;      /* owned, as all pointers here */
	char *name;       /* NULL: made up */
	char *isolation;  /* "container", "vm" */
	char *accel;      /* a machine's accelerator, by name; NULL: the best that there is */
	struct strv args; /* command and arguments; empty: the image's */
	struct strv entrypoint;
	bool has_entrypoint; /* an empty one clears the image's */
	struct strv env, labels;
	char *user, *workdir, *hostname, *stop_signal;
	enum workload_network network;
	bool interactive, tty, auto_remove, detach;
	bool attach_stdin; /* -i in the foreground */
	int64_t nano_cpus;
	uint64_t memory_bytes;
	int64_t pids_limit;
	struct workload_mount *mounts; /* owned */
	size_t mounts_len;
};
void workload_spec_done(struct workload_spec *spec);
void workload_spec_add_mount(struct workload_spec *spec, struct workload_mount take_mount);

enum workload_phase { WORKLOAD_CREATED, WORKLOAD_RUNNING, WORKLOAD_EXITED };
#define WORKLOAD_EXIT_UNKNOWN (-1)
const char *workload_phase_name(enum workload_phase phase); /* as Docker says it */

/* A workload as it is now: the record joined with what the kernel and the run directory say. */
struct workload {
	char *id, *name, *image; /* owned, as all pointers here */
	struct digest image_id;
	int64_t created_ns, started_ns, finished_ns; /* 0: not yet */
	struct workload_spec spec;
	enum workload_phase phase;
	int exit_status; /* as a shell counts (128+n for a signal); WORKLOAD_EXIT_UNKNOWN */
	bool oom_killed;
	pid_t pid;     /* of its init on this host, while running */
	char *address; /* on the bridge, while running; NULL: none */
	/* A machine's, while running: its accelerator's name and what keeps the guest inside;
	 * static, not owned. */
	const char *accel, *boundary;
};
void workload_done(struct workload *workload);

/* ---- workloads (engine/run.c, stop.c, exec.c, attach_running.c, workload.c, logs.c) ---- */

MUST_CHECK int engine_create(struct engine *engine, struct workload_spec *spec, char **ret_id,
	struct err *err);

/* Stream ends the caller lends to an attached workload. */
struct engine_stdio {
	int in, out, err;        /* borrowed; -1: not wanted */
	bool sig_proxy;          /* signals the caller gets are passed on */
	const char *detach_keys; /* NULL: ctrl-p,ctrl-q */
};
/* Runs a new workload; with spec->detach returns once it is started (*ret_id), else attaches and
 * returns its exit status in *ret_status after its end. */
MUST_CHECK int engine_run(struct engine *engine, struct workload_spec *spec,
	const struct engine_stdio *stdio, char **ret_id, int *ret_status, struct err *err);
MUST_CHECK int engine_start(struct engine *engine, const char *name,
	const struct engine_stdio *stdio, int *ret_status, struct err *err);
MUST_CHECK int engine_attach(struct engine *engine, const char *name,
	const struct engine_stdio *stdio, int *ret_status, struct err *err);

struct engine_exec {
	struct strv args, env;
	char *user, *workdir; /* owned; NULL: the workload's */
	bool interactive, tty, detach;
};
void engine_exec_done(struct engine_exec *exec);
MUST_CHECK int engine_exec(struct engine *engine, const char *name, const struct engine_exec *exec,
	const struct engine_stdio *stdio, int *ret_status, struct err *err);

MUST_CHECK int engine_signal(struct engine *engine, const char *name, int signal_number,
	struct err *err);
/* signal_number 0: the workload's stop signal; timeout_ms -1: its default of ten seconds. */
MUST_CHECK int engine_stop(struct engine *engine, const char *name, int signal_number,
	int timeout_ms, struct err *err);
MUST_CHECK int engine_wait(struct engine *engine, const char *name, int *ret_status,
	struct err *err);
MUST_CHECK int engine_remove(struct engine *engine, const char *name, bool force, struct err *err);
/* What a monitor asks for after the end of a workload that is to be removed. */
MUST_CHECK int engine_reap(struct engine *engine, const char *id, struct err *err);

MUST_CHECK int engine_find(struct engine *engine, const char *name, struct workload *ret_workload,
	struct err *err);
typedef int engine_workload_fn(void *context, const struct workload *workload, struct err *err);
/* All workloads, newest first; never waits for one. */
MUST_CHECK int engine_each(struct engine *engine, engine_workload_fn *fn, void *context,
	struct err *err);
/* The document `inspect` prints: Docker's shape. */
json *engine_inspect(const struct workload *workload);

struct engine_logs {
	bool follow, timestamps;
	int64_t tail;               /* -1: all */
	int64_t since_ns, until_ns; /* wall clock; 0: no bound */
};
MUST_CHECK int engine_logs(struct engine *engine, const char *name, const struct engine_logs *logs,
	int out_fd, int err_fd, struct err *err);

/* ---- images (engine/load.c, import.c, images.c) ---- */

typedef void engine_progress_fn(void *context, const char *line);
/* A docker-archive or OCI layout, as a folder, a file or a stream (path "-": fd 0); plain, gzip or
 * zstd.  Says what it loaded as docker load does, line by line. */
MUST_CHECK int engine_load(struct engine *engine, const char *path, engine_progress_fn *progress,
	void *context, struct err *err);
/* Images as an archive that is an OCI layout and a docker-archive, into out_fd; an image named by a
 * reference has that name there, one named by its id has none.  Equal images, equal bytes. */
MUST_CHECK int engine_save(struct engine *engine, const struct strv *names, int out_fd,
	struct err *err);
/* A root file system as tar (path "-": fd 0); reference may be NULL.  *ret_id: the image's digest.
 */
MUST_CHECK int engine_import(struct engine *engine, const char *path, const char *reference,
	struct digest *ret_id, struct err *err);

struct engine_image {
	struct digest id, manifest;
	int64_t created_ns;
	uint64_t size_bytes;
	struct strv references; /* familiar names */
};
typedef int engine_image_fn(void *context, const struct engine_image *image, struct err *err);
MUST_CHECK int engine_images_each(struct engine *engine, engine_image_fn *fn, void *context,
	struct err *err);
MUST_CHECK int engine_image_tag(struct engine *engine, const char *source, const char *target,
	struct err *err);
/* Untags, and deletes when no reference is left; force deletes with several references. */
MUST_CHECK int engine_image_remove(struct engine *engine, const char *name, bool force,
	engine_progress_fn *progress, void *context, struct err *err);
MUST_CHECK int engine_image_inspect(struct engine *engine, const char *name, json **ret_document,
	struct err *err);

/* ---- kernels of virtual machines (engine/kernels.c, kernel_import.c) ---- */

struct engine_kernel {
	char *name, *kind; /* owned; the release; "bzImage, boot protocol 2.15" */
	int64_t imported_ns;
	uint64_t size_bytes; /* of all its files */
	size_t modules;
	bool is_default;
};
/* path is a Debian package, or a kernel file whose modules are below
 * MODULES_DIR/lib/modules/RELEASE (NULL: it needs none).  Replaces a kernel of the same release;
 * the first one becomes the default. */
MUST_CHECK int engine_kernel_import(struct engine *engine, const char *path,
	const char *modules_dir, char **ret_name, struct err *err);
typedef int engine_kernel_fn(void *context, const struct engine_kernel *kernel, struct err *err);
MUST_CHECK int engine_kernels_each(struct engine *engine, engine_kernel_fn *fn, void *context,
	struct err *err);
MUST_CHECK int engine_kernel_use(struct engine *engine, const char *name, struct err *err);
MUST_CHECK int engine_kernel_remove(struct engine *engine, const char *name, struct err *err);

/* ---- the host ---- */

json *engine_info(struct engine *engine);
/* Repairs what a killed command left (engine/repair.c); called by every command that writes. */
MUST_CHECK int engine_repair(struct engine *engine, struct err *err);
/* Ends and removes all that a run of this engine keeps alive when idle: the image mounts' namespace
 * and unused networks. */
MUST_CHECK int engine_prune(struct engine *engine, struct err *err);

/* One row of `moat compare`. */
struct engine_measure {
	const char *wall, *accelerator; /* accelerator NULL: the wall has none */
	bool is_available;
	char why_not[480];
	uint64_t first_instruction_us, exit_us, host_memory_bytes, disk_bytes;
	uint64_t wall_memory_bytes; /* beside the workload; 0: not known */
	unsigned host_calls;        /* of the host's kernel that are within reach */
	char kernel[96];
};
MUST_CHECK int engine_compare(struct engine *engine, const char *image, const struct strv *args,
	struct engine_measure **ret_rows, size_t *ret_len, struct err *err);

/* ---- roles (main.c) ---- */

/* Body of the role "extract": one job, named by its arguments, in a jail. */
int engine_extract_main(int argc, char **argv);
/* Body of the role "firewall". */
int engine_firewall_main(int argc, char **argv);
