/* inspect - a workload as Docker's inspect shows a container. */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/engine.h"

static const char *const status_names[] = { [WORKLOAD_CREATED] = "created",
	[WORKLOAD_RUNNING] = "running",
	[WORKLOAD_EXITED] = "exited" };

const char *workload_phase_name(enum workload_phase phase)
{
	return status_names[phase];
}

static void set_time(json *object, const char *key, int64_t wall_ns)
{
	char text[CLOCK_RFC3339_MAX];
	/* Docker's "never" is Go's zero time. */
	json_set_string(object, key,
		wall_ns == 0 ? "0001-01-01T00:00:00Z" : clock_rfc3339(wall_ns, text));
}

static json *inspect_state(const struct workload *workload)
{
	json *state = json_new_object();
	bool is_running = workload->phase == WORKLOAD_RUNNING;
	json_set_string(state, "Status", status_names[workload->phase]);
	json_set_bool(state, "Running", is_running);
	json_set_bool(state, "Paused", false);
	json_set_bool(state, "Restarting", false);
	json_set_bool(state, "OOMKilled", workload->oom_killed);
	json_set_bool(state, "Dead", false);
	json_set_int(state, "Pid", is_running ? workload->pid : 0);
	if (workload->accel != NULL) {
		json_set_string(state, "Accelerator", workload->accel);
		json_set_string(state, "Boundary", workload->boundary);
	}
	bool is_unknown = workload->phase == WORKLOAD_EXITED &&
			  workload->exit_status == WORKLOAD_EXIT_UNKNOWN;
	json_set_int(state, "ExitCode", is_unknown ? 255 : workload->exit_status);
	json_set_string(state, "Error",
		is_unknown ? "the exit status is unknown: nobody saw the end" : "");
	set_time(state, "StartedAt", workload->started_ns);
	set_time(state, "FinishedAt", workload->finished_ns);
	return state;
}

/* A list of names as the keys of an object, Docker's way of writing a set; labels have values. */
static json *label_object(const struct strv *labels)
{
	json *object = json_new_object();
	for (size_t i = 0; i < labels->len; i++) {
		struct view value = view_of(labels->items[i]);
		AUTO_FREE char *key = view_dup(view_cut(&value, '='));
		AUTO_FREE char *text = view_dup(value);
		json_set_string(object, key, value.data == NULL ? "" : text);
	}
	return object;
}

static json *inspect_config(const struct workload_spec *spec)
{
	json *config = json_new_object();
	json_set_string(config, "Hostname", spec->hostname);
	json_set_string(config, "User", spec->user);
	json_set_bool(config, "AttachStdin", spec->interactive && !spec->detach);
	json_set_bool(config, "Tty", spec->tty);
	json_set_bool(config, "OpenStdin", spec->interactive);
	json_set_strv(config, "Env", &spec->env);
	/* The record holds the command as it runs: entrypoint and arguments in one list. */
	AUTO_DONE(strv) cmd = { 0 };
	for (size_t i = spec->entrypoint.len; i < spec->args.len; i++)
		strv_add(&cmd, spec->args.items[i]);
	json_set_strv(config, "Cmd", &cmd);
	json_set_string(config, "Image", spec->image);
	json_set_string(config, "WorkingDir", spec->workdir);
	if (spec->entrypoint.len > 0)
		json_set_strv(config, "Entrypoint", &spec->entrypoint);
	else
		json_set(config, "Entrypoint", NULL);
	json_set(config, "Labels", label_object(&spec->labels));
	json_set_string(config, "StopSignal", spec->stop_signal);
	return config;
}

static json *inspect_host_config(const struct workload_spec *spec)
{
	json *host = json_new_object();
	json *binds = json_new_array();
	for (size_t i = 0; i < spec->mounts_len; i++) {
		const struct workload_mount *mount = &spec->mounts[i];
		if (mount->is_tmpfs)
			continue;
		AUTO_FREE char *bind = text_format("%s:%s%s", mount->source, mount->target,
			mount->read_only ? ":ro" : "");
		json_push_string(binds, bind);
	}
	json_set(host, "Binds", binds);
	json_set_string(host, "NetworkMode", workload_network_name(spec->network));
	json_set_bool(host, "AutoRemove", spec->auto_remove);
	json_set_string(host, "Isolation", spec->isolation);
	json_set_uint(host, "Memory", spec->memory_bytes);
	json_set_int(host, "NanoCpus", spec->nano_cpus);
	json_set_int(host, "PidsLimit", spec->pids_limit);
	return host;
}

static json *inspect_mounts(const struct workload_spec *spec)
{
	json *mounts = json_new_array();
	for (size_t i = 0; i < spec->mounts_len; i++) {
		const struct workload_mount *mount = &spec->mounts[i];
		json *row = json_new_object();
		json_set_string(row, "Type", mount->is_tmpfs ? "tmpfs" : "bind");
		json_set_string(row, "Source", mount->is_tmpfs ? "" : mount->source);
		json_set_string(row, "Destination", mount->target);
		json_set_string(row, "Mode", mount->read_only ? "ro" : "");
		json_set_bool(row, "RW", !mount->read_only);
		json_set_string(row, "Propagation", mount->is_tmpfs ? "" : "rprivate");
		json_push(mounts, row);
	}
	return mounts;
}

static json *inspect_network(const struct workload *workload)
{
	json *settings = json_new_object();
	json_set_string(settings, "IPAddress", workload->address == NULL ? "" : workload->address);
	json *networks = json_new_object();
	json *endpoint = json_new_object();
	json_set_string(endpoint, "IPAddress", workload->address == NULL ? "" : workload->address);
	json_set(networks, workload_network_name(workload->spec.network), endpoint);
	json_set(settings, "Networks", networks);
	return settings;
}

json *engine_inspect(const struct workload *workload)
{
	const struct workload_spec *spec = &workload->spec;
	json *document = json_new_object();
	json_set_string(document, "Id", workload->id);
	set_time(document, "Created", workload->created_ns);
	json_set_string(document, "Path", spec->args.len > 0 ? spec->args.items[0] : "");
	json *args = json_new_array();
	for (size_t i = 1; i < spec->args.len; i++)
		json_push_string(args, spec->args.items[i]);
	json_set(document, "Args", args);
	json_set(document, "State", inspect_state(workload));
	char image[DIGEST_TEXT_LEN + 1];
	json_set_string(document, "Image", digest_text(&workload->image_id, image));
	AUTO_FREE char *name = text_format("/%s", workload->name);
	json_set_string(document, "Name", name);
	json_set_string(document, "Platform", "linux");
	json_set_string(document, "Driver", "erofs");
	json_set(document, "HostConfig", inspect_host_config(spec));
	json_set(document, "Mounts", inspect_mounts(spec));
	json_set(document, "Config", inspect_config(spec));
	json_set(document, "NetworkSettings", inspect_network(workload));
	return document;
}
