/* The type of a document or layer is what its descriptor declares, never what its bytes look like
 * (THREATS rule 9); media_types.def is all that is understood. */
#include "image/image_media.h"

#include <string.h>

#include "base/mem.h"
#include "base/quote.h"

static const struct image_media media[] = {
#define MEDIA(name, role, compression) { name, role, compression },
#include "image/media_types.def"
#undef MEDIA
};

const struct image_media *image_media_find(const char *name)
{
	for (size_t i = 0; name != NULL && i < ARRAY_LEN(media); i++)
		if (strcmp(media[i].name, name) == 0)
			return &media[i];
	return NULL;
}

int image_media_compression(const char *media_type, int *ret_compression, struct err *err)
{
	const struct image_media *found = image_media_find(media_type);
	if (found == NULL || found->role != IMAGE_MEDIA_LAYER) {
		AUTO_FREE char *quoted = quote_string(media_type == NULL ? "" : media_type);
		return err_set(err, ERR_UNSUPPORTED,
			"layers of media type \"%.100s\" are not known", quoted);
	}
	*ret_compression = found->compression;
	return 0;
}

const char *image_media_type(int compression)
{
	const char *name = NULL;
	for (size_t i = 0; name == NULL && i < ARRAY_LEN(media); i++)
		if (media[i].role == IMAGE_MEDIA_LAYER && media[i].compression == compression)
			name = media[i].name;
	CHECK(name != NULL); /* layer/ knows no other compression */
	return name;
}
