/* compare - one command behind each wall this host offers, measured now.
 *
 * "First instruction" is when the workload's own program has been executed: the init's report. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/smaps.h"
#include "engine/backend.h"
#include "engine/spec.h"

#define KERNEL_FILE "/proc/sys/kernel/osrelease"
/* How long a workload that is only looked at lives if this command is killed meanwhile. */
#define HELD_SECONDS "60"

static uint64_t passed_us(uint64_t start_ns)
{
	return (clock_monotonic_ns() - start_ns) / 1000;
}

/* What is measured is a workload of the defaults.  It runs detached, so that the moments can be
 * told apart and it can be looked at. */
static void fill_spec(struct workload_spec *spec, const char *wall, const char *image)
{
	*spec = (struct workload_spec){ .image = mem_strdup(image),
		.isolation = mem_strdup(wall),
		.network = NETWORK_BRIDGE,
		.detach = true };
}

static int measure_run(struct engine *engine, const struct backend *backend, const char *image,
	const struct strv *args, struct engine_measure *row, struct err *err)
{
	AUTO_DONE(workload_spec) spec;
	fill_spec(&spec, backend->name, image);
	strv_extend(&spec.args, args);
	AUTO_FREE char *id = NULL;
	int status;
	uint64_t start_ns = clock_monotonic_ns();
	int r = engine_run(engine, &spec, NULL, &id, &status, err);
	if (r < 0)
		return r;
	row->first_instruction_us = passed_us(start_ns);
	struct backend_stats stats;
	if (backend->stats(engine, id, &stats) == 0)
		row->host_memory_bytes = stats.memory_peak_bytes;
	r = engine_wait(engine, id, &status, err);
	row->exit_us = passed_us(start_ns);
	AUTO_FREE char *upper = engine_path(engine, "workloads/%s", id);
	(void)!path_disk_usage(AT_FDCWD, upper, &row->disk_bytes);
	int removed = engine_remove(engine, id, true, r < 0 ? NULL : err);
	return r < 0 ? r : removed;
}

/* The kernel as the workload sees it. */
static int measure_kernel(struct engine *engine, const char *id, struct engine_measure *row,
	struct err *err)
{
	int pair[2];
	if (pipe2(pair, O_CLOEXEC) < 0)
		return err_sys(err, errno, "make a pipe");
	AUTO_CLOSE int read_end = pair[0];
	AUTO_CLOSE int write_end = pair[1];
	AUTO_DONE(engine_exec) exec = { 0 };
	strv_add(&exec.args, "cat");
	strv_add(&exec.args, KERNEL_FILE);
	const struct engine_stdio stdio = { .in = -1, .out = write_end, .err = -1 };
	int status;
	int r = engine_exec(engine, id, &exec, &stdio, &status, err);
	(void)close(TAKE_FD(write_end));
	AUTO_DONE(text) text = { 0 };
	if (r == 0)
		r = fd_read_text(read_end, sizeof(row->kernel), "the kernel's release", &text, err);
	if (r == 0 && text.len == 0)
		r = err_set(err, ERR_NOT_FOUND, "cat says nothing");
	if (r == 0)
		(void)snprintf(row->kernel, sizeof(row->kernel), "%.*s",
			(int)strcspn(text.data, "\n"), text.data);
	return r;
}

/* The processes that live only because of the wall. */
static int measure_wall_memory(struct engine *engine, const struct backend *backend, const char *id,
	struct engine_measure *row)
{
	AUTO_CLOSE int run_fd = openat(engine->run_fd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct live live = { 0 };
	struct proc_id monitor;
	uint64_t of_monitor, own = 0;
	int r = run_fd < 0 ? -errno : live_read_init(run_fd, &live);
	if (r == 0)
		r = live_monitor(&live, &monitor);
	if (r == 0)
		r = smaps_read(&monitor, NULL, &of_monitor);
	if (r == 0 && backend->own_memory != NULL)
		r = backend->own_memory(&live, &own);
	if (r == 0)
		row->wall_memory_bytes = of_monitor + own;
	return r;
}

/* What is seen of a workload that does nothing; what cannot be seen is not shown. */
static int measure_held(struct engine *engine, const struct backend *backend, const char *image,
	struct engine_measure *row, struct err *err)
{
	AUTO_DONE(workload_spec) spec;
	fill_spec(&spec, backend->name, image);
	spec.has_entrypoint = true;
	strv_add(&spec.args, "sleep");
	strv_add(&spec.args, HELD_SECONDS);
	AUTO_FREE char *id = NULL;
	int status;
	struct err why = { 0 };
	int r = engine_run(engine, &spec, NULL, &id, &status, &why);
	bool is_held = r == 0;
	if (is_held)
		r = measure_kernel(engine, id, row, &why);
	if (r < 0)
		(void)snprintf(row->kernel, sizeof(row->kernel), "not shown: %.80s", why.message);
	if (!is_held)
		return 0;
	(void)!measure_wall_memory(engine, backend, id, row);
	return engine_remove(engine, id, true, err);
}

static int measure(struct engine *engine, const struct backend *backend, const char *image,
	const struct strv *args, struct engine_measure *row, struct err *err)
{
	if (backend->accelerator != NULL)
		row->accelerator = backend->accelerator(engine);
	row->host_calls = backend->host_calls(engine);
	int r = measure_run(engine, backend, image, args, row, err);
	return r < 0 ? r : measure_held(engine, backend, image, row, err);
}

int engine_compare(struct engine *engine, const char *image, const struct strv *args,
	struct engine_measure **ret_rows, size_t *ret_len, struct err *err)
{
	size_t len;
	const struct backend *const *all = backend_all(&len);
	AUTO_FREE struct engine_measure *rows = NEW_ARRAY(engine_measure, len);
	for (size_t i = 0; i < len; i++) {
		struct engine_measure *row = &rows[i];
		AUTO_DONE(text) why_not = { 0 };
		row->wall = all[i]->name;
		row->is_available = all[i]->probe(engine, &why_not);
		(void)snprintf(row->why_not, sizeof(row->why_not), "%s", text_string(&why_not));
		int r = row->is_available ? measure(engine, all[i], image, args, row, err) : 0;
		if (r < 0)
			return r;
	}
	*ret_rows = TAKE(rows);
	*ret_len = len;
	return 0;
}
