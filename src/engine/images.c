#include "engine/images.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "engine/backend.h"
#include "engine/launch.h"
#include "engine/spec.h"
#include "engine/store.h"
#include "storage/storage.h"

static bool is_hex(const char *text)
{
	return text[0] != 0 && text[strspn(text, "0123456789abcdef")] == 0 &&
	       strlen(text) <= DIGEST_HEX_LEN;
}

int images_find(struct engine *engine, const char *name, struct state_image *ret_image,
	struct err *err)
{
	struct state *state;
	int r = engine_state(engine, &state, err);
	if (r < 0)
		return r;
	AUTO_DONE(image_ref) ref = { 0 };
	const char *hex = strncmp(name, "sha256:", 7) == 0 ? name + 7 : name;
	if (hex == name) {
		r = image_ref_parse(name, &ref, is_hex(name) ? NULL : err);
		if (r < 0 && !is_hex(name))
			return r;
		if (r == 0 && !digest_is_set(&ref.digest)) {
			AUTO_FREE char *full = image_ref_full(&ref);
			r = state_image_by_reference(state, full, ret_image, NULL);
			if (r != -ENOENT)
				return r < 0 ? err_wrap(err, r, "find image \"%s\"", name) : 0;
		}
		if (digest_is_set(&ref.digest))
			hex = ref.digest.hex;
	}
	struct err detail = { 0 };
	r = is_hex(hex) ? state_image_by_prefix(state, hex, ret_image, &detail) : -ENOENT;
	if (r == -ENOENT)
		return err_set(err, ERR_NOT_FOUND, "no such image: %s (moat images lists them)",
			name);
	return r < 0 ? err_copy(err, &detail) : 0;
}

int images_config(struct engine *engine, const struct digest *id, struct image_config *ret_config,
	struct err *err)
{
	/* Not hashed again: a blob has its name only because it was hashed while it was written,
	 * and loading the hash would cost a run more than all else here. */
	AUTO_FREE char *path = text_format("blobs/sha256/%s", id->hex);
	AUTO_DONE(text) bytes = { 0 };
	int r = file_read_at(engine->root_fd, path, LIMIT_JSON_BYTES, &bytes, err);
	if (r < 0)
		return err_wrap(err, r, "read the configuration of image sha256:%.12s", id->hex);
	return image_config_parse(view_of_text(&bytes), ret_config, err);
}

int launch_image(void *context, struct err *err)
{
	struct launch *launch = context;
	struct workload_spec *spec = launch->spec;
	AUTO_DONE(image_config) config = { 0 };
	int r = images_find(launch->engine, spec->image, &launch->image, err);
	if (r == 0)
		r = images_config(launch->engine, &launch->image.id, &config, err);
	if (r == 0)
		r = workload_spec_resolve(spec, &config, launch->id, err);
	return r < 0 ? r : backend_find(spec->isolation, &launch->backend, err);
}

struct each {
	engine_image_fn *fn;
	void *context;
};

static int familiar_names(const struct strv *full, struct strv *familiar, struct err *err)
{
	for (size_t i = 0; i < full->len; i++) {
		AUTO_DONE(image_ref) ref = { 0 };
		int r = image_ref_parse(full->items[i], &ref, err);
		if (r < 0)
			return r;
		strv_take(familiar, image_ref_familiar(&ref));
	}
	return 0;
}

static int each_image(void *context, const struct state_image *image, const struct strv *references,
	struct err *err)
{
	const struct each *each = context;
	AUTO_DONE(strv) familiar = { 0 };
	int r = familiar_names(references, &familiar, err);
	if (r < 0)
		return r;
	const struct engine_image row = {
		.id = image->id,
		.manifest = image->manifest,
		.created_ns = image->created_ns,
		.size_bytes = image->size_bytes,
		.references = familiar,
	};
	return each->fn(each->context, &row, err);
}

int engine_images_each(struct engine *engine, engine_image_fn *fn, void *context, struct err *err)
{
	struct state *state;
	struct each each = { fn, context };
	int r = engine_state(engine, &state, err);
	return r < 0 ? r : state_image_each(state, each_image, &each, err);
}

int engine_image_tag(struct engine *engine, const char *source, const char *target, struct err *err)
{
	AUTO_DONE(state_image) image = { 0 };
	AUTO_DONE(image_ref) ref = { 0 };
	struct state *state;
	int r = engine_state(engine, &state, err);
	if (r == 0)
		r = image_ref_parse(target, &ref, err);
	if (r == 0 && ref.tag == NULL)
		return err_set(err, ERR_INVALID, "\"%s\" has a digest: a tag needs a name", target);
	if (r == 0)
		r = images_find(engine, source, &image, err);
	if (r < 0)
		return r;
	AUTO_FREE char *full = image_ref_full(&ref);
	return state_reference_set(state, full, &image.id, err);
}

static void say(engine_progress_fn *progress, void *context, const char *what, const char *name)
{
	AUTO_FREE char *line = text_format("%s: %s", what, name);
	progress(context, line);
}

static int delete_image(struct engine *engine, const struct digest *id, struct err *err)
{
	struct state *state;
	struct state_layer *layers = NULL;
	size_t len = 0;
	struct store_marker marker = { .fd = -1 };
	int r = engine_state(engine, &state, err);
	if (r == 0)
		r = store_begin(engine, &marker, err);
	if (r < 0)
		return r;
	r = state_image_remove(state, id, &layers, &len, err);
	free(layers);
	store_end(engine, &marker);
	/* An idle mount would keep the files' blocks. */
	if (r == 0)
		r = storage_image_drop(engine->run_fd, id->hex, err);
	/* The files by what the rows name now: another command may just have come to need them. */
	return r < 0 ? r : store_sweep(engine, err);
}

/* Removes one reference; true in *ret_is_reference when name was one. */
static int untag(struct engine *engine, const char *name, const struct strv *references,
	bool *ret_is_reference, engine_progress_fn *progress, void *context, struct err *err)
{
	*ret_is_reference = false;
	AUTO_DONE(image_ref) ref = { 0 };
	if (image_ref_parse(name, &ref, NULL) < 0 || ref.tag == NULL)
		return 0;
	AUTO_FREE char *full = image_ref_full(&ref);
	AUTO_FREE char *familiar = image_ref_familiar(&ref);
	*ret_is_reference = strv_has(references, full);
	if (!*ret_is_reference || references->len == 1)
		return 0;
	struct state *state;
	int r = engine_state(engine, &state, err);
	if (r == 0)
		r = state_reference_remove(state, full, err);
	if (r == 0)
		say(progress, context, "Untagged", familiar);
	return r;
}

int engine_image_remove(struct engine *engine, const char *name, bool force,
	engine_progress_fn *progress, void *context, struct err *err)
{
	AUTO_DONE(state_image) image = { 0 };
	AUTO_DONE(strv) references = { 0 };
	AUTO_DONE(strv) familiar = { 0 };
	struct state *state;
	bool is_reference = false;
	int r = engine_state(engine, &state, err);
	if (r == 0)
		r = images_find(engine, name, &image, err);
	if (r == 0)
		r = state_references(state, &image.id, &references, err);
	if (r == 0)
		r = familiar_names(&references, &familiar, err);
	if (r == 0)
		r = untag(engine, name, &references, &is_reference, progress, context, err);
	if (r != 0 || (is_reference && references.len > 1))
		return r;
	if (!is_reference && references.len > 1 && !force)
		return err_set(err, ERR_CONFLICT,
			"image %s has %zu names: remove them one by one, or all of them with -f",
			name, references.len);
	r = delete_image(engine, &image.id, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < familiar.len; i++)
		say(progress, context, "Untagged", familiar.items[i]);
	char text[DIGEST_TEXT_LEN + 1];
	say(progress, context, "Deleted", digest_text(&image.id, text));
	return 0;
}

int engine_image_inspect(struct engine *engine, const char *name, json **ret_document,
	struct err *err)
{
	AUTO_DONE(state_image) image = { 0 };
	AUTO_DONE(image_config) config = { 0 };
	AUTO_DONE(strv) references = { 0 };
	struct state *state;
	int r = engine_state(engine, &state, err);
	if (r == 0)
		r = images_find(engine, name, &image, err);
	if (r == 0)
		r = images_config(engine, &image.id, &config, err);
	if (r == 0)
		r = state_references(state, &image.id, &references, err);
	if (r < 0)
		return r;
	const struct image_facts facts = {
		.id = image.id,
		.manifest = image.manifest,
		.references = &references,
		.tagged_ns = image.loaded_ns,
		.size_bytes = image.size_bytes,
	};
	*ret_document = image_inspect(&config, &facts);
	return 0;
}
