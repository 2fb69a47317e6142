#include "engine/document.h"

#include <string.h>

#include "base/mem.h"
#include "container/container.h"

#define CPU_PERIOD_US 100000

char *document_cgroup_path(const char *id)
{
	return text_format("moat/%s", id);
}

static void add_mount(json *mounts, const char *type, const char *source, const char *target,
	const char *const *options)
{
	json *mount = json_new_object();
	json_set_string(mount, "destination", target);
	json_set_string(mount, "type", type);
	json_set_string(mount, "source", source);
	json *list = json_new_array();
	for (; *options != NULL; options++)
		json_push_string(list, *options);
	json_set(mount, "options", list);
	json_push(mounts, mount);
}

/* Files moat writes for the workload; a volume at the same place wins by coming later. */
static void add_own_files(const struct launch *launch, json *mounts)
{
	static const char *const files[] = { "hostname", "hosts", "resolv.conf" };
	static const char *const options[] = { "rbind", "rprivate", NULL };
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		AUTO_FREE char *source = text_format("%s/%s", launch->dirs.data_path, files[i]);
		AUTO_FREE char *target = text_format("/etc/%s", files[i]);
		add_mount(mounts, "bind", source, target, options);
	}
}

static void add_volumes(const struct workload_spec *spec, json *mounts)
{
	for (size_t i = 0; i < spec->mounts_len; i++) {
		const struct workload_mount *mount = &spec->mounts[i];
		AUTO_DONE(strv) options = { 0 };
		if (mount->is_tmpfs) {
			strv_add(&options, "nosuid");
			strv_add(&options, "nodev");
			strv_add(&options, "noexec");
			struct view rest = view_of(mount->options);
			while (rest.len > 0)
				strv_take(&options, view_dup(view_cut(&rest, ',')));
		} else {
			strv_add(&options, "rbind");
			strv_add(&options, "rprivate");
		}
		strv_add(&options, mount->read_only ? "ro" : "rw");
		add_mount(mounts, mount->is_tmpfs ? "tmpfs" : "bind",
			mount->is_tmpfs ? "tmpfs" : mount->source, mount->target,
			(const char *const *)options.items);
	}
}

static json *resources(const struct workload_spec *spec)
{
	json *all = json_new_object();
	if (spec->nano_cpus != 0) {
		json *cpu = json_new_object();
		json_set_int(cpu, "period", CPU_PERIOD_US);
		json_set_int(cpu, "quota", spec->nano_cpus / (1000000000 / CPU_PERIOD_US));
		json_set(all, "cpu", cpu);
	}
	if (spec->memory_bytes != 0) {
		json *memory = json_new_object();
		json_set_uint(memory, "limit", spec->memory_bytes);
		/* Docker's default: as much swap again. */
		json_set_uint(memory, "swap", spec->memory_bytes * 2);
		json_set(all, "memory", memory);
	}
	if (spec->pids_limit > 0) {
		json *pids = json_new_object();
		json_set_int(pids, "limit", spec->pids_limit);
		json_set(all, "pids", pids);
	}
	return all;
}

static void drop_namespace(json *linux_part, const char *type)
{
	json *namespaces = json_get_array(linux_part, "namespaces");
	for (size_t i = 0; i < json_array_len(namespaces); i++) {
		const char *name =
			json_get_string(json_object_array_get_idx(namespaces, i), "type");
		if (name != NULL && strcmp(name, type) == 0) {
			json_object_array_del_idx(namespaces, i, 1);
			return;
		}
	}
}

/* Network settings of the host's own namespace are not a workload's to change. */
static void share_network(json *linux_part)
{
	drop_namespace(linux_part, "network");
	json *kept = json_new_object();
	json *sysctl = json_get_object(linux_part, "sysctl");
	if (sysctl != NULL) {
		json_object_object_foreach (sysctl, key, value) {
			if (strncmp(key, "net.", 4) != 0)
				json_set(kept, key, json_object_get(value));
		}
	}
	json_set(linux_part, "sysctl", kept);
}

/* What is the same behind every wall. */
static json *common_document(const struct workload_spec *spec)
{
	json *document = container_spec_defaults();
	json *process = json_get_object(document, "process");
	json_set_strv(process, "args", &spec->args);
	json_set_strv(process, "env", &spec->env);
	json_set_string(process, "cwd", spec->workdir);
	json_set_bool(process, "terminal", spec->tty);
	json_set_string(document, "hostname", spec->hostname);
	return document;
}

json *document_build(const struct launch *launch)
{
	const struct workload_spec *spec = launch->spec;
	AUTO_JSON document = common_document(spec);
	json *mounts = json_get_array(document, "mounts");
	add_own_files(launch, mounts);
	add_volumes(spec, mounts);

	json *linux_part = json_get_object(document, "linux");
	AUTO_FREE char *cgroup = document_cgroup_path(launch->id);
	json_set_string(linux_part, "cgroupsPath", cgroup);
	json *limits = resources(spec);
	json *devices = json_get_array(json_get_object(linux_part, "resources"), "devices");
	if (devices != NULL)
		json_set(limits, "devices", json_object_get(devices));
	json_set(linux_part, "resources", limits);
	if (spec->network == NETWORK_HOST)
		share_network(linux_part);
	return TAKE(document);
}

json *document_build_guest(const struct launch *launch)
{
	const struct workload_spec *spec = launch->spec;
	json *document = common_document(spec);
	add_volumes(spec, json_get_array(document, "mounts"));
	json *linux_part = json_get_object(document, "linux");
	json *resources = json_get_object(linux_part, "resources");
	if (resources != NULL && spec->pids_limit > 0) {
		json *pids = json_new_object();
		json_set_int(pids, "limit", spec->pids_limit);
		json_set(resources, "pids", pids);
	}
	return document;
}
