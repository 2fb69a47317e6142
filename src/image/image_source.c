/* An archive is hostile.  A document is parsed only after its bytes had the declared digest; the
 * number and sum of the documents are bounded, so that indexes that name each other or the same
 * large blob again and again cost bounded time and memory. */
#include "image/image_source.h"

#include <string.h>

#include "base/limits.h"

char *image_blob_member(const struct digest *digest)
{
	return text_format("blobs/sha256/%s", digest->hex);
}

int image_source_read(struct image_source *source, const char *name, struct text *ret_text,
	struct err *err)
{
	if (++source->documents > LIMIT_ARCHIVE_DOCUMENTS)
		return err_set(err, ERR_LIMIT, "the archive has more than %d documents",
			(int)LIMIT_ARCHIVE_DOCUMENTS);
	AUTO_DONE(text) text = { 0 };
	int r = source->members->read(source->members->context, name, LIMIT_JSON_BYTES, &text, err);
	if (r < 0)
		return r;
	source->bytes += text.len;
	if (source->bytes > LIMIT_ARCHIVE_DOCUMENT_BYTES)
		return err_set(err, ERR_LIMIT, "the archive's documents have more than %d bytes",
			(int)LIMIT_ARCHIVE_DOCUMENT_BYTES);
	*ret_text = text;
	text = (struct text){ 0 };
	return 0;
}

int image_source_blob(struct image_source *source, const struct image_descriptor *descriptor,
	struct text *ret_text, struct err *err)
{
	if (descriptor->size > LIMIT_JSON_BYTES)
		return err_set(err, ERR_LIMIT, "blob sha256:%s: %ju bytes, the limit is %d",
			descriptor->digest.hex, (uintmax_t)descriptor->size, (int)LIMIT_JSON_BYTES);
	AUTO_FREE char *member = image_blob_member(&descriptor->digest);
	AUTO_DONE(text) text = { 0 };
	int r = image_source_read(source, member, &text, err);
	if (r < 0)
		return r;
	if (text.len != descriptor->size)
		return err_set(err, ERR_DAMAGED, "blob sha256:%s: %zu bytes, %ju were declared",
			descriptor->digest.hex, text.len, (uintmax_t)descriptor->size);
	struct digest actual;
	r = digest_of(view_of_text(&text), &actual, err);
	if (r < 0)
		return r;
	if (!digest_is(&actual, &descriptor->digest))
		return err_set(err, ERR_DAMAGED, "blob sha256:%s: its bytes have digest sha256:%s",
			descriptor->digest.hex, actual.hex);
	*ret_text = text;
	text = (struct text){ 0 };
	return 0;
}

int image_descriptor_read(json *value, const char *what, struct image_descriptor *ret_descriptor,
	struct err *err)
{
	struct image_descriptor descriptor = {
		.media_type = json_get_string(value, "mediaType"),
		.size = json_get_uint(value, "size", UINT64_MAX),
	};
	const char *digest = json_get_string(value, "digest");
	if (descriptor.media_type == NULL || digest == NULL)
		return err_set(err, ERR_INVALID, "%s: a descriptor without mediaType or digest",
			what);
	if (descriptor.size > LIMIT_LAYER_BYTES)
		return err_set(err, ERR_INVALID, "%s: a descriptor without a size from 0 to %jd",
			what, (intmax_t)LIMIT_LAYER_BYTES);
	int r = digest_parse(view_of(digest), &descriptor.digest, err);
	if (r < 0)
		return err_wrap(err, r, "%s", what);
	*ret_descriptor = descriptor;
	return 0;
}
