/* save - images of the store as an archive.  Documents and layers go out as they came in, so that
 * digests stay; each is hashed on its way, and one that has been damaged in the store is told. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "engine/images.h"
#include "layer/layer.h"

enum { COPY_BYTES = 1 << 20 };

struct saving {
	struct engine *engine;
	int out_fd;
	struct image_saved *images; /* owned */
	size_t len;
	struct strv written; /* digests of blobs */
};

static void saving_done(struct saving *saving)
{
	for (size_t i = 0; i < saving->len; i++)
		image_saved_done(&saving->images[i]);
	free(saving->images);
	strv_done(&saving->written);
}

static int out_error(int r, struct err *err)
{
	return r == 0 ? 0 : err_sys(err, -r, "write the archive");
}

/* ---- which images ---- */

static int describe(struct engine *engine, const struct state_image *image,
	struct image_saved *saved, struct err *err)
{
	AUTO_FREE char *path = text_format("blobs/sha256/%s", image->manifest.hex);
	AUTO_DONE(text) manifest = { 0 };
	int r = file_read_at(engine->root_fd, path, LIMIT_JSON_BYTES, &manifest, err);
	if (r == 0)
		r = image_saved_manifest(view_of_text(&manifest), &saved->manifest, err);
	if (r < 0)
		return err_wrap(err, r, "read the manifest of image sha256:%.12s", image->id.hex);
	saved->config = image->id;
	saved->layers = mem_new(image->layers_len, sizeof(*saved->layers));
	saved->layers_len = image->layers_len;
	for (size_t i = 0; i < image->layers_len; i++)
		saved->layers[i] = image->layers[i].blob;
	return 0;
}

/* The name that it was asked for by, where that is one of its own and not its id. */
static void add_reference(struct image_saved *saved, const char *name,
	const struct strv *references)
{
	AUTO_DONE(image_ref) ref = { 0 };
	if (image_ref_parse(name, &ref, NULL) < 0 || ref.tag == NULL)
		return;
	AUTO_FREE char *full = image_ref_full(&ref);
	if (strv_has(references, full) && !strv_has(&saved->references, full))
		strv_add(&saved->references, full);
}

static int add_image(struct saving *saving, const char *name, struct err *err)
{
	AUTO_DONE(state_image) image = { 0 };
	AUTO_DONE(strv) references = { 0 };
	struct state *state;
	int r = images_find(saving->engine, name, &image, err);
	if (r == 0)
		r = engine_state(saving->engine, &state, err);
	if (r == 0)
		r = state_references(state, &image.id, &references, err);
	if (r < 0)
		return r;
	size_t i = 0;
	while (i < saving->len && !digest_is(&saving->images[i].config, &image.id))
		i++;
	if (i == saving->len) {
		saving->images[saving->len++] = (struct image_saved){ 0 };
		r = describe(saving->engine, &image, &saving->images[i], err);
	}
	if (r == 0)
		add_reference(&saving->images[i], name, &references);
	return r;
}

/* ---- its blobs ---- */

static int copy(int blob_fd, uint64_t size, int out_fd, struct digest *ret_digest, struct err *err)
{
	AUTO_FREE uint8_t *bytes = mem_new(COPY_BYTES, 1);
	AUTO(digest_hash) hash = NULL;
	int r = digest_hash_new(&hash, err);
	while (r == 0 && size > 0) {
		size_t len = size < COPY_BYTES ? (size_t)size : COPY_BYTES;
		r = fd_read_exact(blob_fd, bytes, len);
		if (r < 0)
			return err_sys(err, -r, "read the store");
		digest_hash_add(hash, bytes, len);
		r = out_error(fd_write_all(out_fd, bytes, len), err);
		size -= len;
	}
	if (r == 0)
		digest_hash_end(hash, ret_digest);
	return r;
}

static int write_blob(struct saving *saving, const struct digest *digest, struct err *err)
{
	if (strv_has(&saving->written, digest->hex))
		return 0;
	AUTO_FREE char *member = image_blob_member(digest);
	AUTO_CLOSE int fd = openat(saving->engine->root_fd, member, O_RDONLY | O_CLOEXEC);
	struct stat st;
	struct digest found = { 0 };
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, errno, "open blob sha256:%s of the store", digest->hex);
	const uint64_t size = (uint64_t)st.st_size;
	int r = out_error(tar_write_file(saving->out_fd, member, size), err);
	if (r == 0)
		r = copy(fd, size, saving->out_fd, &found, err);
	if (r == 0 && !digest_is(&found, digest))
		r = err_set(err, ERR_DAMAGED,
			"blob sha256:%s of the store has been damaged: remove the image and load "
			"it again",
			digest->hex);
	if (r == 0)
		r = out_error(tar_write_padding(saving->out_fd, size), err);
	strv_add(&saving->written, digest->hex);
	return r;
}

static int write_image(struct saving *saving, const struct image_saved *image, struct err *err)
{
	int r = write_blob(saving, &image->manifest.digest, err);
	if (r == 0)
		r = write_blob(saving, &image->config, err);
	for (size_t i = 0; r == 0 && i < image->layers_len; i++)
		r = write_blob(saving, &image->layers[i], err);
	return r;
}

static int write_documents(const struct saving *saving, struct err *err)
{
	AUTO_FREE char *index = image_saved_index(saving->images, saving->len);
	AUTO_FREE char *list = image_saved_list(saving->images, saving->len);
	const struct {
		const char *name, *text;
	} documents[] = { { "index.json", index }, { "manifest.json", list },
		{ "oci-layout", IMAGE_LAYOUT_VERSION } };
	int r = 0;
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(documents); i++)
		r = tar_write_bytes(saving->out_fd, documents[i].name, view_of(documents[i].text));
	return out_error(r == 0 ? tar_write_end(saving->out_fd) : r, err);
}

int engine_save(struct engine *engine, const struct strv *names, int out_fd, struct err *err)
{
	AUTO_DONE(saving) saving = { .engine = engine, .out_fd = out_fd };
	saving.images = mem_new(names->len, sizeof(*saving.images));
	int r = digest_init(err);
	for (size_t i = 0; r == 0 && i < names->len; i++)
		r = add_image(&saving, names->items[i], err);
	if (r < 0)
		return r;
	r = tar_write_folder(out_fd, "blobs/");
	if (r == 0)
		r = tar_write_folder(out_fd, "blobs/sha256/");
	r = out_error(r, err);
	for (size_t i = 0; r == 0 && i < saving.len; i++)
		r = write_image(&saving, &saving.images[i], err);
	return r < 0 ? r : write_documents(&saving, err);
}
