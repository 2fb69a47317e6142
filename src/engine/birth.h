/* birth - how a workload's monitor and its init come to life, the same behind every wall.
 *
 * Three processes: this command P makes S, which makes the workload's init I (a container's clone,
 * a machine's process) and then becomes the monitor by exec, so that the init is the monitor's own
 * child and needs no other parent.  P stands still until that exec and lends S its memory
 * (spawn_shared): a fork would copy it twice, for S and for I.  I sets itself up while P connects
 * the network and writes the record; then P says go. */
#pragma once

#include "engine/launch.h"
#include "engine/monitor_link.h"

#define BIRTH_END_DEADLINE_MS 10000 /* from SIGKILL to the end of the last process */

struct birth {
	struct monitor_link link;
	int go[2];     /* one byte from P lets I execute, its closing ends I */
	int report[2]; /* what I has to say */
};

void birth_init(struct birth *birth);
void birth_done(struct birth *birth);
MUST_CHECK int birth_prepare(const struct launch *launch, struct birth *birth, struct err *err);

/* Makes the init as a child of the calling process, with the ends birth->go[0] and
 * birth->report[1].  Runs in S, in P's memory: it leaves there what it finds. */
typedef int birth_make_fn(void *context, pid_t *ret_pid, int *ret_pidfd, struct err *err);
/* Makes S and waits until I is there; fills launch's monitor_pid, init and descriptors.  who: as in
 * report_wait(). */
MUST_CHECK int birth_begin(struct launch *launch, struct birth *birth, birth_make_fn *make,
	void *context, const char *who, struct err *err);

/* Ends the monitor of a workload that could not be started and whose processes have ended. */
void birth_end_monitor(struct launch *launch);

/* Says go to an init that reports that it is ready (within ready_ms), and waits until it has
 * executed the command.  who it is, in errors: "the container". */
MUST_CHECK int birth_go(struct launch *launch, const char *who, int ready_ms, struct err *err);
