/* image_saved - documents of an archive that moat writes: an OCI image layout (image-spec
 * image-layout.md) with the list that `docker load` of any age and its like look for. */
#include <string.h>

#include "image/image_source.h"

#define MANIFEST_OCI "application/vnd.oci.image.manifest.v1+json"
#define MANIFEST_DOCKER "application/vnd.docker.distribution.manifest.v2+json"

void image_saved_done(struct image_saved *saved)
{
	free(saved->layers);
	strv_done(&saved->references);
	*saved = (struct image_saved){ 0 };
}

int image_saved_manifest(struct view bytes, struct image_descriptor *ret_manifest, struct err *err)
{
	AUTO_JSON document = NULL;
	int r = json_parse(bytes, "the image's manifest", &document, err);
	if (r == 0)
		r = digest_of(bytes, &ret_manifest->digest, err);
	if (r < 0)
		return r;
	/* OCI's need not say it. */
	const char *media_type = json_get_string(document, "mediaType");
	ret_manifest->size = bytes.len;
	ret_manifest->media_type = media_type != NULL && strcmp(media_type, MANIFEST_DOCKER) == 0
					   ? MANIFEST_DOCKER
					   : MANIFEST_OCI;
	return 0;
}

/* One descriptor for each name, as containerd and Docker write them. */
static void push_named(json *list, const struct image_saved *image, const char *reference)
{
	json *descriptor = image_descriptor_json(&image->manifest);
	if (reference != NULL) {
		json *annotations = json_new_object();
		json_set_string(annotations, "io.containerd.image.name", reference);
		json_set_string(annotations, "org.opencontainers.image.ref.name",
			strrchr(reference, ':') + 1);
		json_set(descriptor, "annotations", annotations);
	}
	json_push(list, descriptor);
}

char *image_saved_index(const struct image_saved *images, size_t len)
{
	AUTO_JSON root = json_new_object();
	json *list = json_new_array();
	for (size_t i = 0; i < len; i++) {
		const struct strv *references = &images[i].references;
		for (size_t k = 0; k < references->len; k++)
			push_named(list, &images[i], references->items[k]);
		if (references->len == 0)
			push_named(list, &images[i], NULL);
	}
	json_set_int(root, "schemaVersion", 2);
	json_set_string(root, "mediaType", "application/vnd.oci.image.index.v1+json");
	json_set(root, "manifests", list);
	return json_text(root, false);
}

static json *familiar_names(const struct strv *references)
{
	json *list = references->len == 0 ? NULL : json_new_array();
	for (size_t i = 0; i < references->len; i++) {
		AUTO_DONE(image_ref) ref = { 0 };
		if (image_ref_parse(references->items[i], &ref, NULL) < 0)
			continue;
		AUTO_FREE char *familiar = image_ref_familiar(&ref);
		json_push_string(list, familiar);
	}
	return list;
}

char *image_saved_list(const struct image_saved *images, size_t len)
{
	AUTO_JSON root = json_new_array();
	for (size_t i = 0; i < len; i++) {
		json *entry = json_new_object(), *layers = json_new_array();
		AUTO_FREE char *config = image_blob_member(&images[i].config);
		for (size_t k = 0; k < images[i].layers_len; k++) {
			AUTO_FREE char *layer = image_blob_member(&images[i].layers[k]);
			json_push_string(layers, layer);
		}
		json_set_string(entry, "Config", config);
		json_set(entry, "RepoTags", familiar_names(&images[i].references));
		json_set(entry, "Layers", layers);
		json_push(root, entry);
	}
	return json_text(root, false);
}
