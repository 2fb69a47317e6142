/* load - images of an archive into the store.
 *
 * Layers are converted in parallel by jailed workers, each into unnamed files that get their names
 * only after their digests have matched; then the merged metadata, then the documents, and last the
 * rows of the database.  Until those stand, a marker tells repair what a killed command left. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/durable.h"
#include "base/limits.h"
#include "base/mem.h"
#include "engine/archive.h"
#include "engine/load.h"
#include "engine/store.h"

static int open_subdir(const struct engine *engine, const char *name, int *ret_fd, struct err *err)
{
	*ret_fd = openat(engine->root_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret_fd < 0 ? err_sys(err, errno, "open \"%s/%s\"", engine->root, name) : 0;
}

/* ---- layers ---- */

/* One layer on its way. */
struct conversion {
	const struct load_layer *wanted;
	struct state_layer *result;
	struct worker worker;
	int blob_fd, erofs_fd; /* owned */
};

static void conversion_done(struct conversion *conversion)
{
	worker_abandon(&conversion->worker);
	if (conversion->blob_fd >= 0)
		(void)close(conversion->blob_fd);
	if (conversion->erofs_fd >= 0)
		(void)close(conversion->erofs_fd);
}

static int conversion_start(struct engine *engine, const struct load_layer *wanted,
	struct state_layer *result, struct conversion *ret_conversion, struct err *err)
{
	struct conversion conversion = { .wanted = wanted,
		.result = result,
		.worker = { .pidfd = -1, .answer_fd = -1 },
		.blob_fd = -1,
		.erofs_fd = -1 };
	int r = durable_temp(engine->root_fd, &conversion.blob_fd, err);
	if (r == 0)
		r = durable_temp(engine->root_fd, &conversion.erofs_fd, err);
	const struct layer_job job = {
		.source_fd = wanted->fd,
		.offset = wanted->offset,
		.size = wanted->size,
		.compression = wanted->compression,
		.blob_fd = conversion.blob_fd,
		.erofs_fd = conversion.erofs_fd,
	};
	if (r == 0)
		r = extract_convert_start(&job, wanted->detect, &conversion.worker, err);
	if (r < 0)
		conversion_done(&conversion);
	else
		*ret_conversion = conversion;
	return r;
}

static int check_digest(const char *what, const struct load_layer *wanted,
	const struct digest *expected, const struct digest *found, struct err *err)
{
	if (!digest_is_set(expected) || digest_is(expected, found))
		return 0;
	return err_set(err, ERR_DAMAGED,
		"layer \"%s\": the %s is sha256:%s, declared was sha256:%s", wanted->name, what,
		found->hex, expected->hex);
}

static int name_file(const struct engine *engine, const char *subdir, int fd,
	const struct digest *digest, struct err *err)
{
	AUTO_CLOSE int dir = -1;
	int r = open_subdir(engine, subdir, &dir, err);
	return r < 0 ? r : durable_link(fd, dir, digest->hex, false, err);
}

static int conversion_finish(struct engine *engine, struct conversion *conversion, struct err *err)
{
	const struct load_layer *wanted = conversion->wanted;
	struct layer_result result;
	enum layer_compression compression;
	int r = extract_convert_finish(&conversion->worker, &result, &compression, err);
	if (r < 0)
		return err_wrap(err, r, "layer \"%s\"", wanted->name);
	r = check_digest("blob", wanted, &wanted->blob, &result.blob, err);
	if (r == 0)
		r = check_digest("content", wanted, &wanted->diff_id, &result.diff_id, err);
	if (r == 0)
		r = name_file(engine, "layers/sha256", conversion->erofs_fd, &result.diff_id, err);
	if (r == 0)
		r = name_file(engine, "blobs/sha256", conversion->blob_fd, &result.blob, err);
	if (r < 0)
		return r;
	*conversion->result = (struct state_layer){
		.diff_id = result.diff_id,
		.blob = result.blob,
		.blob_bytes = result.blob_bytes,
		.tar_bytes = result.tar_bytes,
		.erofs_bytes = result.erofs_bytes,
		.compression = (int)compression,
	};
	return 0;
}

static bool is_stored(struct engine *engine, const struct digest *diff_id,
	struct state_layer *ret_layer)
{
	struct state *state;
	AUTO_FREE char *path = engine_path(engine, "layers/sha256/%s", diff_id->hex);
	return digest_is_set(diff_id) && engine_state(engine, &state, NULL) == 0 &&
	       state_layer_find(state, diff_id, ret_layer, NULL) == 0 && access(path, F_OK) == 0;
}

/* The position of an earlier layer with the same content, or i. */
static size_t first_of(const struct load_layer *layers, size_t i)
{
	for (size_t k = 0; k < i; k++) {
		if (digest_is_set(&layers[i].diff_id) &&
			digest_is(&layers[k].diff_id, &layers[i].diff_id))
			return k;
	}
	return i;
}

static int finish_any(struct engine *engine, struct conversion *running, size_t *len,
	struct err *err)
{
	struct pollfd fds[LOAD_PARALLEL_MAX];
	for (size_t i = 0; i < *len; i++)
		fds[i] = (struct pollfd){ .fd = running[i].worker.answer_fd, .events = POLLIN };
	while (poll(fds, *len, -1) < 0) {
		if (errno != EINTR)
			return err_sys(err, errno, "wait for a worker");
	}
	for (size_t i = 0; i < *len; i++) {
		if (fds[i].revents == 0)
			continue;
		int r = conversion_finish(engine, &running[i], err);
		conversion_done(&running[i]);
		running[i] = running[--*len];
		return r;
	}
	return 0;
}

static int convert_layers(struct engine *engine, const struct load_layer *layers, size_t len,
	struct state_layer *results, struct err *err)
{
	struct conversion running[LOAD_PARALLEL_MAX];
	size_t running_len = 0;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	size_t parallel = cpus < 1                   ? 1
			  : cpus > LOAD_PARALLEL_MAX ? LOAD_PARALLEL_MAX
						     : (size_t)cpus;
	int r = 0;
	for (size_t i = 0; r == 0 && i < len; i++) {
		if (first_of(layers, i) != i || is_stored(engine, &layers[i].diff_id, &results[i]))
			continue;
		if (running_len == parallel)
			r = finish_any(engine, running, &running_len, err);
		if (r == 0)
			r = conversion_start(engine, &layers[i], &results[i], &running[running_len],
				err);
		if (r == 0)
			running_len++;
	}
	while (r == 0 && running_len > 0)
		r = finish_any(engine, running, &running_len, err);
	while (running_len > 0)
		conversion_done(&running[--running_len]);
	for (size_t i = 0; r == 0 && i < len; i++)
		results[i] = results[first_of(layers, i)];
	return r;
}

/* ---- the image ---- */

static int merge(struct engine *engine, const struct state_image *image, struct err *err)
{
	AUTO_FREE char *path = engine_path(engine, "images/sha256/%s", image->id.hex);
	if (access(path, F_OK) == 0)
		return 0;
	int fds[LIMIT_LAYERS];
	size_t len = 0;
	AUTO_CLOSE int out_fd = -1;
	int r = durable_temp(engine->root_fd, &out_fd, err);
	for (; r == 0 && len < image->layers_len; len++) {
		AUTO_FREE char *layer =
			engine_path(engine, "layers/sha256/%s", image->layers[len].diff_id.hex);
		fds[len] = open(layer, O_RDONLY | O_CLOEXEC);
		if (fds[len] < 0) {
			r = err_sys(err, errno, "open layer \"%s\"", layer);
			break;
		}
	}
	uint64_t bytes;
	if (r == 0)
		r = extract_merge(fds, len, out_fd, &bytes, err);
	while (len > 0)
		(void)close(fds[--len]);
	return r < 0 ? r : name_file(engine, "images/sha256", out_fd, &image->id, err);
}

static int write_documents(struct engine *engine, const struct load_image *wanted,
	struct state_image *image, struct err *err)
{
	AUTO_CLOSE int blobs = -1;
	int r = open_subdir(engine, "blobs", &blobs, err);
	if (r == 0)
		r = image_blob_write(blobs, wanted->config, &image->id, err);
	if (r < 0 || wanted->manifest.len > 0)
		return r < 0 ? r : image_blob_write(blobs, wanted->manifest, &image->manifest, err);

	struct image_descriptor layers[LIMIT_LAYERS];
	for (size_t i = 0; i < image->layers_len; i++)
		layers[i] = (struct image_descriptor){
			.digest = image->layers[i].blob,
			.size = image->layers[i].blob_bytes,
			.media_type = image_media_type(image->layers[i].compression),
		};
	const struct image_descriptor config = {
		.digest = image->id,
		.size = wanted->config.len,
		.media_type = "application/vnd.oci.image.config.v1+json",
	};
	AUTO_FREE char *manifest = image_manifest_make(&config, layers, image->layers_len);
	return image_blob_write(blobs, view_of(manifest), &image->manifest, err);
}

static int sync_dirs(struct engine *engine, struct err *err)
{
	static const char *const subdirs[] = { "layers/sha256", "blobs/sha256", "images/sha256" };
	for (size_t i = 0; i < ARRAY_LEN(subdirs); i++) {
		AUTO_CLOSE int dir = -1;
		int r = open_subdir(engine, subdirs[i], &dir, err);
		if (r == 0)
			r = durable_sync_dir(dir, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int load_layers(struct engine *engine, const struct load_layer *layers, size_t len,
	struct state_image *image, struct err *err)
{
	image->layers = mem_new(len, sizeof(*image->layers));
	image->layers_len = len;
	return convert_layers(engine, layers, len, image->layers, err);
}

int load_image(struct engine *engine, const struct load_image *wanted, struct state_image *image,
	struct err *err)
{
	image->created_ns = wanted->created_ns;
	image->loaded_ns = clock_wall_ns();
	for (size_t i = 0; i < image->layers_len; i++)
		image->size_bytes += image->layers[i].tar_bytes;
	struct state *state;
	int r = write_documents(engine, wanted, image, err);
	if (r == 0)
		r = merge(engine, image, err);
	if (r == 0)
		r = sync_dirs(engine, err);
	if (r == 0)
		r = engine_state(engine, &state, err);
	return r != 0 ? r : state_image_put(state, image, wanted->references, err);
}

/* ---- archives ---- */

static int locate_layer(const struct archive *archive, const struct image_layer *layer,
	struct load_layer *ret_layer, struct err *err)
{
	struct load_layer wanted = {
		.name = layer->member,
		.blob = layer->blob,
		.diff_id = layer->diff_id,
		.detect = layer->media_type == NULL,
		.fd = -1,
	};
	int compression = LAYER_PLAIN;
	int r = 0;
	if (layer->media_type != NULL)
		r = image_media_compression(layer->media_type, &compression, err);
	if (r == 0)
		r = archive_locate(archive, layer->member, &wanted.fd, &wanted.offset, &wanted.size,
			err);
	if (r < 0)
		return r;
	wanted.compression = (enum layer_compression)compression;
	if (layer->size != IMAGE_SIZE_UNDECLARED && layer->size != wanted.size) {
		(void)close(wanted.fd);
		return err_set(err, ERR_DAMAGED, "layer \"%s\" has %ju bytes, declared were %ju",
			layer->member, (uintmax_t)wanted.size, (uintmax_t)layer->size);
	}
	*ret_layer = wanted;
	return 0;
}

static int load_plan(struct engine *engine, const struct archive *archive,
	const struct image_plan *plan, struct err *err)
{
	AUTO_DONE(image_config) config = { 0 };
	AUTO_DONE(state_image) image = { 0 };
	int r = image_config_parse((struct view){ plan->config, plan->config_len }, &config, err);
	if (r < 0)
		return r;
	struct load_layer *layers = mem_new(plan->layers_len, sizeof(*layers));
	size_t len = 0;
	for (; r == 0 && len < plan->layers_len; len++) {
		layers[len].fd = -1;
		r = locate_layer(archive, &plan->layers[len], &layers[len], err);
	}
	if (r == 0)
		r = load_layers(engine, layers, len, &image, err);
	for (size_t i = 0; i < len; i++) {
		if (layers[i].fd >= 0)
			(void)close(layers[i].fd);
	}
	free(layers);
	const struct load_image wanted = {
		.config = { plan->config, plan->config_len },
		.manifest = { plan->manifest, plan->manifest_len },
		.created_ns = config.created_ns,
		.references = &plan->references,
	};
	return r < 0 ? r : load_image(engine, &wanted, &image, err);
}

static int say_loaded(const struct image_plan *plan, engine_progress_fn *progress, void *context,
	struct err *err)
{
	for (size_t i = 0; i < plan->references.len; i++) {
		AUTO_DONE(image_ref) ref = { 0 };
		int r = image_ref_parse(plan->references.items[i], &ref, err);
		if (r < 0)
			return r;
		AUTO_FREE char *familiar = image_ref_familiar(&ref);
		AUTO_FREE char *line = text_format("Loaded image: %s", familiar);
		progress(context, line);
	}
	if (plan->references.len == 0) {
		AUTO_FREE char *line = text_format("Loaded image ID: sha256:%s", plan->id.hex);
		progress(context, line);
	}
	return 0;
}

int engine_load(struct engine *engine, const char *path, engine_progress_fn *progress,
	void *context, struct err *err)
{
	struct store_marker marker = { .fd = -1 };
	AUTO_DONE(archive) archive = { .fd = -1 };
	AUTO_DONE(image_archive) images = { 0 };
	int r = archive_open(engine, path, &archive, err);
	if (r < 0)
		return r;
	const struct image_members members = archive_members(&archive);
	r = image_archive_read(&members, &images, err);
	if (r < 0)
		return err_wrap(err, r, "read archive \"%s\"", path);
	r = store_begin(engine, &marker, err);
	for (size_t i = 0; r == 0 && i < images.len; i++) {
		r = load_plan(engine, &archive, &images.images[i], err);
		if (r == 0)
			r = say_loaded(&images.images[i], progress, context, err);
	}
	store_end(engine, &marker);
	/* A failure leaves files that no row names. */
	if (r < 0)
		(void)!store_sweep(engine, NULL);
	return r;
}
