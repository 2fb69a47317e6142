/* container_spec - config.json to values.
 *
 * Reads what the runtime specification (v1.1, config.md and config-linux.md) defines for Linux.
 * Unknown keys are ignored as it asks; a known key that this code cannot honour is refused by name,
 * because a container that silently lacks a part of its wall is worse than none (THREATS rule 12).
 * All checks that need no kernel are made here, so that creating only meets what parsing let
 * through: absolute destinations, known words, numbers in range. */
#include "container/container_spec.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/num.h"
#include "container/mount_option.h"
#include "container/sysctl.h"

/* More of these than any real document has; each costs system calls at every start. */
#define SPEC_ITEMS_MAX 1024

struct namespace_row {
	const char *type;
	int flag;
};

static const struct namespace_row namespaces[] = {
#define NAMESPACE(type, flag, name) { type, flag },
#include "container/namespaces.def"
#undef NAMESPACE
};
static_assert(ARRAY_LEN(namespaces) == SPEC_NAMESPACES_MAX, "one place per namespace type");

struct rlimit_row {
	const char *name;
	int resource;
};

static const struct rlimit_row rlimits[] = {
#define RLIMIT(name, resource) { name, resource },
#include "container/rlimits.def"
#undef RLIMIT
};

/* Borrowed strings become owned ones; absent stays NULL. */
static char *dup_or_null(const char *string)
{
	return string != NULL ? mem_strdup(string) : NULL;
}

static int array_len(json *array, const char *what, size_t *ret_len, struct err *err)
{
	size_t len = json_array_len(array);
	if (len > SPEC_ITEMS_MAX)
		return err_set(err, ERR_LIMIT, "%s: %zu items, at most %d are taken", what, len,
			SPEC_ITEMS_MAX);
	*ret_len = len;
	return 0;
}

static json *array_at(json *array, size_t i)
{
	return json_object_array_get_idx(array, i);
}

static int parse_id(json *object, const char *key, uint32_t *ret_id, struct err *err)
{
	int64_t id = json_get_int(object, key, 0);
	/* The same bound as for users of an image: above it some kernels wrap (CVE-2024-40635). */
	if (id < 0 || id > INT32_MAX)
		return err_set(err, ERR_INVALID, "%s %jd is not between 0 and %d", key,
			(intmax_t)id, INT32_MAX);
	*ret_id = (uint32_t)id;
	return 0;
}

static int parse_user(json *user, struct spec_process *process, struct err *err)
{
	int r = parse_id(user, "uid", &process->uid, err);
	if (r == 0)
		r = parse_id(user, "gid", &process->gid, err);
	if (r < 0)
		return err_wrap(err, r, "process.user");
	process->umask = (mode_t)(json_get_uint(user, "umask", 022) & 0777);

	json *groups = json_get_array(user, "additionalGids");
	size_t len = 0;
	r = array_len(groups, "process.user.additionalGids", &len, err);
	if (r < 0)
		return r;
	process->groups = mem_new(len + 1, sizeof(*process->groups));
	for (size_t i = 0; i < len; i++) {
		int64_t gid = json_object_get_int64(array_at(groups, i));
		if (gid < 0 || gid > INT32_MAX)
			return err_set(err, ERR_INVALID,
				"process.user.additionalGids: %jd is no group id", (intmax_t)gid);
		process->groups[i] = (gid_t)gid;
	}
	process->groups_len = len;
	return 0;
}

static const struct rlimit_row *rlimit_find(const char *name)
{
	for (size_t i = 0; name != NULL && i < ARRAY_LEN(rlimits); i++)
		if (strcmp(rlimits[i].name, name) == 0)
			return &rlimits[i];
	return NULL;
}

static int parse_rlimits(json *array, struct spec_process *process, struct err *err)
{
	size_t len = 0;
	int r = array_len(array, "process.rlimits", &len, err);
	if (r < 0)
		return r;
	process->rlimits = NEW_ARRAY(spec_rlimit, len + 1);
	for (size_t i = 0; i < len; i++) {
		json *item = array_at(array, i);
		const char *type = json_get_string(item, "type");
		const struct rlimit_row *row = rlimit_find(type);
		if (row == NULL)
			return err_set(err, ERR_INVALID, "process.rlimits: no limit \"%.64s\"",
				type != NULL ? type : "");
		struct spec_rlimit limit = { .resource = row->resource, .name = row->name };
		limit.soft = json_get_uint(item, "soft", 0);
		limit.hard = json_get_uint(item, "hard", 0);
		if (limit.soft > limit.hard)
			return err_set(err, ERR_INVALID,
				"process.rlimits: %s has its soft limit above its hard one",
				row->name);
		process->rlimits[process->rlimits_len++] = limit;
	}
	return 0;
}

static int parse_process(json *object, struct spec_process *process, struct err *err)
{
	int r = json_get_strv(object, "args", &process->args, err);
	if (r == 0)
		r = json_get_strv(object, "env", &process->env, err);
	if (r < 0)
		return err_wrap(err, r, "process");

	const char *cwd = json_get_string(object, "cwd");
	process->cwd = mem_strdup(cwd != NULL && cwd[0] != '\0' ? cwd : "/");
	if (process->cwd[0] != '/')
		return err_set(err, ERR_INVALID, "process.cwd \"%.200s\" is not absolute",
			process->cwd);

	process->has_terminal = json_get_bool(object, "terminal", false);
	json *size = json_get_object(object, "consoleSize");
	process->rows = (unsigned short)json_get_uint(size, "height", 0);
	process->columns = (unsigned short)json_get_uint(size, "width", 0);
	process->has_no_new_privileges = json_get_bool(object, "noNewPrivileges", false);

	process->has_oom_score_adj = json_get(object, "oomScoreAdj") != NULL;
	int64_t score = json_get_int(object, "oomScoreAdj", 0);
	if (score < -1000 || score > 1000)
		return err_set(err, ERR_INVALID,
			"process.oomScoreAdj %jd is not between -1000 and 1000", (intmax_t)score);
	process->oom_score_adj = (int)score;

	process->has_capabilities = json_get_object(object, "capabilities") != NULL;
	r = capability_parse(json_get_object(object, "capabilities"), &process->capabilities, err);
	if (r == 0)
		r = parse_rlimits(json_get_array(object, "rlimits"), process, err);
	if (r == 0)
		r = parse_user(json_get_object(object, "user"), process, err);
	return r;
}

static int parse_mount(json *object, struct spec_mount *mount, struct err *err)
{
	const char *destination = json_get_string(object, "destination");
	if (destination == NULL || destination[0] != '/')
		return err_set(err, ERR_INVALID, "mounts: destination \"%.200s\" is not absolute",
			destination != NULL ? destination : "");
	for (const char *key = "uidMappings"; key != NULL;
		key = key[0] == 'u' ? "gidMappings" : NULL)
		if (json_array_len(json_get_array(object, key)) > 0)
			return err_set(err, ERR_UNSUPPORTED, "mount %.200s: %s are not supported",
				destination, key);

	const char *type = json_get_string(object, "type");
	const char *source = json_get_string(object, "source");
	mount->destination = mem_strdup(destination);
	mount->type = mem_strdup(type != NULL ? type : "none");
	mount->source = dup_or_null(source);
	mount->is_bind = mount->is_recursive = false;
	if (strcmp(mount->type, "bind") == 0)
		mount->is_bind = true;

	AUTO_DONE(strv) options = { 0 };
	int r = json_get_strv(object, "options", &options, err);
	if (r < 0)
		return err_wrap(err, r, "mount %.200s", destination);
	for (size_t i = 0; i < options.len; i++)
		mount_option_apply(mount, options.items[i]);

	if (mount->is_bind && (source == NULL || source[0] != '/'))
		return err_set(err, ERR_INVALID,
			"mount %.200s: the source of a bind must be an absolute path", destination);
	if (mount->is_bind && mount->data.len > 0)
		return err_set(err, ERR_UNSUPPORTED,
			"mount %.200s: a bind mount cannot have option \"%.64s\"", destination,
			mount->data.items[0]);
	return 0;
}

static int parse_mounts(json *array, struct container_spec *spec, struct err *err)
{
	size_t len = 0;
	int r = array_len(array, "mounts", &len, err);
	if (r < 0)
		return r;
	spec->mounts = NEW_ARRAY(spec_mount, len + 1);
	for (size_t i = 0; i < len; i++) {
		spec->mounts_len = i + 1; /* a half-built one is freed too */
		r = parse_mount(array_at(array, i), &spec->mounts[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

static const struct namespace_row *namespace_find(const char *type)
{
	for (size_t i = 0; type != NULL && i < ARRAY_LEN(namespaces); i++)
		if (strcmp(namespaces[i].type, type) == 0)
			return &namespaces[i];
	return NULL;
}

static int parse_namespaces(json *array, struct container_spec *spec, struct err *err)
{
	for (size_t i = 0; i < json_array_len(array); i++) {
		json *item = array_at(array, i);
		const char *type = json_get_string(item, "type");
		const char *path = json_get_string(item, "path");
		const struct namespace_row *row = namespace_find(type);
		if (row == NULL)
			return err_set(err, ERR_UNSUPPORTED,
				"linux.namespaces: type \"%.64s\" is not supported",
				type != NULL ? type : "");
		if (spec_namespace_find(spec, row->flag) != NULL)
			return err_set(err, ERR_INVALID, "linux.namespaces: \"%s\" stands twice",
				type);
		if (path != NULL && path[0] == '\0')
			path = NULL;
		if (path != NULL && path[0] != '/')
			return err_set(err, ERR_INVALID,
				"linux.namespaces: path \"%.200s\" is not absolute", path);
		if (path != NULL && row->flag == CLONE_NEWNS)
			return err_set(err, ERR_UNSUPPORTED,
				"linux.namespaces: joining a mount namespace is not supported");
		spec->namespaces[spec->namespaces_len++] =
			(struct spec_namespace){ row->flag, dup_or_null(path) };
	}
	if (spec_namespace_find(spec, CLONE_NEWNS) == NULL)
		return err_set(err, ERR_UNSUPPORTED,
			"linux.namespaces: a container without a mount namespace of its own is "
			"not supported; add {\"type\": \"mount\"}");
	return 0;
}

static int parse_device(json *object, struct spec_device *device, struct err *err)
{
	const char *path = json_get_string(object, "path");
	const char *type = json_get_string(object, "type");
	if (path == NULL || strncmp(path, "/dev/", 5) != 0)
		return err_set(err, ERR_INVALID, "linux.devices: path \"%.200s\" is not below /dev",
			path != NULL ? path : "");
	char kind = type != NULL ? type[0] : '\0';
	if (kind == '\0' || strchr("bcup", kind) == NULL)
		return err_set(err, ERR_INVALID, "linux.devices: %.200s has type \"%.16s\"", path,
			type != NULL ? type : "");
	mode_t file_type = kind == 'b' ? S_IFBLK : kind == 'p' ? S_IFIFO : S_IFCHR;
	int64_t major = json_get_int(object, "major", 0);
	int64_t minor = json_get_int(object, "minor", 0);
	if (major < 0 || major > 0xfff || minor < 0 || minor > 0xfffff)
		return err_set(err, ERR_INVALID, "linux.devices: %.200s has number %jd:%jd", path,
			(intmax_t)major, (intmax_t)minor);

	*device = (struct spec_device){ .path = mem_strdup(path),
		.mode = file_type | (mode_t)(json_get_uint(object, "fileMode", 0666) & 0777),
		.major = (unsigned)major,
		.minor = (unsigned)minor };
	int r = parse_id(object, "uid", &device->uid, err);
	return r < 0 ? r : parse_id(object, "gid", &device->gid, err);
}

static int parse_devices(json *array, struct container_spec *spec, struct err *err)
{
	size_t len = 0;
	int r = array_len(array, "linux.devices", &len, err);
	if (r < 0)
		return r;
	spec->devices = NEW_ARRAY(spec_device, len + 1);
	for (size_t i = 0; i < len; i++) {
		spec->devices_len = i + 1;
		r = parse_device(array_at(array, i), &spec->devices[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int parse_device_rule(json *object, struct spec_device_rule *rule, struct err *err)
{
	const char *type = json_get_string(object, "type");
	const char *access = json_get_string(object, "access");
	rule->is_allowed = json_get_bool(object, "allow", false);
	rule->type = type == NULL || type[0] == '\0' ? 'a' : type[0];
	rule->major = json_get_int(object, "major", -1);
	rule->minor = json_get_int(object, "minor", -1);
	if (strchr("abc", rule->type) == NULL || rule->major < -1 || rule->major > UINT32_MAX ||
		rule->minor < -1 || rule->minor > UINT32_MAX)
		return err_set(err, ERR_INVALID, "linux.resources.devices: a rule of type '%c'",
			rule->type);
	if (access == NULL || access[0] == '\0')
		access = "rwm";
	for (const char *c = access; *c != '\0'; c++) {
		unsigned bit = *c == 'r'   ? DEVICE_READ
			       : *c == 'w' ? DEVICE_WRITE
			       : *c == 'm' ? DEVICE_MKNOD
					   : 0;
		if (bit == 0)
			return err_set(err, ERR_INVALID,
				"linux.resources.devices: access \"%.16s\"", access);
		rule->access |= bit;
	}
	return 0;
}

static int parse_resources(json *object, struct container_spec *spec, struct err *err)
{
	json *rules = json_get_array(object, "devices");
	size_t len = 0;
	int r = array_len(rules, "linux.resources.devices", &len, err);
	if (r < 0)
		return r;
	spec->device_rules = NEW_ARRAY(spec_device_rule, len + 1);
	for (size_t i = 0; i < len; i++) {
		r = parse_device_rule(array_at(rules, i), &spec->device_rules[i], err);
		if (r < 0)
			return r;
		spec->device_rules_len = i + 1;
	}

	json *cpu = json_get_object(object, "cpu");
	json *memory = json_get_object(object, "memory");
	json *pids = json_get_object(object, "pids");
	int64_t bytes = json_get_int(memory, "limit", 0);
	int64_t tasks = json_get_int(pids, "limit", 0);
	/* -1 is the specification's word for "no limit", ours is 0. */
	spec->limits = (struct cgroup_limits){
		.cpu_quota_us = json_get_int(cpu, "quota", 0),
		.cpu_period_us = (int64_t)json_get_uint(cpu, "period", 0),
		.cpu_shares = (int64_t)json_get_uint(cpu, "shares", 0),
		.memory_bytes = bytes > 0 ? (uint64_t)bytes : 0,
		.pids = tasks > 0 ? tasks : 0,
	};
	if (spec->limits.cpu_quota_us < 0)
		spec->limits.cpu_quota_us = 0;
	return 0;
}

static int parse_sysctls(json *object, struct container_spec *spec, struct err *err)
{
	if (object == NULL)
		return 0;
	/* With a joined namespace the setting would be another container's. */
	int own = spec_namespaces_new(spec);
	json_object_object_foreach (object, name, value) {
		const char *text = json_get_string(object, name);
		int r = text == NULL ? err_set(err, ERR_INVALID,
					       "linux.sysctl: \"%.80s\" is no string", name)
				     : sysctl_check(name, text, own, err);
		if (r < 0)
			return r;
		(void)value;
		strv_printf(&spec->sysctls, "%s=%s", name, text);
	}
	return 0;
}

static int parse_linux(json *object, struct container_spec *spec, struct err *err)
{
	for (const char *key = "uidMappings"; key != NULL;
		key = key[0] == 'u' ? "gidMappings" : NULL)
		if (json_array_len(json_get_array(object, key)) > 0)
			return err_set(err, ERR_UNSUPPORTED,
				"linux.%s (user namespaces) are not supported", key);
	int r = parse_namespaces(json_get_array(object, "namespaces"), spec, err);
	if (r == 0)
		r = parse_devices(json_get_array(object, "devices"), spec, err);
	if (r == 0)
		r = parse_resources(json_get_object(object, "resources"), spec, err);
	if (r == 0)
		r = parse_sysctls(json_get_object(object, "sysctl"), spec, err);
	if (r == 0)
		r = json_get_strv(object, "maskedPaths", &spec->masked_paths, err);
	if (r == 0)
		r = json_get_strv(object, "readonlyPaths", &spec->readonly_paths, err);
	if (r < 0)
		return r;

	const char *propagation = json_get_string(object, "rootfsPropagation");
	bool is_recursive;
	spec->root_propagation = MS_PRIVATE;
	if (propagation != NULL && propagation[0] != '\0' &&
		!mount_propagation_find(propagation, &spec->root_propagation, &is_recursive))
		return err_set(err, ERR_INVALID, "linux.rootfsPropagation: \"%.64s\"", propagation);
	if (spec->root_propagation == MS_SHARED)
		return err_set(err, ERR_UNSUPPORTED,
			"linux.rootfsPropagation: \"shared\" would show the container's mounts to "
			"the host; use \"slave\"");

	json *profile = json_get_object(object, "seccomp");
	if (profile != NULL) {
		spec->seccomp = SECCOMP_CUSTOM;
		spec->seccomp_profile = json_object_get(profile);
	}
	return 0;
}

static int parse_root(json *document, struct container_spec *spec, struct err *err)
{
	json *root = json_get_object(document, "root");
	spec->root_path = dup_or_null(json_get_string(root, "path"));
	spec->is_root_readonly = json_get_bool(root, "readonly", false);
	spec->hostname = dup_or_null(json_get_string(document, "hostname"));
	spec->domainname = dup_or_null(json_get_string(document, "domainname"));
	if (spec->hostname != NULL && strlen(spec->hostname) > HOST_NAME_MAX)
		return err_set(err, ERR_INVALID, "hostname \"%.70s\" is longer than %d bytes",
			spec->hostname, HOST_NAME_MAX);
	return 0;
}

static int parse_annotations(json *document, struct container_spec *spec, struct err *err)
{
	/* Ours, set by the engine: "default" names the built-in profile, so that the document
	 * need not spell out 400 names.  It is the live request's, never an image's. */
	const char *seccomp =
		json_get_string(json_get_object(document, "annotations"), "moat.seccomp");
	if (seccomp == NULL)
		return 0;
	if (spec->seccomp == SECCOMP_CUSTOM)
		return err_set(err, ERR_INVALID,
			"both linux.seccomp and the annotation moat.seccomp are given");
	if (strcmp(seccomp, "default") == 0)
		spec->seccomp = SECCOMP_DEFAULT;
	else if (strcmp(seccomp, "unconfined") != 0)
		return err_set(err, ERR_INVALID,
			"annotation moat.seccomp \"%.64s\" is neither default nor unconfined",
			seccomp);
	return 0;
}

int container_spec_parse(json *document, struct container_spec **ret_spec, struct err *err)
{
	AUTO(container_spec) spec = NEW(container_spec);
	int r = parse_root(document, spec, err);
	if (r == 0)
		r = parse_process(json_get_object(document, "process"), &spec->process, err);
	if (r == 0)
		r = parse_mounts(json_get_array(document, "mounts"), spec, err);
	if (r == 0)
		r = parse_linux(json_get_object(document, "linux"), spec, err);
	if (r == 0)
		r = parse_annotations(document, spec, err);
	if (r < 0)
		return err_wrap(err, r, "container document");
	if (spec->hostname != NULL && !(spec_namespaces_new(spec) & CLONE_NEWUTS))
		return err_set(err, ERR_INVALID,
			"container document: hostname without a uts namespace of its own");
	*ret_spec = TAKE(spec);
	return 0;
}

static void process_done(struct spec_process *process)
{
	strv_done(&process->args);
	strv_done(&process->env);
	free(process->cwd);
	free(process->groups);
	free(process->rlimits);
}

static void mount_done(struct spec_mount *mount)
{
	free(mount->destination);
	free(mount->type);
	free(mount->source);
	strv_done(&mount->data);
}

void container_spec_free(struct container_spec *spec)
{
	if (spec == NULL)
		return;
	process_done(&spec->process);
	free(spec->root_path);
	free(spec->hostname);
	free(spec->domainname);
	for (size_t i = 0; i < spec->mounts_len; i++)
		mount_done(&spec->mounts[i]);
	free(spec->mounts);
	for (size_t i = 0; i < spec->namespaces_len; i++)
		free(spec->namespaces[i].path);
	for (size_t i = 0; i < spec->devices_len; i++)
		free(spec->devices[i].path);
	free(spec->devices);
	free(spec->device_rules);
	strv_done(&spec->sysctls);
	strv_done(&spec->masked_paths);
	strv_done(&spec->readonly_paths);
	if (spec->seccomp_profile != NULL)
		json_object_put(spec->seccomp_profile);
	free(spec);
}

const struct spec_namespace *spec_namespace_find(const struct container_spec *spec, int flag)
{
	for (size_t i = 0; i < spec->namespaces_len; i++)
		if (spec->namespaces[i].flag == flag)
			return &spec->namespaces[i];
	return NULL;
}

int spec_namespaces_new(const struct container_spec *spec)
{
	int flags = 0;
	for (size_t i = 0; i < spec->namespaces_len; i++)
		if (spec->namespaces[i].path == NULL)
			flags |= spec->namespaces[i].flag;
	return flags;
}
