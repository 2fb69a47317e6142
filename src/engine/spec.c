#include "engine/spec.h"

#include <string.h>

#include "base/mem.h"
#include "base/quote.h"

/* The plain members of a specification: one row makes both directions of the conversion. */
enum member_type { MEMBER_STRING, MEMBER_STRV, MEMBER_BOOL, MEMBER_INT, MEMBER_UINT };
static const struct member {
	const char *key;
	enum member_type type;
	size_t offset;
} members[] = {
#define MEMBER(key, type, field)                                 \
	{                                                        \
		key, type, offsetof(struct workload_spec, field) \
	}
	MEMBER("accel", MEMBER_STRING, accel),
	MEMBER("args", MEMBER_STRV, args),
	MEMBER("auto_remove", MEMBER_BOOL, auto_remove),
	MEMBER("entrypoint", MEMBER_STRV, entrypoint),
	MEMBER("env", MEMBER_STRV, env),
	MEMBER("hostname", MEMBER_STRING, hostname),
	MEMBER("image", MEMBER_STRING, image),
	MEMBER("interactive", MEMBER_BOOL, interactive),
	MEMBER("isolation", MEMBER_STRING, isolation),
	MEMBER("labels", MEMBER_STRV, labels),
	MEMBER("memory_bytes", MEMBER_UINT, memory_bytes),
	MEMBER("name", MEMBER_STRING, name),
	MEMBER("nano_cpus", MEMBER_INT, nano_cpus),
	MEMBER("pids_limit", MEMBER_INT, pids_limit),
	MEMBER("stop_signal", MEMBER_STRING, stop_signal),
	MEMBER("tty", MEMBER_BOOL, tty),
	MEMBER("user", MEMBER_STRING, user),
	MEMBER("workdir", MEMBER_STRING, workdir),
#undef MEMBER
};

static const char *const network_names
	[] = { [NETWORK_BRIDGE] = "bridge", [NETWORK_NONE] = "none", [NETWORK_HOST] = "host" };

const char *workload_network_name(enum workload_network network)
{
	return network_names[network];
}

int workload_network_parse(const char *text, enum workload_network *ret_network, struct err *err)
{
	if (strcmp(text, "default") == 0)
		text = network_names[NETWORK_BRIDGE];
	for (size_t i = 0; i < ARRAY_LEN(network_names); i++) {
		if (strcmp(text, network_names[i]) == 0) {
			*ret_network = (enum workload_network)i;
			return 0;
		}
	}
	return err_set(err, ERR_NOT_FOUND, "network %s not found: use bridge, none or host", text);
}

json *workload_spec_to_json(const struct workload_spec *spec)
{
	json *object = json_new_object();
	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		const void *field = (const char *)spec + members[i].offset;
		switch (members[i].type) {
		case MEMBER_STRING:
			if (*(char *const *)field != NULL)
				json_set_string(object, members[i].key, *(char *const *)field);
			break;
		case MEMBER_STRV: json_set_strv(object, members[i].key, field); break;
		case MEMBER_BOOL:
			json_set_bool(object, members[i].key, *(const bool *)field);
			break;
		case MEMBER_INT:
			json_set_int(object, members[i].key, *(const int64_t *)field);
			break;
		case MEMBER_UINT:
			json_set_uint(object, members[i].key, *(const uint64_t *)field);
			break;
		}
	}
	json_set_string(object, "network", network_names[spec->network]);
	json *mounts = json_new_array();
	for (size_t i = 0; i < spec->mounts_len; i++) {
		const struct workload_mount *mount = &spec->mounts[i];
		json *row = json_new_object();
		json_set_string(row, "source", mount->source);
		json_set_string(row, "target", mount->target);
		json_set_string(row, "options", mount->options);
		json_set_bool(row, "tmpfs", mount->is_tmpfs);
		json_set_bool(row, "read_only", mount->read_only);
		json_set_bool(row, "make_source", mount->make_source);
		json_push(mounts, row);
	}
	json_set(object, "mounts", mounts);
	return object;
}

static int check_string(const char *string, struct err *err)
{
	if (string == NULL || quote_is_utf8(string))
		return 0;
	AUTO_FREE char *quoted = quote_string(string);
	return err_set(err, ERR_INVALID, "\"%s\" is not valid UTF-8", quoted);
}

int workload_spec_check(const struct workload_spec *spec, struct err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(members); i++) {
		const void *field = (const char *)spec + members[i].offset;
		if (members[i].type == MEMBER_STRING)
			r = check_string(*(char *const *)field, err);
		if (members[i].type != MEMBER_STRV)
			continue;
		const struct strv *list = field;
		for (size_t k = 0; r == 0 && k < list->len; k++)
			r = check_string(list->items[k], err);
	}
	for (size_t i = 0; r == 0 && i < spec->mounts_len; i++) {
		r = check_string(spec->mounts[i].source, err);
		if (r == 0)
			r = check_string(spec->mounts[i].target, err);
		if (r == 0)
			r = check_string(spec->mounts[i].options, err);
	}
	return r;
}

static char *dup_or_null(const char *string)
{
	return string == NULL ? NULL : mem_strdup(string);
}

static int mounts_from_json(json *array, struct workload_spec *spec, struct err *err)
{
	for (size_t i = 0; i < json_array_len(array); i++) {
		json *row = json_object_array_get_idx(array, i);
		const char *target = json_get_string(row, "target");
		if (target == NULL)
			return err_set(err, ERR_DAMAGED, "a mount in the record has no target");
		workload_spec_add_mount(spec,
			(struct workload_mount){
				.source = dup_or_null(json_get_string(row, "source")),
				.target = mem_strdup(target),
				.options = dup_or_null(json_get_string(row, "options")),
				.is_tmpfs = json_get_bool(row, "tmpfs", false),
				.read_only = json_get_bool(row, "read_only", false),
				.make_source = json_get_bool(row, "make_source", false),
			});
	}
	return 0;
}

int workload_spec_from_json(struct view text, struct workload_spec *ret_spec, struct err *err)
{
	AUTO_JSON object = NULL;
	int r = json_parse(text, "the record of a workload", &object, err);
	if (r < 0)
		return r;
	AUTO_DONE(workload_spec) spec = { 0 };
	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		void *field = (char *)&spec + members[i].offset;
		const char *key = members[i].key;
		switch (members[i].type) {
		case MEMBER_STRING:
			*(char **)field = dup_or_null(json_get_string(object, key));
			break;
		case MEMBER_STRV:
			r = json_get_strv(object, key, field, err);
			if (r < 0)
				return r;
			break;
		case MEMBER_BOOL: *(bool *)field = json_get_bool(object, key, false); break;
		case MEMBER_INT: *(int64_t *)field = json_get_int(object, key, 0); break;
		case MEMBER_UINT: *(uint64_t *)field = json_get_uint(object, key, 0); break;
		}
	}
	const char *network = json_get_string(object, "network");
	r = workload_network_parse(network == NULL ? "bridge" : network, &spec.network, err);
	if (r < 0)
		return r;
	r = mounts_from_json(json_get_array(object, "mounts"), &spec, err);
	if (r < 0)
		return r;
	*ret_spec = spec;
	spec = (struct workload_spec){ 0 };
	return 0;
}

void workload_spec_add_mount(struct workload_spec *spec, struct workload_mount take_mount)
{
	spec->mounts = mem_grow(spec->mounts, spec->mounts_len + 1, sizeof(*spec->mounts));
	spec->mounts[spec->mounts_len++] = take_mount;
}

void workload_spec_done(struct workload_spec *spec)
{
	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		void *field = (char *)spec + members[i].offset;
		if (members[i].type == MEMBER_STRING)
			free(*(char **)field);
		else if (members[i].type == MEMBER_STRV)
			strv_done(field);
	}
	for (size_t i = 0; i < spec->mounts_len; i++) {
		free(spec->mounts[i].source);
		free(spec->mounts[i].target);
		free(spec->mounts[i].options);
	}
	free(spec->mounts);
	*spec = (struct workload_spec){ 0 };
}

/* The user's command replaces the image's; an entrypoint given by the user also drops the image's
 * command (docker run's reference, "Overriding image defaults"). */
static int resolve_command(struct workload_spec *spec, const struct image_config *config,
	struct err *err)
{
	const struct strv *command = &spec->args;
	if (!spec->has_entrypoint) {
		strv_extend(&spec->entrypoint, &config->entrypoint);
		if (spec->args.len == 0)
			command = &config->cmd;
	}
	struct strv args = { 0 };
	strv_extend(&args, &spec->entrypoint);
	strv_extend(&args, command);
	strv_done(&spec->args);
	spec->args = args;
	if (args.len == 0 || args.items[0][0] == 0)
		return err_set(err, ERR_INVALID,
			"no command specified: \"%s\" has none, give one after the image",
			spec->image);
	return 0;
}

static void resolve_env(struct workload_spec *spec, const struct image_config *config,
	const char *hostname)
{
	struct strv env = { 0 };
	strv_add(&env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	strv_printf(&env, "HOSTNAME=%s", hostname);
	if (spec->tty)
		strv_add(&env, "TERM=xterm");
	for (size_t i = 0; i < config->env.len; i++)
		strv_set_env(&env, config->env.items[i]);
	for (size_t i = 0; i < spec->env.len; i++)
		strv_set_env(&env, spec->env.items[i]);
	strv_done(&spec->env);
	spec->env = env;
}

static void default_string(char **string, const char *from_image, const char *fallback)
{
	if (*string == NULL || **string == 0) {
		free(*string);
		*string = mem_strdup(
			from_image != NULL && from_image[0] != 0 ? from_image : fallback);
	}
}

int workload_spec_resolve(struct workload_spec *spec, const struct image_config *config,
	const char *id, struct err *err)
{
	int r = resolve_command(spec, config, err);
	if (r < 0)
		return r;
	AUTO_FREE char *short_id = view_dup((struct view){ id, 12 });
	default_string(&spec->hostname, NULL, short_id);
	default_string(&spec->user, config->user, "");
	default_string(&spec->workdir, config->working_dir, "/");
	default_string(&spec->stop_signal, config->stop_signal, "SIGTERM");
	default_string(&spec->isolation, NULL, "container");
	if (spec->accel != NULL && strcmp(spec->isolation, "vm") != 0)
		return err_set(err, ERR_INVALID,
			"--accel %s is for a virtual machine: say --vm, too", spec->accel);
	if (spec->workdir[0] != '/')
		return err_set(err, ERR_INVALID,
			"the working directory \"%s\" is invalid, it needs to be an absolute path",
			spec->workdir);
	resolve_env(spec, config, spec->hostname);
	struct strv labels = { 0 };
	strv_extend(&labels, &config->labels);
	for (size_t i = 0; i < spec->labels.len; i++)
		strv_set_env(&labels, spec->labels.items[i]);
	strv_done(&spec->labels);
	spec->labels = labels;
	return 0;
}
