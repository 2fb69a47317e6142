/* backend_container - the container wall: the init is a clone in namespaces of its own (birth.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/path.h"
#include "container/container.h"
#include "engine/backend.h"
#include "engine/birth.h"
#include "engine/document.h"
#include "engine/workload_cgroup.h"
#include "storage/storage.h"

#define DOCUMENT_FILE "config.json" /* RUN/ID/: the OCI document, for exec */
#define READY_DEADLINE_MS 30000     /* from clone to ready, on a machine that is busy */

/* Everything S and I need, made by P before S is. */
struct creation {
	struct launch *launch;
	struct container_spec *spec; /* owned, as the rest here */
	struct cgroup *cgroup;
	int *mounts;
	size_t mounts_len;
	char *cache_dir;
	struct birth birth;
};

static void creation_done(struct creation *creation)
{
	container_spec_free(creation->spec);
	cgroup_free(creation->cgroup);
	for (size_t i = 0; i < creation->mounts_len; i++) {
		if (creation->mounts[i] >= 0)
			(void)close(creation->mounts[i]);
	}
	free(creation->mounts);
	free(creation->cache_dir);
	birth_done(&creation->birth);
}

static bool probe(struct engine *engine, struct text *why_not)
{
	(void)engine;
	if (geteuid() == 0)
		return true;
	text_puts(why_not, "needs root");
	return false;
}

/* Runs in the init, in its new mount namespace. */
static int mount_root(void *context, int *ret_mount_fd, struct err *err)
{
	struct creation *creation = context;
	struct launch *launch = creation->launch;
	return storage_overlay_open(TAKE_FD(launch->image_mount_fd), launch->dirs.run_path,
		launch->dirs.data_path, launch->spec->auto_remove, ret_mount_fd, err);
}

/* As docker run -v does for a source that is not there. */
static int make_sources(const struct workload_spec *spec, struct err *err)
{
	for (size_t i = 0; i < spec->mounts_len; i++) {
		const struct workload_mount *mount = &spec->mounts[i];
		if (!mount->make_source || access(mount->source, F_OK) == 0)
			continue;
		int r = path_make_dirs(mount->source, 0755, err);
		if (r != 0)
			return r;
	}
	return 0;
}

static int make_cgroup(struct creation *creation, struct err *err)
{
	AUTO_FREE char *path = document_cgroup_path(creation->launch->id);
	return cgroup_create(path, NULL, creation->spec, &creation->cgroup, err);
}

static int prepare(struct creation *creation, struct err *err)
{
	struct launch *launch = creation->launch;
	AUTO_JSON document = document_build(launch);
	int r = container_spec_parse(document, &creation->spec, err);
	if (r == 0)
		r = make_sources(launch->spec, err);
	if (r == 0)
		r = container_mounts_open(creation->spec, &creation->mounts, &creation->mounts_len,
			err);
	if (r == 0)
		r = make_cgroup(creation, err);
	if (r == 0)
		r = cgroup_oom_events_open(creation->cgroup, &creation->birth.link.oom_events, err);
	if (r != 0)
		return r;
	AUTO_FREE char *text = json_text(document, false);
	r = file_write_at(launch->dirs.run_fd, DOCUMENT_FILE, 0600, view_of(text), err);
	if (r != 0)
		return r;
	creation->cache_dir = engine_path(launch->engine, "cache");
	return birth_prepare(launch, &creation->birth, err);
}

static int make_init(void *context, pid_t *ret_pid, int *ret_pidfd, struct err *err)
{
	struct creation *creation = context;
	struct launch *launch = creation->launch;
	const struct monitor_link *link = &creation->birth.link;
	const struct container_create create = {
		.spec = creation->spec,
		.cgroup = creation->cgroup,
		.mount_root = mount_root,
		.context = creation,
		/* Any directory serves as the place of a mount that only the init sees. */
		.root_dir = launch->dirs.run_path,
		.cache_dir = creation->cache_dir,
		.user = launch->spec->user,
		.stdio = { link->workload[0], link->workload[1], link->workload[2] },
		.console_socket = link->console[1],
		.go_fd = creation->birth.go[0],
		.report_fd = creation->birth.report[1],
		.ready_mounts = creation->mounts,
	};
	return container_create(&create, ret_pid, ret_pidfd, err);
}

static int create(struct launch *launch, struct err *err)
{
	struct creation creation = { .launch = launch };
	birth_init(&creation.birth);
	int r = prepare(&creation, err);
	if (r == 0)
		r = birth_begin(launch, &creation.birth, make_init, &creation, "the container",
			err);
	creation_done(&creation);
	return r;
}

static int start(struct launch *launch, struct err *err)
{
	return birth_go(launch, "the container", READY_DEADLINE_MS, err);
}

/* The process part of the workload's document, with what the exec asks for instead. */
static int exec_document(struct engine *engine, const struct backend_exec *exec,
	struct container_spec **ret_spec, struct err *err)
{
	AUTO_FREE char *path = text_format("%s/" DOCUMENT_FILE, exec->id);
	AUTO_DONE(text) bytes = { 0 };
	AUTO_JSON document = NULL;
	int r = file_read_at(engine->run_fd, path, LIMIT_JSON_BYTES, &bytes, err);
	if (r == 0)
		r = json_parse(view_of_text(&bytes), path, &document, err);
	if (r != 0)
		return r;
	json *process = json_get_object(document, "process");
	AUTO_DONE(strv) env = { 0 };
	r = json_get_strv(process, "env", &env, err);
	if (r != 0)
		return r;
	for (size_t i = 0; i < exec->request->env.len; i++)
		strv_set_env(&env, exec->request->env.items[i]);
	if (exec->request->tty && strv_env(&env, "TERM") == NULL)
		strv_add(&env, "TERM=xterm");
	json_set_strv(process, "env", &env);
	json_set_strv(process, "args", &exec->request->args);
	json_set_bool(process, "terminal", exec->request->tty);
	if (exec->request->workdir != NULL)
		json_set_string(process, "cwd", exec->request->workdir);
	return container_spec_parse(document, ret_spec, err);
}

static int exec_process(struct engine *engine, const struct backend_exec *exec, pid_t *ret_pid,
	int *ret_pidfd, struct err *err)
{
	AUTO(container_spec) spec = NULL;
	AUTO(cgroup) cgroup = NULL;
	AUTO_CLOSE int pidfd = -1;
	AUTO_FREE char *path = document_cgroup_path(exec->id);
	AUTO_FREE char *cache_dir = engine_path(engine, "cache");
	int r = exec_document(engine, exec, &spec, err);
	if (r == 0)
		r = cgroup_open(path, &cgroup, err);
	if (r != 0)
		return r;
	r = proc_open(&exec->live->init, &pidfd);
	if (r < 0)
		return err_sys(err, -r, "find the workload's init");
	const struct container_exec request = {
		.pidfd = pidfd,
		.pid = exec->live->init.pid,
		.spec = spec,
		.cgroup = cgroup,
		.cache_dir = cache_dir,
		.stdio = { exec->stdio[0], exec->stdio[1], exec->stdio[2] },
		.console_socket = exec->console_socket,
		.user = exec->request->user != NULL ? exec->request->user : exec->spec->user,
	};
	return container_exec(&request, ret_pid, ret_pidfd, err);
}

static unsigned host_calls(struct engine *engine)
{
	(void)engine;
	return container_syscalls_count();
}

const struct backend backend_container = {
	.name = "container",
	.probe = probe,
	.create = create,
	.start = start,
	.signal = live_signal,
	.exec = exec_process,
	.stats = workload_cgroup_stats,
	.destroy = workload_cgroup_destroy,
	.host_calls = host_calls,
};
