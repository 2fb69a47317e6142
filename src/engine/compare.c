/* compare - one command behind each wall this host offers, measured now.
 *
 * "First instruction" is when the workload's own program has been executed: the init's report. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "engine/backend.h"
#include "engine/clean.h"
#include "engine/spec.h"

#define KERNEL_FILE "/proc/sys/kernel/osrelease"
#define RUN_DEADLINE_MS 60000

static uint64_t passed_us(uint64_t start_ns)
{
	return (clock_monotonic_ns() - start_ns) / 1000;
}

/* Runs detached and waits, so that the moments can be told apart. */
static int measure_run(struct engine *engine, const char *wall, const char *image,
	const struct strv *args, struct engine_measure *row, struct err *err)
{
	AUTO_DONE(workload_spec)
	spec = { .image = mem_strdup(image),
		.isolation = mem_strdup(wall),
		.network = NETWORK_BRIDGE,
		.detach = true };
	strv_extend(&spec.args, args);
	AUTO_FREE char *id = NULL;
	int status;
	uint64_t start_ns = clock_monotonic_ns();
	int r = engine_run(engine, &spec, NULL, &id, &status, err);
	if (r < 0)
		return r;
	row->first_instruction_us = passed_us(start_ns);
	const struct backend *backend;
	struct backend_stats stats;
	if (backend_find(wall, &backend, NULL) == 0 && backend->stats(engine, id, &stats) == 0)
		row->host_memory_bytes = stats.memory_peak_bytes;
	r = engine_wait(engine, id, &status, err);
	row->exit_us = passed_us(start_ns);
	AUTO_FREE char *upper = engine_path(engine, "workloads/%s", id);
	(void)!path_disk_usage(AT_FDCWD, upper, &row->disk_bytes);
	int removed = engine_remove(engine, id, true, r < 0 ? NULL : err);
	return r < 0 ? r : removed;
}

/* The kernel as the workload sees it. */
static int measure_kernel(struct engine *engine, const char *wall, const char *image,
	struct engine_measure *row, struct err *err)
{
	int pair[2];
	if (pipe2(pair, O_CLOEXEC) < 0)
		return err_sys(err, errno, "make a pipe");
	AUTO_CLOSE int read_end = pair[0];
	AUTO_CLOSE int write_end = pair[1];
	AUTO_DONE(workload_spec)
	spec = { .image = mem_strdup(image),
		.isolation = mem_strdup(wall),
		.network = NETWORK_NONE,
		.has_entrypoint = true,
		.auto_remove = true };
	strv_add(&spec.args, "cat");
	strv_add(&spec.args, KERNEL_FILE);
	const struct engine_stdio stdio = { .in = -1, .out = write_end, .err = -1 };
	AUTO_FREE char *id = NULL;
	int status;
	int r = engine_run(engine, &spec, &stdio, &id, &status, err);
	(void)close(TAKE_FD(write_end));
	AUTO_DONE(text) text = { 0 };
	if (r == 0)
		r = fd_read_text(read_end, sizeof(row->kernel), "the kernel's release", &text, err);
	if (r == 0 && text.len > 0)
		(void)snprintf(row->kernel, sizeof(row->kernel), "%.*s",
			(int)strcspn(text.data, "\n"), text.data);
	return r;
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
		if (!row->is_available)
			continue;
		int r = measure_run(engine, row->wall, image, args, row, err);
		if (r < 0)
			return r;
		/* An image without cat has no say about its kernel. */
		if (measure_kernel(engine, row->wall, image, row, NULL) < 0)
			(void)snprintf(row->kernel, sizeof(row->kernel), "not shown: no cat in it");
	}
	*ret_rows = TAKE(rows);
	*ret_len = len;
	return 0;
}
