/* Manifests of our own making (image-spec manifest.md), for images that came without one.  Keys
 * stand in the specification's order, without spaces: equal input, equal digest. */
#include "image/image_source.h"

json *image_descriptor_json(const struct image_descriptor *descriptor)
{
	char text[DIGEST_TEXT_LEN + 1];
	json *value = json_new_object();
	json_set_string(value, "mediaType", descriptor->media_type);
	json_set_string(value, "digest", digest_text(&descriptor->digest, text));
	json_set_uint(value, "size", descriptor->size);
	return value;
}

char *image_manifest_make(const struct image_descriptor *config,
	const struct image_descriptor *layers, size_t layers_len)
{
	AUTO_JSON root = json_new_object();
	json_set_int(root, "schemaVersion", 2);
	json_set_string(root, "mediaType", "application/vnd.oci.image.manifest.v1+json");
	json_set(root, "config", image_descriptor_json(config));
	json *list = json_new_array();
	for (size_t i = 0; i < layers_len; i++)
		json_push(list, image_descriptor_json(&layers[i]));
	json_set(root, "layers", list);
	return json_text(root, false);
}
