/* A plan names, for one image, the configuration and manifest (verified) and where each layer
 * stands.  Layers are not read here: they are large, and verified while they are converted. */
#include "image/image_plan.h"

#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/quote.h"
#include "image/image_media.h"

void image_plan_done(struct image_plan *plan)
{
	for (size_t i = 0; i < plan->layers_len; i++) {
		free(plan->layers[i].member);
		free(plan->layers[i].media_type);
	}
	free(plan->layers);
	free(plan->config);
	free(plan->manifest);
	strv_done(&plan->references);
	*plan = (struct image_plan){ 0 };
}

int image_plan_add_reference(struct image_plan *plan, const char *name, struct err *err)
{
	AUTO_DONE(image_ref) ref = { 0 };
	int r = image_ref_parse(name, &ref, err);
	if (r < 0)
		return r;
	if (ref.tag == NULL)
		return 0;
	AUTO_FREE char *full = image_ref_full(&ref);
	if (strv_has(&plan->references, full))
		return 0;
	if (plan->references.len >= LIMIT_IMAGE_REFERENCES)
		return err_set(err, ERR_LIMIT, "image sha256:%s has more than %d references",
			plan->id.hex, (int)LIMIT_IMAGE_REFERENCES);
	strv_take(&plan->references, TAKE(full));
	return 0;
}

int image_document_check(json *document, bool is_index, const char *media_type, const char *what,
	struct err *err)
{
	static const char *const index_keys[] = { "manifests" };
	static const char *const manifest_keys[] = { "config", "layers", "fsLayers" };
	const char *const *foreign = is_index ? manifest_keys : index_keys;
	size_t foreign_len = is_index ? ARRAY_LEN(manifest_keys) : ARRAY_LEN(index_keys);

	if (!json_object_is_type(document, json_type_object))
		return err_set(err, ERR_INVALID, "%s: not an object", what);
	if (json_get_int(document, "schemaVersion", 0) != 2)
		return err_set(err, ERR_UNSUPPORTED, "%s: schemaVersion is not 2", what);
	for (size_t i = 0; i < foreign_len; i++)
		if (json_object_object_get_ex(document, foreign[i], NULL))
			return err_set(err, ERR_INVALID,
				"%s: \"%s\" has no place in it: it can be read in two ways", what,
				foreign[i]);

	const char *own = json_get_string(document, "mediaType");
	if (own == NULL && json_get(document, "mediaType") == NULL)
		return 0; /* image-spec says SHOULD */
	enum image_media_role role = is_index ? IMAGE_MEDIA_INDEX : IMAGE_MEDIA_MANIFEST;
	const struct image_media *found = image_media_find(own);
	if (found == NULL || found->role != role ||
		(media_type != NULL && strcmp(found->name, media_type) != 0))
		return err_set(err, ERR_INVALID,
			"%s: its mediaType is not the one it was declared with", what);
	return 0;
}

/* Takes the configuration over, and makes room for as many layers as it has diff-ids. */
static int plan_set_config(struct image_plan *plan, struct text *take_config, struct err *err)
{
	plan->config_len = take_config->len;
	plan->config = text_take(take_config);
	AUTO_DONE(image_config) config = { 0 };
	int r = image_config_parse((struct view){ plan->config, plan->config_len }, &config, err);
	if (r < 0)
		return err_wrap(err, r, "image sha256:%s", plan->id.hex);
	plan->layers = NEW_ARRAY(image_layer, config.diff_ids_len + 1);
	plan->layers_len = config.diff_ids_len;
	for (size_t i = 0; i < config.diff_ids_len; i++)
		plan->layers[i].diff_id = config.diff_ids[i];
	return 0;
}

static int layers_compare(const struct image_plan *plan, size_t listed, struct err *err)
{
	if (listed == plan->layers_len)
		return 0;
	return err_set(err, ERR_INVALID,
		"image sha256:%s: its manifest has %zu layers, its configuration %zu", plan->id.hex,
		listed, plan->layers_len);
}

/* ---- OCI and Docker manifests (image-spec manifest.md) ---- */

static int read_config(struct image_source *source, json *document, const char *what,
	struct image_plan *plan, struct err *err)
{
	struct image_descriptor descriptor;
	int r = image_descriptor_read(json_get_object(document, "config"), what, &descriptor, err);
	if (r < 0)
		return r;
	const struct image_media *media = image_media_find(descriptor.media_type);
	if (media == NULL || media->role != IMAGE_MEDIA_CONFIG) {
		AUTO_FREE char *quoted = quote_string(descriptor.media_type);
		return err_set(err, ERR_UNSUPPORTED,
			"%s: no container image, its configuration is of media type \"%.100s\"",
			what, quoted);
	}
	AUTO_DONE(text) config = { 0 };
	r = image_source_blob(source, &descriptor, &config, err);
	if (r < 0)
		return err_wrap(err, r, "%s", what);
	plan->id = descriptor.digest;
	return plan_set_config(plan, &config, err);
}

static int read_layer(json *value, const char *what, struct image_layer *layer, struct err *err)
{
	struct image_descriptor descriptor;
	int r = image_descriptor_read(value, what, &descriptor, err);
	int compression;
	if (r >= 0)
		r = image_media_compression(descriptor.media_type, &compression, err);
	if (r < 0)
		return err_wrap(err, r, "%s: layers", what);
	layer->member = image_blob_member(&descriptor.digest);
	layer->blob = descriptor.digest;
	layer->size = descriptor.size;
	layer->media_type = mem_strdup(descriptor.media_type);
	return 0;
}

static int read_layers(json *document, const char *what, struct image_plan *plan, struct err *err)
{
	json *layers = json_get_array(document, "layers");
	if (layers == NULL)
		return err_set(err, ERR_INVALID, "%s: layers is not a list", what);
	int r = layers_compare(plan, json_array_len(layers), err);
	for (size_t i = 0; r >= 0 && i < plan->layers_len; i++)
		r = read_layer(json_object_array_get_idx(layers, i), what, &plan->layers[i], err);
	return r;
}

int image_plan_from_manifest(struct image_source *source, const struct image_descriptor *manifest,
	struct image_plan *ret_plan, struct err *err)
{
	AUTO_FREE char *what = text_format("manifest sha256:%s", manifest->digest.hex);
	AUTO_DONE(text) text = { 0 };
	int r = image_source_blob(source, manifest, &text, err);
	if (r < 0)
		return r;
	AUTO_JSON document = NULL;
	r = json_parse(view_of_text(&text), what, &document, err);
	if (r >= 0)
		r = image_document_check(document, false, manifest->media_type, what, err);
	if (r < 0)
		return r;

	AUTO_DONE(image_plan) plan = { 0 };
	r = read_config(source, document, what, &plan, err);
	if (r >= 0)
		r = read_layers(document, what, &plan, err);
	if (r < 0)
		return r;
	plan.manifest_digest = manifest->digest;
	plan.manifest_len = text.len;
	plan.manifest = text_take(&text);
	*ret_plan = plan;
	plan = (struct image_plan){ 0 };
	return 0;
}

/* ---- docker-archive (moby image/spec v1.2: manifest.json) ---- */

/* The digest that the name of a configuration declares: "HEX.json", or "blobs/sha256/HEX" since
 * Docker 25.  Other names declare none. */
static struct digest declared_by_name(const char *name)
{
	struct view hex = view_of(name);
	static const char folder[] = "blobs/sha256/";
	static const char ending[] = ".json";
	if (view_starts(hex, folder)) {
		hex.data += sizeof(folder) - 1;
		hex.len -= sizeof(folder) - 1;
	} else if (view_ends(hex, ending)) {
		hex.len -= sizeof(ending) - 1;
	}
	AUTO_FREE char *text = text_format("sha256:%.*s", (int)hex.len, hex.data);
	struct digest digest = { 0 };
	if (digest_parse(view_of(text), &digest, NULL) < 0)
		return (struct digest){ 0 };
	return digest;
}

/* Names are looked up among the archive's members only; one that would leave a folder is refused
 * all the same. */
static int check_name(const char *name, struct err *err)
{
	struct view rest = view_of(name);
	bool is_bad =
		name == NULL || rest.len == 0 || name[0] == '/' || rest.len > LIMIT_PATH_BYTES;
	while (!is_bad && rest.data != NULL)
		is_bad = view_is(view_cut(&rest, '/'), "..");
	if (!is_bad)
		return 0;
	return err_set(err, ERR_INVALID, "manifest.json: a name is absent, absolute or has \"..\"");
}

static int read_docker_config(struct image_source *source, json *entry, struct image_plan *plan,
	struct err *err)
{
	const char *name = json_get_string(entry, "Config");
	int r = check_name(name, err);
	if (r < 0)
		return r;
	AUTO_DONE(text) config = { 0 };
	r = image_source_read(source, name, &config, err);
	if (r >= 0)
		r = digest_of(view_of_text(&config), &plan->id, err);
	if (r < 0)
		return err_wrap(err, r, "manifest.json");
	struct digest declared = declared_by_name(name);
	if (digest_is_set(&declared) && !digest_is(&declared, &plan->id))
		return err_set(err, ERR_DAMAGED,
			"image config sha256:%s: its bytes have digest sha256:%s", declared.hex,
			plan->id.hex);
	return plan_set_config(plan, &config, err);
}

static int read_docker_layers(json *entry, struct image_plan *plan, struct err *err)
{
	AUTO_DONE(strv) names = { 0 };
	int r = json_get_strv(entry, "Layers", &names, err);
	if (r >= 0)
		r = layers_compare(plan, names.len, err);
	for (size_t i = 0; r >= 0 && i < names.len; i++) {
		r = check_name(names.items[i], err);
		if (r >= 0)
			plan->layers[i].member = mem_strdup(names.items[i]);
		plan->layers[i].size = IMAGE_SIZE_UNDECLARED;
	}
	return r;
}

int image_plan_add_tags(struct image_plan *plan, json *entry, struct err *err)
{
	AUTO_DONE(strv) tags = { 0 };
	int r = json_get_strv(entry, "RepoTags", &tags, err);
	for (size_t i = 0; r >= 0 && i < tags.len; i++)
		r = image_plan_add_reference(plan, tags.items[i], err);
	return r < 0 ? err_wrap(err, r, "manifest.json: RepoTags") : 0;
}

int image_plan_from_docker(struct image_source *source, json *entry, struct image_plan *ret_plan,
	struct err *err)
{
	AUTO_DONE(image_plan) plan = { 0 };
	int r = read_docker_config(source, entry, &plan, err);
	if (r >= 0)
		r = read_docker_layers(entry, &plan, err);
	if (r >= 0)
		r = image_plan_add_tags(&plan, entry, err);
	if (r < 0)
		return r;
	*ret_plan = plan;
	plan = (struct image_plan){ 0 };
	return 0;
}
