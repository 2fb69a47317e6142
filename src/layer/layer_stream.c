/* layer_stream - see layer_stream.h.  The rings are large enough that a thread which is kept from
 * its CPU for some milliseconds does not stop the other; larger ones measured no better. */
#include "layer/layer_stream.h"

#include <stddef.h>

#include "base/limits.h"
#include "layer/feed.h"
#include "layer/source.h"

static const struct feed_shape blob_shape = { .slot_bytes = 256 << 10, .slots = 8 };
static const struct feed_shape plain_shape = { .slot_bytes = 256 << 10, .slots = 16 };

static struct feed_shape shape_for(struct feed_shape shape, bool threaded)
{
	if (!threaded)
		shape.slots = 1;
	return shape;
}

static int decompressor_new(enum layer_compression compression, struct feed *take_blob,
	struct source **ret_source, struct err *err)
{
	switch (compression) {
	case LAYER_GZIP: return source_gunzip_new(take_blob, ret_source, err);
	case LAYER_ZSTD: return source_unzstd_new(take_blob, ret_source, err);
	case LAYER_LZ4: return source_unlz4_new(take_blob, ret_source, err);
	case LAYER_XZ: return source_unxz_new(take_blob, ret_source, err);
	case LAYER_PLAIN: break;
	}
	feed_free(take_blob);
	return err_set(err, ERR_UNSUPPORTED, "unknown compression %d", (int)compression);
}

int layer_stream_open(const struct layer_stream *stream, struct feed **ret_feed, struct err *err)
{
	struct source *source;
	int r = source_file_new(stream->fd, stream->offset, stream->size, &source, err);
	if (r < 0)
		return r;
	source = source_tap_new(source, stream->blob_hash, stream->blob_fd, stream->blob_bytes);
	struct feed_shape shape = shape_for(blob_shape, stream->threaded);
	if (stream->compression == LAYER_PLAIN)
		return feed_new(source, shape, stream->tar_hash, LIMIT_LAYER_BYTES, ret_feed, err);

	struct feed *blob;
	r = feed_new(source, shape, NULL, LIMIT_LAYER_BYTES, &blob, err);
	if (r == 0)
		r = decompressor_new(stream->compression, blob, &source, err);
	if (r < 0)
		return r;
	shape = shape_for(plain_shape, stream->threaded);
	return feed_new(source, shape, stream->tar_hash, LIMIT_LAYER_BYTES, ret_feed, err);
}
