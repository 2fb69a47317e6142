/* backend_container - the container wall.
 *
 * Three processes: this command P forks S, S clones the workload's init I in its namespaces and
 * then becomes the monitor by exec, so that the init is the monitor's own child and needs no other
 * parent. I sets itself up while P connects the network and writes the record; then P says go. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/spawn.h"
#include "container/container.h"
#include "engine/backend.h"
#include "engine/document.h"
#include "engine/monitor_link.h"
#include "storage/storage.h"
#include "wire/monitor_msg.h"

#define DOCUMENT_FILE "config.json" /* RUN/ID/: the OCI document, for exec */
#define INIT_DEADLINE_MS 30000      /* from clone to exec, on a machine that is busy */
#define END_DEADLINE_MS 10000       /* from SIGKILL to the end of the last process */

/* Everything S and I need, made by P before the fork. */
struct creation {
	struct launch *launch;
	struct container_spec *spec; /* owned, as the rest here */
	struct cgroup *cgroup;
	int *mounts;
	size_t mounts_len;
	char *cache_dir;
	struct monitor_link link;
	int go[2], report[2], stage[2];
};

/* What S tells P: the init's pid, or why there is none. */
struct stage_message {
	pid_t pid;
	struct err err;
};

static void close_pair(int pair[2])
{
	for (int i = 0; i < 2; i++) {
		if (pair[i] >= 0)
			(void)close(pair[i]);
		pair[i] = -1;
	}
}

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
	monitor_link_done(&creation->link);
	close_pair(creation->go);
	close_pair(creation->report);
	close_pair(creation->stage);
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
		r = cgroup_oom_events_open(creation->cgroup, &creation->link.oom_events, err);
	if (r != 0)
		return r;
	AUTO_FREE char *text = json_text(document, false);
	r = file_write_at(launch->dirs.run_fd, DOCUMENT_FILE, 0600, view_of(text), err);
	if (r != 0)
		return r;
	creation->cache_dir = engine_path(launch->engine, "cache");
	if (pipe2(creation->go, O_CLOEXEC) < 0 || pipe2(creation->report, O_CLOEXEC) < 0 ||
		pipe2(creation->stage, O_CLOEXEC) < 0)
		return err_sys(err, errno, "prepare the start of the workload");
	return monitor_link_open(launch, &creation->link, err);
}

/* S: the process that clones the init and becomes its monitor. */
static _Noreturn void stage(struct creation *creation)
{
	struct launch *launch = creation->launch;
	struct stage_message message = { .pid = -1 };
	int init_pidfd = -1;
	/* Only P may hold the end that lets the init go, else its death would not end the init. */
	(void)close(TAKE_FD(creation->go[1]));
	(void)close(TAKE_FD(creation->report[0]));
	(void)setsid();
	const struct container_create create = {
		.spec = creation->spec,
		.cgroup = creation->cgroup,
		.mount_root = mount_root,
		.context = creation,
		/* Any directory serves as the place of a mount that only the init sees. */
		.root_dir = launch->dirs.run_path,
		.cache_dir = creation->cache_dir,
		.user = launch->spec->user,
		.stdio = { creation->link.workload[0], creation->link.workload[1],
			creation->link.workload[2] },
		.console_socket = creation->link.console[1],
		.go_fd = creation->go[0],
		.report_fd = creation->report[1],
		.ready_mounts = creation->mounts,
	};
	int r = container_create(&create, &message.pid, &init_pidfd, &message.err);
	(void)!fd_write_all(creation->stage[1], &message, sizeof(message));
	if (r == 0)
		monitor_link_exec(launch, &creation->link, message.pid, init_pidfd);
	_exit(125);
}

static int fork_stage(struct creation *creation, struct err *err)
{
	struct launch *launch = creation->launch;
	launch->monitor_pid = spawn_fork(0, NULL);
	if (launch->monitor_pid < 0)
		return err_sys(err, -launch->monitor_pid, "fork the monitor");
	if (launch->monitor_pid == 0)
		stage(creation);

	(void)close(TAKE_FD(creation->stage[1]));
	(void)close(TAKE_FD(creation->report[1]));
	struct stage_message message;
	if (fd_read_exact(creation->stage[0], &message, sizeof(message)) < 0)
		return err_set(err, ERR_SYSTEM, "the monitor ended while it was starting");
	if (message.pid < 0)
		return err_copy(err, &message.err);
	int r = proc_identify(message.pid, &launch->init);
	if (r == 0)
		r = proc_open(&launch->init, &launch->init_pidfd);
	if (r < 0)
		return err_sys(err, -r, "find the workload's init");
	launch->client_fd = TAKE_FD(creation->link.client[0]);
	launch->go_fd = TAKE_FD(creation->go[1]);
	launch->report_fd = TAKE_FD(creation->report[0]);
	return live_write_init(launch->dirs.run_fd, &launch->init, err);
}

static int destroy(struct engine *engine, const char *id, struct err *err);

static int create(struct launch *launch, struct err *err)
{
	struct creation creation = { .launch = launch,
		.go = { -1, -1 },
		.report = { -1, -1 },
		.stage = { -1, -1 } };
	monitor_link_init(&creation.link);
	int r = prepare(&creation, err);
	if (r == 0)
		r = fork_stage(&creation, err);
	creation_done(&creation);
	if (r < 0)
		(void)!destroy(launch->engine, launch->id, NULL);
	return r;
}

static int start(struct launch *launch, struct err *err)
{
	int r = container_report_wait(launch->report_fd, CONTAINER_READY, INIT_DEADLINE_MS, err);
	if (r != 0)
		return r;
	if (write(launch->go_fd, "", 1) != 1)
		return err_sys(err, errno, "let the workload go");
	return container_report_wait(launch->report_fd, CONTAINER_STARTED, INIT_DEADLINE_MS, err);
}

static int send_signal(const struct live *live, int signal_number, struct err *err)
{
	AUTO_CLOSE int pidfd = -1;
	int r = proc_open(&live->init, &pidfd);
	return r != 0 ? r : container_signal(pidfd, signal_number, err);
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

static int stats(struct engine *engine, const char *id, struct backend_stats *ret_stats)
{
	(void)engine;
	AUTO(cgroup) cgroup = NULL;
	AUTO_FREE char *path = document_cgroup_path(id);
	struct cgroup_stats all;
	int r = cgroup_open(path, &cgroup, NULL);
	if (r == 0)
		r = cgroup_stats_read(cgroup, &all);
	if (r != 0)
		return r;
	*ret_stats = (struct backend_stats){
		.memory_bytes = all.memory_bytes,
		.memory_peak_bytes = all.memory_peak_bytes,
		.cpu_ns = all.cpu_ns,
		.pids = all.pids,
		.oom_killed = all.oom_kills > 0,
	};
	return 0;
}

static int destroy(struct engine *engine, const char *id, struct err *err)
{
	(void)engine;
	AUTO_FREE char *path = document_cgroup_path(id);
	/* Mostly all its processes have ended: then this is all. */
	if (cgroup_remove(path, 0, NULL) == 0)
		return 0;
	AUTO(cgroup) cgroup = NULL;
	int r = cgroup_open(path, &cgroup, err);
	if (r == 0)
		r = cgroup_kill(cgroup, END_DEADLINE_MS, err);
	/* -ENOENT: some of the groups have gone already, with what was in them. */
	return r < 0 && r != -ENOENT ? r : cgroup_remove(path, END_DEADLINE_MS, err);
}

const struct backend backend_container = {
	.name = "container",
	.probe = probe,
	.create = create,
	.start = start,
	.signal = send_signal,
	.exec = exec_process,
	.stats = stats,
	.destroy = destroy,
};
