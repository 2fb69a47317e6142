/* box - a container for a test: a root with busybox in a temporary directory, Docker's defaults,
 * and a script.  Everything it makes goes away in box_done(). */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/json.h"
#include "base/text.h"
#include "container/container.h"

struct box {
	char *dir;  /* owned; root/, mnt/, cache/ */
	char *root; /* owned */
	char *cgroup_path;
	json *document; /* owned; change it before box_start() */
	const char *user;
	struct cgroup_limits limits;
	bool only_v2; /* as if the host had nothing but its v2 hierarchy */
	struct container_spec *spec;
	struct cgroup *cgroup;
	pid_t pid;
	int pidfd, report_fd, go_fd, out_fd, console_fd;
	int fd_leak; /* closed by box_done(); a descriptor that must not be inherited */
};

/* The host's cgroup hierarchies as the box is to see them; nothing when v2 is wanted and missing.
 */
struct cgroup_host;
MUST_CHECK int box_cgroup_host(const struct box *box, struct cgroup_host *ret_host,
	struct err *err);
/* Whether this process may make containers; tests are skipped where not. */
bool box_is_possible(void);
void box_init(struct box *box);
void box_done(struct box *box);
/* Clones, waits for READY, gives the go, waits for the exec. */
MUST_CHECK int box_start(struct box *box, struct err *err);
/* Waits for the end; the exit status (128+n for a signal). */
int box_wait(struct box *box);
/* sh -c SCRIPT: its exit status or a negative errno; out gets stdout and stderr. */
int box_run(struct box *box, const char *script, struct text *out, struct err *err);
void box_set_args(struct box *box, const char *const *args);
/* sh -c SCRIPT in the running box by container_exec(). */
int box_exec(struct box *box, const char *script, const char *user, struct text *out,
	struct err *err);
void box_add_mount(struct box *box, const char *destination, const char *type, const char *source,
	const char *options);
