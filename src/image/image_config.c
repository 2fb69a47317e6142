/* The document an image runs by (image-spec config.md; Docker's image JSON is a superset).  What is
 * not understood here, history included, stays in the bytes, which the caller keeps.
 *
 * Two tables say where each value stands.  A value of the wrong type is refused rather than taken
 * as absent: an image that means something else to other engines is not run. */
#include "image/image.h"

#include <stddef.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/quote.h"
#include "image/image_created.h"
#include "image/image_platform.h"

enum field_kind {
	FIELD_STRING, /* char * */
	FIELD_LIST,   /* strv, from an array of strings */
	FIELD_KEYS,   /* strv, from the keys of an object */
	FIELD_PAIRS,  /* strv of NAME=VALUE, from an object of strings */
};

struct field {
	const char *key;
	enum field_kind kind;
	size_t offset; /* in struct image_config */
};

static const struct field outer_fields[] = {
	{ "architecture", FIELD_STRING, offsetof(struct image_config, architecture) },
	{ "author", FIELD_STRING, offsetof(struct image_config, author) },
	{ "comment", FIELD_STRING, offsetof(struct image_config, comment) },
	{ "docker_version", FIELD_STRING, offsetof(struct image_config, docker_version) },
	{ "os", FIELD_STRING, offsetof(struct image_config, os) },
	{ "variant", FIELD_STRING, offsetof(struct image_config, variant) },
};

static const struct field run_fields[] = {
	{ "Cmd", FIELD_LIST, offsetof(struct image_config, cmd) },
	{ "Entrypoint", FIELD_LIST, offsetof(struct image_config, entrypoint) },
	{ "Env", FIELD_LIST, offsetof(struct image_config, env) },
	{ "ExposedPorts", FIELD_KEYS, offsetof(struct image_config, exposed_ports) },
	{ "Labels", FIELD_PAIRS, offsetof(struct image_config, labels) },
	{ "Shell", FIELD_LIST, offsetof(struct image_config, shell) },
	{ "StopSignal", FIELD_STRING, offsetof(struct image_config, stop_signal) },
	{ "User", FIELD_STRING, offsetof(struct image_config, user) },
	{ "Volumes", FIELD_KEYS, offsetof(struct image_config, volumes) },
	{ "WorkingDir", FIELD_STRING, offsetof(struct image_config, working_dir) },
};

static int field_wrong(const struct field *field, const char *wanted, struct err *err)
{
	return err_set(err, ERR_INVALID, "image config: %s is not %s", field->key, wanted);
}

static int read_string(const struct field *field, json *object, char **ret, struct err *err)
{
	const char *text = json_get_string(object, field->key);
	if (text == NULL)
		return field_wrong(field, "a text without zero bytes", err);
	*ret = mem_strdup(text);
	return 0;
}

static int read_list(const struct field *field, json *object, struct strv *list, struct err *err)
{
	if (json_get_array(object, field->key) == NULL)
		return field_wrong(field, "a list", err);
	int r = json_get_strv(object, field->key, list, err);
	return r < 0 ? err_wrap(err, r, "image config") : 0;
}

static int read_members(const struct field *field, json *object, struct strv *list, struct err *err)
{
	json *members = json_get_object(object, field->key);
	if (members == NULL)
		return field_wrong(field, "an object", err);
	json_object_object_foreach (members, key, value) {
		(void)value;
		if (field->kind == FIELD_KEYS) {
			strv_add(list, key);
			continue;
		}
		const char *text = json_get_string(members, key);
		if (text == NULL)
			return field_wrong(field, "an object of texts", err);
		strv_printf(list, "%s=%s", key, text);
	}
	return 0;
}

static int read_field(const struct field *field, json *object, struct image_config *config,
	struct err *err)
{
	if (json_get(object, field->key) == NULL) /* null is absent */
		return 0;
	void *at = (char *)config + field->offset;
	switch (field->kind) {
	case FIELD_STRING: return read_string(field, object, at, err);
	case FIELD_LIST: return read_list(field, object, at, err);
	case FIELD_KEYS:
	case FIELD_PAIRS: return read_members(field, object, at, err);
	}
	return 0;
}

static int read_fields(const struct field *fields, size_t len, json *object,
	struct image_config *config, struct err *err)
{
	int r = 0;
	for (size_t i = 0; r >= 0 && i < len; i++)
		r = read_field(&fields[i], object, config, err);
	return r;
}

static int read_diff_ids(json *root, struct image_config *config, struct err *err)
{
	json *rootfs = json_get_object(root, "rootfs");
	const char *type = json_get_string(rootfs, "type");
	if (type == NULL || strcmp(type, "layers") != 0)
		return err_set(err, ERR_INVALID, "image config: rootfs.type is not \"layers\"");
	if (json_get(rootfs, "diff_ids") == NULL) /* Go writes null for an image from scratch */
		return 0;

	AUTO_DONE(strv) texts = { 0 };
	json *list = json_get_array(rootfs, "diff_ids");
	if (list == NULL)
		return err_set(err, ERR_INVALID, "image config: rootfs.diff_ids is not a list");
	if (json_array_len(list) > LIMIT_LAYERS)
		return err_set(err, ERR_LIMIT, "image config: %zu layers, the limit is %d",
			json_array_len(list), (int)LIMIT_LAYERS);
	int r = json_get_strv(rootfs, "diff_ids", &texts, err);
	if (r < 0)
		return err_wrap(err, r, "image config");

	config->diff_ids = NEW_ARRAY(digest, texts.len + 1);
	for (size_t i = 0; i < texts.len; i++) {
		r = digest_parse(view_of(texts.items[i]), &config->diff_ids[i], err);
		if (r < 0)
			return err_wrap(err, r, "image config: rootfs.diff_ids");
	}
	config->diff_ids_len = texts.len;
	return 0;
}

static int read_config(json *root, struct image_config *config, struct err *err)
{
	if (!json_object_is_type(root, json_type_object))
		return err_set(err, ERR_INVALID, "image config: not an object");
	int r = read_fields(outer_fields, ARRAY_LEN(outer_fields), root, config, err);
	if (r < 0)
		return r;
	config->created_ns = image_created_parse(json_get_string(root, "created"));

	json *run = json_get_object(root, "config");
	if (run == NULL && json_get(root, "config") != NULL)
		return err_set(err, ERR_INVALID, "image config: config is not an object");
	r = read_fields(run_fields, ARRAY_LEN(run_fields), run, config, err);
	if (r < 0)
		return r;
	config->has_entrypoint = json_get(run, "Entrypoint") != NULL;
	config->has_cmd = json_get(run, "Cmd") != NULL;
	return read_diff_ids(root, config, err);
}

int image_config_parse(struct view bytes, struct image_config *ret_config, struct err *err)
{
	AUTO_JSON root = NULL;
	int r = json_parse(bytes, "image config", &root, err);
	if (r < 0)
		return r;
	AUTO_DONE(image_config) config = { 0 };
	r = read_config(root, &config, err);
	if (r < 0)
		return r;
	*ret_config = config;
	config = (struct image_config){ 0 };
	return 0;
}

static void fields_done(const struct field *fields, size_t len, struct image_config *config)
{
	for (size_t i = 0; i < len; i++) {
		void *at = (char *)config + fields[i].offset;
		if (fields[i].kind == FIELD_STRING)
			free(*(char **)at);
		else
			strv_done(at);
	}
}

void image_config_done(struct image_config *config)
{
	fields_done(outer_fields, ARRAY_LEN(outer_fields), config);
	fields_done(run_fields, ARRAY_LEN(run_fields), config);
	free(config->diff_ids);
	*config = (struct image_config){ 0 };
}

char *image_config_make(const struct digest *diff_id, int64_t created_ns, const char *comment)
{
	char created[CLOCK_RFC3339_MAX];
	char diff_id_text[DIGEST_TEXT_LEN + 1];
	(void)image_created_text(created_ns, created);

	/* Keys in alphabetical order, as Go's encoder would have them: equal input, equal id. */
	AUTO_JSON root = json_new_object();
	json_set_string(root, "architecture", image_platform_host().architecture);
	json_set(root, "config", json_new_object());
	json_set_string(root, "created", created);

	json *step = json_new_object();
	json_set_string(step, "comment", comment == NULL ? "" : comment);
	json_set_string(step, "created", created);
	json *history = json_new_array();
	json_push(history, step);
	json_set(root, "history", history);
	json_set_string(root, "os", IMAGE_PLATFORM_OS);

	json *diff_ids = json_new_array();
	json_push_string(diff_ids, digest_text(diff_id, diff_id_text));
	json *rootfs = json_new_object();
	json_set(rootfs, "diff_ids", diff_ids);
	json_set_string(rootfs, "type", "layers");
	json_set(root, "rootfs", rootfs);
	return json_text(root, false);
}
