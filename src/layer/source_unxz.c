/* source_unxz - the .xz format (xz-file-format 1.1) by liblzma, straight into the reader's buffer.
 * Streams may follow each other.  What a stream may ask for in memory is bounded: `xz -9` wants 65
 * MiB. */
#include <lzma.h>
#include <stdlib.h>

#include "base/mem.h"
#include "layer/feed.h"
#include "layer/source.h"

#define MEMORY_MAX (UINT64_C(192) << 20)

struct unxz_source {
	struct source base;
	struct feed *input; /* owned */
	lzma_stream stream; /* owned */
	bool is_last;       /* of the input */
	bool has_ended;
};

static int unxz_damaged(const struct unxz_source *unxz, lzma_ret code, struct err *err)
{
	if (code == LZMA_MEMLIMIT_ERROR)
		return err_set(err, ERR_LIMIT, "xz data asks for more than %d MiB of memory",
			(int)(MEMORY_MAX >> 20));
	return err_set(err, ERR_DAMAGED, "xz data is damaged before byte %ju: %s",
		(uintmax_t)feed_position(unxz->input),
		code == LZMA_BUF_ERROR       ? "it ends too early"
		: code == LZMA_FORMAT_ERROR  ? "it is none"
		: code == LZMA_OPTIONS_ERROR ? "unknown options"
					     : "wrong bytes");
}

static int unxz_read(struct source *source, void *bytes, size_t len, size_t *ret_len,
	struct err *err)
{
	struct unxz_source *unxz = (struct unxz_source *)source;
	lzma_stream *stream = &unxz->stream;
	stream->next_out = bytes;
	stream->avail_out = len;
	while (stream->avail_out > 0 && !unxz->has_ended) {
		if (stream->avail_in == 0 && !unxz->is_last) {
			struct view part;
			int r = feed_next(unxz->input, UINT64_MAX, &part, err);
			if (r < 0)
				return r;
			stream->next_in = (const uint8_t *)part.data;
			stream->avail_in = part.len;
			unxz->is_last = part.len == 0;
		}
		lzma_ret code = lzma_code(stream, unxz->is_last ? LZMA_FINISH : LZMA_RUN);
		if (code == LZMA_STREAM_END)
			unxz->has_ended = true;
		else if (code != LZMA_OK)
			return unxz_damaged(unxz, code, err);
	}
	*ret_len = len - stream->avail_out;
	return 0;
}

static void unxz_free(struct source *source)
{
	struct unxz_source *unxz = (struct unxz_source *)source;
	feed_free(unxz->input);
	lzma_end(&unxz->stream);
	free(unxz);
}

static const struct source_ops unxz_ops = {
	.read = unxz_read,
	.free = unxz_free,
};

int source_unxz_new(struct feed *take_input, struct source **ret_source, struct err *err)
{
	struct unxz_source *unxz = NEW(unxz_source);
	unxz->base.ops = &unxz_ops;
	unxz->input = take_input;
	unxz->stream = (lzma_stream)LZMA_STREAM_INIT;
	if (lzma_stream_decoder(&unxz->stream, MEMORY_MAX, LZMA_CONCATENATED) != LZMA_OK) {
		unxz_free(&unxz->base);
		return err_set(err, ERR_SYSTEM, "no memory for xz decompression");
	}
	*ret_source = &unxz->base;
	return 0;
}
