/* container_spec_defaults - the document that every container starts from, built from the tables of
 * this folder so that each default stands in one row of one .def file. */
#include <fcntl.h>
#include <sys/stat.h>

#include "container/container.h"
#include "container/container_spec.h"

static void add_mount(json *mounts, const char *destination, const char *type, const char *source,
	const char *options)
{
	json *mount = json_new_object();
	json_set_string(mount, "destination", destination);
	json_set_string(mount, "type", type);
	json_set_string(mount, "source", source);
	json *list = json_new_array();
	for (struct view rest = view_of(options); rest.data != NULL;) {
		AUTO_FREE char *option = view_dup(view_cut(&rest, ','));
		json_push_string(list, option);
	}
	json_set(mount, "options", list);
	json_push(mounts, mount);
}

static json *mounts_new(void)
{
	json *mounts = json_new_array();
#define DEFAULT_MOUNT(destination, type, source, options) \
	add_mount(mounts, destination, type, source, options);
#include "container/default_mounts.def"
#undef DEFAULT_MOUNT
	return mounts;
}

static json *namespaces_new(void)
{
	json *list = json_new_array();
	json *item;
#define NAMESPACE(type, flag, name)          \
	item = json_new_object();            \
	json_set_string(item, "type", type); \
	json_push(list, item);
#include "container/namespaces.def"
#undef NAMESPACE
	return list;
}

static void add_device_rule(json *rules, bool is_allowed, char type, int64_t major, int64_t minor,
	unsigned access)
{
	char text[4];
	size_t len = 0;
	if (access & DEVICE_READ)
		text[len++] = 'r';
	if (access & DEVICE_WRITE)
		text[len++] = 'w';
	if (access & DEVICE_MKNOD)
		text[len++] = 'm';
	text[len] = '\0';

	json *rule = json_new_object();
	json_set_bool(rule, "allow", is_allowed);
	json_set_string(rule, "type", (char[]){ type, '\0' });
	if (major >= 0)
		json_set_int(rule, "major", major);
	if (minor >= 0)
		json_set_int(rule, "minor", minor);
	json_set_string(rule, "access", text);
	json_push(rules, rule);
}

static json *device_rules_new(void)
{
	json *rules = json_new_array();
	add_device_rule(rules, false, 'a', -1, -1, DEVICE_ALL);
#define DEVICE_RULE(is_allowed, type, major, minor, access) \
	add_device_rule(rules, is_allowed, type, major, minor, access);
#include "container/device_rules.def"
#undef DEVICE_RULE
	return rules;
}

static json *process_new(void)
{
	json *process = json_new_object();
	json *user = json_new_object();
	json_set_int(user, "uid", 0);
	json_set_int(user, "gid", 0);
	json_set(process, "user", user);
	json_set_string(process, "cwd", "/");

	/* Nothing inheritable and nothing ambient: see capability.c. */
	json *capabilities = json_new_object();
	json_set(capabilities, "bounding", capability_defaults());
	json_set(capabilities, "effective", capability_defaults());
	json_set(capabilities, "permitted", capability_defaults());
	json_set(process, "capabilities", capabilities);
	return process;
}

static json *linux_new(void)
{
	json *masked = json_new_array();
	json *readonly = json_new_array();
#define MASKED_PATH(path) json_push_string(masked, path);
#define READONLY_PATH(path) json_push_string(readonly, path);
#include "container/guarded_paths.def"
#undef MASKED_PATH
#undef READONLY_PATH

	json *sysctl = json_new_object();
	/* Docker's since 20.10: ports below 1024 and ping without capabilities. */
	json_set_string(sysctl, "net.ipv4.ip_unprivileged_port_start", "0");
	json_set_string(sysctl, "net.ipv4.ping_group_range", "0 2147483647");

	json *resources = json_new_object();
	json_set(resources, "devices", device_rules_new());
	json *object = json_new_object();
	json_set(object, "namespaces", namespaces_new());
	json_set(object, "sysctl", sysctl);
	json_set(object, "resources", resources);
	json_set(object, "maskedPaths", masked);
	json_set(object, "readonlyPaths", readonly);
	return object;
}

json *container_spec_defaults(void)
{
	json *document = json_new_object();
	json_set_string(document, "ociVersion", "1.1.0");
	json_set(document, "process", process_new());
	json_set(document, "root", json_new_object());
	json_set(document, "mounts", mounts_new());
	json_set(document, "linux", linux_new());
	json *annotations = json_new_object();
	json_set_string(annotations, "moat.seccomp", "default");
	json_set(document, "annotations", annotations);
	return document;
}
