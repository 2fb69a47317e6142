/* The document `inspect` prints, in the shape of Docker's GET /images/{name}/json (API 1.43): keys
 * that its clients read are always there, empty where an image has nothing to say. */
#include "image/image.h"

#include <string.h>

#include "base/mem.h"
#include "image/image_created.h"

/* Go's zero time: what Docker writes for a date that is not known. */
#define DATE_UNKNOWN "0001-01-01T00:00:00Z"

static const char *or_empty(const char *text)
{
	return text == NULL ? "" : text;
}

/* NAME=VALUE, or bare names, as an object; null without any. */
static json *members(const struct strv *list, bool are_pairs)
{
	if (list->len == 0)
		return NULL;
	json *object = json_new_object();
	for (size_t i = 0; i < list->len; i++) {
		if (!are_pairs) {
			json_set(object, list->items[i], json_new_object());
			continue;
		}
		struct view value = view_of(list->items[i]);
		AUTO_FREE char *name = view_dup(view_cut(&value, '='));
		AUTO_FREE char *text = view_dup(value);
		json_set_string(object, name, text);
	}
	return object;
}

/* null where the image does not say, [] where it says none. */
static void set_list(json *object, const char *key, const struct strv *list, bool is_there)
{
	if (is_there)
		json_set_strv(object, key, list);
	else
		json_set(object, key, NULL);
}

static json *run_config(const struct image_config *config)
{
	static const char *const falses[] = { "AttachStdin", "AttachStdout", "AttachStderr", "Tty",
		"OpenStdin", "StdinOnce" };
	json *run = json_new_object();
	json_set_string(run, "Hostname", "");
	json_set_string(run, "Domainname", "");
	json_set_string(run, "User", or_empty(config->user));
	for (size_t i = 0; i < ARRAY_LEN(falses); i++)
		json_set_bool(run, falses[i], false);
	if (config->exposed_ports.len > 0)
		json_set(run, "ExposedPorts", members(&config->exposed_ports, false));
	set_list(run, "Env", &config->env, config->env.len > 0);
	set_list(run, "Cmd", &config->cmd, config->has_cmd);
	json_set_string(run, "Image", "");
	json_set(run, "Volumes", members(&config->volumes, false));
	json_set_string(run, "WorkingDir", or_empty(config->working_dir));
	set_list(run, "Entrypoint", &config->entrypoint, config->has_entrypoint);
	json_set(run, "OnBuild", NULL);
	json_set(run, "Labels", members(&config->labels, true));
	if (config->stop_signal != NULL)
		json_set_string(run, "StopSignal", config->stop_signal);
	if (config->shell.len > 0)
		json_set_strv(run, "Shell", &config->shell);
	return run;
}

static void set_names(json *root, const struct image_facts *facts)
{
	json *tags = json_new_array();
	AUTO_DONE(strv) digests = { 0 };
	for (size_t i = 0; i < facts->references->len; i++) {
		AUTO_DONE(image_ref) ref = { 0 };
		if (image_ref_parse(facts->references->items[i], &ref, NULL) < 0)
			continue;
		AUTO_FREE char *familiar = image_ref_familiar(&ref);
		json_push_string(tags, familiar);

		AUTO_FREE char *repository = image_repository_familiar(ref.repository);
		AUTO_FREE char *by_digest =
			text_format("%s@sha256:%s", repository, facts->manifest.hex);
		if (digest_is_set(&facts->manifest) && !strv_has(&digests, by_digest))
			strv_add(&digests, by_digest);
	}
	json_set(root, "RepoTags", tags);
	set_list(root, "RepoDigests", &digests, true);
}

static json *rootfs(const struct image_config *config)
{
	json *layers = json_new_array();
	for (size_t i = 0; i < config->diff_ids_len; i++) {
		char text[DIGEST_TEXT_LEN + 1];
		json_push_string(layers, digest_text(&config->diff_ids[i], text));
	}
	json *root = json_new_object();
	json_set_string(root, "Type", "layers");
	json_set(root, "Layers", layers);
	return root;
}

static const char *date(int64_t wall_ns, char buffer[CLOCK_RFC3339_MAX])
{
	return wall_ns == 0 ? DATE_UNKNOWN : image_created_text(wall_ns, buffer);
}

json *image_inspect(const struct image_config *config, const struct image_facts *facts)
{
	char digest[DIGEST_TEXT_LEN + 1];
	char buffer[CLOCK_RFC3339_MAX];

	json *root = json_new_object();
	json_set_string(root, "Id", digest_text(&facts->id, digest));
	set_names(root, facts);
	json_set_string(root, "Parent", "");
	json_set_string(root, "Comment", or_empty(config->comment));
	json_set_string(root, "Created", date(config->created_ns, buffer));
	json_set_string(root, "DockerVersion", or_empty(config->docker_version));
	json_set_string(root, "Author", or_empty(config->author));
	json_set(root, "Config", run_config(config));
	json_set_string(root, "Architecture", or_empty(config->architecture));
	if (config->variant != NULL)
		json_set_string(root, "Variant", config->variant);
	json_set_string(root, "Os", or_empty(config->os));
	json_set_uint(root, "Size", facts->size_bytes);

	json *driver = json_new_object();
	json_set(driver, "Data", NULL);
	json_set_string(driver, "Name", "erofs");
	json_set(root, "GraphDriver", driver);
	json_set(root, "RootFS", rootfs(config));

	json *metadata = json_new_object();
	json_set_string(metadata, "LastTagTime", date(facts->tagged_ns, buffer));
	json_set(root, "Metadata", metadata);
	return root;
}
