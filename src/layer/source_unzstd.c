/* source_unzstd - RFC 8878 by libzstd, straight into the reader's buffer.  Frames, skippable ones
 * included, may follow each other.  A frame that asks for more than 128 MiB of window is refused by
 * the library's default limit. */
#include <stdlib.h>
#include <zstd.h>

#include "base/mem.h"
#include "layer/feed.h"
#include "layer/source.h"

struct unzstd_source {
	struct source base;
	struct feed *input;   /* owned */
	ZSTD_DStream *stream; /* owned */
	struct view part;     /* input not consumed yet */
	bool started;         /* something was read */
	bool in_frame;
	bool flushing; /* the last call filled the output: more may be ready without input */
};

static int unzstd_damaged(const struct unzstd_source *unzstd, const char *what, struct err *err)
{
	return err_set(err, ERR_DAMAGED, "zstd data is damaged before byte %ju: %s",
		(uintmax_t)feed_position(unzstd->input), what);
}

static int unzstd_step(struct unzstd_source *unzstd, ZSTD_outBuffer *out, struct err *err)
{
	size_t before = out->pos;
	ZSTD_inBuffer in = { unzstd->part.data, unzstd->part.len, 0 };
	size_t left = ZSTD_decompressStream(unzstd->stream, out, &in);
	if (ZSTD_isError(left))
		return unzstd_damaged(unzstd, ZSTD_getErrorName(left), err);
	if (in.pos > 0) {
		unzstd->part.data += in.pos;
		unzstd->part.len -= in.pos;
	}
	unzstd->in_frame = left != 0;
	unzstd->flushing = out->pos > before;
	return 0;
}

static int unzstd_read(struct source *source, void *bytes, size_t len, size_t *ret_len,
	struct err *err)
{
	struct unzstd_source *unzstd = (struct unzstd_source *)source;
	ZSTD_outBuffer out = { bytes, len, 0 };
	while (out.pos < len) {
		if (unzstd->part.len == 0 && !(unzstd->flushing && unzstd->in_frame)) {
			int r = feed_next(unzstd->input, UINT64_MAX, &unzstd->part, err);
			if (r < 0)
				return r;
			if (unzstd->part.len == 0)
				break;
			unzstd->started = true;
		}
		int r = unzstd_step(unzstd, &out, err);
		if (r < 0)
			return r;
	}
	if (out.pos < len && (unzstd->in_frame || !unzstd->started))
		return unzstd_damaged(unzstd, "it ends too early", err);
	*ret_len = out.pos;
	return 0;
}

static void unzstd_free(struct source *source)
{
	struct unzstd_source *unzstd = (struct unzstd_source *)source;
	feed_free(unzstd->input);
	ZSTD_freeDStream(unzstd->stream);
	free(unzstd);
}

static const struct source_ops unzstd_ops = {
	.read = unzstd_read,
	.free = unzstd_free,
};

int source_unzstd_new(struct feed *take_input, struct source **ret_source, struct err *err)
{
	AUTO(feed) input = take_input;
	ZSTD_DStream *stream = ZSTD_createDStream();
	if (stream == NULL)
		return err_set(err, ERR_SYSTEM, "no memory for zstd decompression");
	struct unzstd_source *unzstd = NEW(unzstd_source);
	unzstd->base.ops = &unzstd_ops;
	unzstd->input = TAKE(input);
	unzstd->stream = stream;
	*ret_source = &unzstd->base;
	return 0;
}
