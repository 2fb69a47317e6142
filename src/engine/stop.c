/* stop - signals to a workload, its end, and its removal. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>

#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/backend.h"
#include "engine/clean.h"
#include "engine/repair.h"
#include "engine/spec.h"

#define STOP_TIMEOUT_MS 10000 /* Docker's */
#define KILL_TIMEOUT_MS 10000

/* A workload as a command on it needs it. */
struct target {
	struct state_workload record;
	struct workload_spec spec;
	const struct backend *backend;
	int run_fd, data_fd; /* owned; run_fd -1: nothing of it lives */
	struct live live;
};

static void target_done(struct target *target)
{
	state_workload_done(&target->record);
	workload_spec_done(&target->spec);
	if (target->run_fd >= 0)
		(void)close(target->run_fd);
	if (target->data_fd >= 0)
		(void)close(target->data_fd);
}

static int target_open(struct engine *engine, const char *name, struct target *target,
	struct err *err)
{
	*target = (struct target){ .run_fd = -1, .data_fd = -1 };
	struct state *state;
	int r = engine_state(engine, &state, err);
	if (r == 0)
		r = state_workload_find(state, name, &target->record, err);
	if (r == 0)
		r = workload_spec_from_json(view_of(target->record.spec), &target->spec, err);
	if (r == 0)
		r = backend_find(target->spec.isolation, &target->backend, err);
	if (r != 0)
		return r;
	AUTO_FREE char *data = engine_path(engine, "workloads/%s", target->record.id);
	target->data_fd = open(data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	target->run_fd =
		openat(engine->run_fd, target->record.id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (target->data_fd < 0)
		return err_set(err, ERR_NOT_FOUND, "no such workload: %s", name);
	return live_read(target->run_fd, target->data_fd, &target->live, err);
}

static int not_running(const char *name, struct err *err)
{
	return err_set(err, ERR_CONFLICT, "workload %s is not running", name);
}

int engine_signal(struct engine *engine, const char *name, int signal_number, struct err *err)
{
	AUTO_DONE(target) target;
	int r = target_open(engine, name, &target, err);
	if (r == 0 && !target.live.init_lives)
		return not_running(name, err);
	if (r == 0)
		r = target.backend->signal(&target.live, signal_number, err);
	return r == -ESRCH ? not_running(name, err) : r;
}

/* A monitor that does not record the end of its init hangs or is stopped.  Without it the end is
 * still an end: its exit status is not known then, unless the kernel tells it. */
static int end_monitor(const struct target *target)
{
	struct proc_id monitor;
	AUTO_CLOSE int pidfd = -1;
	int r = live_monitor(&target->live, &monitor);
	if (r == 0)
		r = proc_open(&monitor, &pidfd);
	if (r == 0)
		r = proc_signal(pidfd, SIGKILL);
	return r < 0 ? r : proc_wait_end(pidfd, KILL_TIMEOUT_MS);
}

/* Waits for the end; where the monitor is gone too, repair finds out what can be known. */
static int wait_end(struct engine *engine, struct target *target, int timeout_ms, struct err *err)
{
	int r = live_wait_exit(target->run_fd, target->data_fd, timeout_ms, &target->live, err);
	if (r != -ECHILD)
		return r;
	if (live_monitor_lives(target->run_fd))
		return err_set(err, ERR_TIMEOUT,
			"workload %.12s has ended, but its monitor does not answer: remove it with "
			"-f",
			target->record.id);
	r = engine_repair(engine, err);
	if (r == 0)
		r = live_wait_exit(target->run_fd, target->data_fd, KILL_TIMEOUT_MS, &target->live,
			err);
	if (r == -ETIMEDOUT || r == -ECHILD)
		r = err_set(err, ERR_TIMEOUT, "the end of workload %.12s was not recorded",
			target->record.id);
	return r;
}

/* -ETIMEDOUT where that does not end it, or is not to be had: SIGKILL is what is left. */
static int end_gently(struct engine *engine, struct target *target, struct err *err)
{
	struct err why = { 0 };
	if (target->backend->end == NULL)
		return -ETIMEDOUT;
	int r = target->backend->end(engine, target->record.id, &why);
	if (r < 0)
		log_debug("workload %.12s: %s", target->record.id, why.message);
	return r < 0 ? -ETIMEDOUT : wait_end(engine, target, KILL_TIMEOUT_MS, err);
}

static int stop_target(struct engine *engine, struct target *target, int signal_number,
	int timeout_ms, struct err *err)
{
	int r = 0;
	if (signal_number == 0) {
		r = proc_signal_parse(target->spec.stop_signal, &signal_number);
		if (r < 0)
			signal_number = SIGTERM;
	}
	r = target->backend->signal(&target->live, signal_number, err);
	if (r == 0)
		r = wait_end(engine, target, timeout_ms < 0 ? STOP_TIMEOUT_MS : timeout_ms, err);
	if (r == -ETIMEDOUT && signal_number != SIGKILL)
		r = end_gently(engine, target, err);
	if (r == -ETIMEDOUT) {
		r = target->backend->signal(&target->live, SIGKILL, err);
		if (r == 0 || r == -ESRCH)
			r = wait_end(engine, target, KILL_TIMEOUT_MS, err);
		if (r == -ETIMEDOUT)
			r = err_set(err, ERR_TIMEOUT,
				"workload %.12s did not end %d s after SIGKILL: process %d hangs",
				target->record.id, KILL_TIMEOUT_MS / 1000,
				(int)target->live.init.pid);
	}
	return r == -ESRCH ? 0 : r;
}

int engine_stop(struct engine *engine, const char *name, int signal_number, int timeout_ms,
	struct err *err)
{
	AUTO_DONE(target) target;
	int r = target_open(engine, name, &target, err);
	if (r < 0 || target.live.phase != WORKLOAD_RUNNING)
		return r;
	r = stop_target(engine, &target, signal_number, timeout_ms, err);
	return r < 0 ? r
		     : clean_ended(engine, target.record.id, target.record.image_id.hex,
			       target.record.auto_remove, err);
}

int engine_wait(struct engine *engine, const char *name, int *ret_status, struct err *err)
{
	AUTO_DONE(target) target;
	int r = target_open(engine, name, &target, err);
	if (r == 0 && target.live.phase == WORKLOAD_RUNNING)
		r = wait_end(engine, &target, -1, err);
	if (r == 0)
		*ret_status = target.live.exit_status == WORKLOAD_EXIT_UNKNOWN
				      ? 255
				      : target.live.exit_status;
	return r;
}

int engine_remove(struct engine *engine, const char *name, bool force, struct err *err)
{
	AUTO_DONE(target) target;
	int r = target_open(engine, name, &target, err);
	if (r < 0)
		return r;
	if (target.live.phase == WORKLOAD_RUNNING && !force)
		return err_set(err, ERR_CONFLICT,
			"cannot remove workload %s: it is running; stop it first, or use -f", name);
	if (target.live.phase == WORKLOAD_RUNNING)
		r = stop_target(engine, &target, SIGKILL, KILL_TIMEOUT_MS, err);
	if (r == -ETIMEDOUT && end_monitor(&target) == 0)
		r = 0;
	return r < 0 ? r
		     : clean_ended(engine, target.record.id, target.record.image_id.hex, true, err);
}

int engine_reap(struct engine *engine, const char *id, struct err *err)
{
	struct state *state;
	AUTO_DONE(state_workload) record = { 0 };
	if (!id_is(id))
		return err_set(err, ERR_INVALID, "\"%s\" is no id of a workload", id);
	int r = engine_state(engine, &state, err);
	if (r == 0)
		r = state_workload_find(state, id, &record, NULL);
	struct live live = { 0 };
	/* Without a record it was removed meanwhile, or never finished: its command was killed. */
	if (r == -ENOENT)
		return repair_workload(engine, id, NULL, &live, err);
	return r < 0 ? r : clean_ended(engine, id, record.image_id.hex, record.auto_remove, err);
}
