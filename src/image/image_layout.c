/* An OCI image layout (image-spec image-layout.md): index.json lists images, one descriptor each.
 *
 *	index.json -> manifest                 an image
 *	           -> index -> manifest, ...   one image for several machines: ours is picked
 *	                    -> index ...       at most LIMIT_INDEX_DEPTH deep
 *
 * Names.  containerd and Docker write the full name into io.containerd.image.name; podman and
 * buildah write it into org.opencontainers.image.ref.name, where skopeo and umoci put a mere tag.
 * A tag without a repository is no reference, so such an image stays without one.
 *
 * Descriptors of other media types, of other platforms and of attestations are passed over, as the
 * specification asks. */
#include "image/image_layout.h"

#include <errno.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "image/image_media.h"
#include "image/image_plan.h"
#include "image/image_platform.h"
#include "image/image_ref.h"

/* How well a descriptor fits this machine. */
enum fit { FIT_NONE, FIT_UNSAID, FIT_PLATFORM };

static enum fit descriptor_fit(json *value)
{
	json *annotations = json_get_object(value, "annotations");
	if (json_get_string(annotations, "vnd.docker.reference.type") != NULL)
		return FIT_NONE; /* an attestation of another image */
	json *platform = json_get_object(value, "platform");
	if (platform == NULL)
		return FIT_UNSAID;
	return image_platform_is_host(platform) ? FIT_PLATFORM : FIT_NONE;
}

/* The descriptor at position i of an index; the media type is the table's row, NULL if it is no
 * image. */
static int index_item(json *manifests, size_t i, const char *what, json **ret_value,
	struct image_descriptor *ret_descriptor, const struct image_media **ret_media,
	struct err *err)
{
	json *value = json_object_array_get_idx(manifests, i);
	int r = image_descriptor_read(value, what, ret_descriptor, err);
	if (r < 0)
		return r;
	const struct image_media *media = image_media_find(ret_descriptor->media_type);
	if (media != NULL && media->role != IMAGE_MEDIA_INDEX &&
		media->role != IMAGE_MEDIA_MANIFEST)
		media = NULL;
	/* The row's name outlives the document. */
	ret_descriptor->media_type = media == NULL ? NULL : media->name;
	*ret_value = value;
	*ret_media = media;
	return 0;
}

static int index_parse(struct view bytes, const char *media_type, const char *what,
	json **ret_document, json **ret_manifests, struct err *err)
{
	AUTO_JSON document = NULL;
	int r = json_parse(bytes, what, &document, err);
	if (r >= 0)
		r = image_document_check(document, true, media_type, what, err);
	if (r < 0)
		return r;
	json *manifests = json_get_array(document, "manifests");
	if (manifests == NULL)
		return err_set(err, ERR_INVALID, "%s: manifests is not a list", what);
	if (json_array_len(manifests) > LIMIT_ARCHIVE_DOCUMENTS)
		return err_set(err, ERR_LIMIT, "%s: %zu manifests, the limit is %d", what,
			json_array_len(manifests), (int)LIMIT_ARCHIVE_DOCUMENTS);
	*ret_document = TAKE(document);
	*ret_manifests = manifests;
	return 0;
}

/* The manifest for this machine in a nested index: 1 and *ret_manifest, or 0 if it has none. */
static int index_pick(struct image_source *source, const struct image_descriptor *index,
	unsigned depth, struct image_descriptor *ret_manifest, struct err *err)
{
	AUTO_FREE char *what = text_format("index sha256:%s", index->digest.hex);
	if (depth > LIMIT_INDEX_DEPTH)
		return err_set(err, ERR_LIMIT, "%s: nested more than %d deep", what,
			(int)LIMIT_INDEX_DEPTH);
	AUTO_DONE(text) text = { 0 };
	AUTO_JSON document = NULL;
	json *manifests = NULL;
	int r = image_source_blob(source, index, &text, err);
	if (r >= 0)
		r = index_parse(view_of_text(&text), index->media_type, what, &document, &manifests,
			err);
	if (r < 0)
		return r;

	enum fit best = FIT_NONE;
	for (size_t i = 0; best < FIT_PLATFORM && i < json_array_len(manifests); i++) {
		json *value;
		struct image_descriptor descriptor;
		const struct image_media *media;
		r = index_item(manifests, i, what, &value, &descriptor, &media, err);
		if (r < 0)
			return r;
		enum fit fit = descriptor_fit(value);
		if (media == NULL || fit <= best)
			continue;
		if (media->role == IMAGE_MEDIA_INDEX)
			r = index_pick(source, &descriptor, depth + 1, &descriptor, err);
		else
			r = 1;
		if (r < 0)
			return r;
		if (r > 0) {
			*ret_manifest = descriptor;
			best = fit;
		}
	}
	return best > FIT_NONE;
}

static int add_names(struct image_plan *plan, json *annotations, struct err *err)
{
	const char *full = json_get_string(annotations, "io.containerd.image.name");
	if (full != NULL) {
		int r = image_plan_add_reference(plan, full, err);
		return r < 0 ? err_wrap(err, r, "index.json: io.containerd.image.name") : 0;
	}
	const char *name = json_get_string(annotations, "org.opencontainers.image.ref.name");
	if (name == NULL || image_ref_is_tag(name))
		return 0;
	/* The specification lets it be any text: one that is no image name is none. */
	struct err ignored = { 0 };
	int r = image_plan_add_reference(plan, name, &ignored);
	return r == -E2BIG ? err_copy(err, &ignored) : 0;
}

static struct image_plan *archive_find(struct image_archive *archive, const struct digest *manifest)
{
	for (size_t i = 0; i < archive->len; i++)
		if (digest_is(&archive->images[i].manifest_digest, manifest))
			return &archive->images[i];
	return NULL;
}

/* One entry of index.json. */
static int read_entry(struct image_source *source, json *manifests, size_t i,
	struct image_archive *archive, struct err *err)
{
	json *value;
	struct image_descriptor descriptor;
	const struct image_media *media;
	int r = index_item(manifests, i, "index.json", &value, &descriptor, &media, err);
	if (r < 0)
		return r;
	if (media == NULL || descriptor_fit(value) == FIT_NONE)
		return 0;
	if (media->role == IMAGE_MEDIA_INDEX) {
		r = index_pick(source, &descriptor, 1, &descriptor, err);
		if (r <= 0)
			return r;
	}
	/* The same image under another name is the same image. */
	struct image_plan *known = archive_find(archive, &descriptor.digest);
	if (known == NULL) {
		struct image_plan plan = { 0 };
		r = image_plan_from_manifest(source, &descriptor, &plan, err);
		if (r >= 0)
			r = image_archive_add(archive, &plan, err);
		if (r < 0)
			return r;
		known = &archive->images[archive->len - 1];
	}
	return add_names(known, json_get_object(value, "annotations"), err);
}

static int check_version(struct image_source *source, struct err *err)
{
	AUTO_DONE(text) text = { 0 };
	int r = image_source_read(source, "oci-layout", &text, err);
	if (r < 0)
		return r;
	AUTO_JSON document = NULL;
	r = json_parse(view_of_text(&text), "oci-layout", &document, err);
	if (r < 0)
		return r;
	const char *version = json_get_string(document, "imageLayoutVersion");
	if (version == NULL || strcmp(version, "1.0.0") != 0)
		return err_set(err, ERR_UNSUPPORTED, "oci-layout: imageLayoutVersion is not 1.0.0");
	return 0;
}

int image_layout_read(struct image_source *source, struct image_archive *archive, struct err *err)
{
	int r = check_version(source, err);
	if (r < 0)
		return r;
	AUTO_DONE(text) text = { 0 };
	AUTO_JSON document = NULL;
	json *manifests = NULL;
	r = image_source_read(source, "index.json", &text, err);
	if (r >= 0)
		r = index_parse(view_of_text(&text), NULL, "index.json", &document, &manifests,
			err);
	for (size_t i = 0; r >= 0 && i < json_array_len(manifests); i++)
		r = read_entry(source, manifests, i, archive, err);
	if (r < 0)
		return r;
	if (archive->len == 0)
		return err_set(err, ERR_NOT_FOUND, "the archive has no image for %s/%s",
			IMAGE_PLATFORM_OS, image_platform_host().architecture);
	return 0;
}
