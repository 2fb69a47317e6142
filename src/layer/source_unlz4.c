/* source_unlz4 - the legacy frame of lz4 (lz4_Frame_format.md, "Legacy frame"), which packed Linux
 * kernels have, by liblz4: a magic number, then blocks, each its size and what becomes at most 8
 * MiB. Frames may follow each other. */
#include <lz4.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "layer/feed.h"
#include "layer/source.h"

#define FRAME_MAGIC 0x184c2102u
#define BLOCK_BYTES (8 << 20)

struct unlz4_source {
	struct source base;
	struct feed *input;   /* owned, as the rest here */
	char *packed, *plain; /* a block */
	size_t plain_len, plain_at;
	bool has_begun, has_ended;
};

static int unlz4_damaged(const struct unlz4_source *unlz4, const char *what, struct err *err)
{
	return err_set(err, ERR_DAMAGED, "lz4 data is damaged before byte %ju: %s",
		(uintmax_t)feed_position(unlz4->input), what);
}

/* *ret is meaningless at the end of the input. */
static int read_number(struct unlz4_source *unlz4, uint32_t *ret, struct err *err)
{
	uint8_t bytes[4];
	size_t got;
	int r = feed_read(unlz4->input, bytes, sizeof(bytes), &got, err);
	if (r < 0)
		return r;
	if (got != 0 && got != sizeof(bytes))
		return unlz4_damaged(unlz4, "it ends too early", err);
	unlz4->has_ended = got == 0;
	memcpy(ret, bytes, sizeof(bytes));
	return 0;
}

static int read_block(struct unlz4_source *unlz4, struct err *err)
{
	uint32_t size = 0;
	size_t got;
	int r = read_number(unlz4, &size, err);
	if (r < 0)
		return r;
	if (!unlz4->has_begun && (unlz4->has_ended || size != FRAME_MAGIC))
		return unlz4_damaged(unlz4, "it is none", err);
	unlz4->has_begun = true;
	if (unlz4->has_ended || size == FRAME_MAGIC)
		return 0;
	if (size == 0 || size > (uint32_t)LZ4_compressBound(BLOCK_BYTES))
		return unlz4_damaged(unlz4, "a block of a size that cannot be", err);
	r = feed_read(unlz4->input, unlz4->packed, size, &got, err);
	if (r < 0)
		return r;
	if (got != size)
		return unlz4_damaged(unlz4, "it ends too early", err);
	int len = LZ4_decompress_safe(unlz4->packed, unlz4->plain, (int)size, BLOCK_BYTES);
	if (len < 0)
		return unlz4_damaged(unlz4, "wrong bytes", err);
	unlz4->plain_len = (size_t)len;
	unlz4->plain_at = 0;
	return 0;
}

static int unlz4_read(struct source *source, void *bytes, size_t len, size_t *ret_len,
	struct err *err)
{
	struct unlz4_source *unlz4 = (struct unlz4_source *)source;
	size_t done = 0;
	while (done < len) {
		size_t part = unlz4->plain_len - unlz4->plain_at;
		if (part > len - done)
			part = len - done;
		memcpy((char *)bytes + done, unlz4->plain + unlz4->plain_at, part);
		unlz4->plain_at += part;
		done += part;
		if (done == len || unlz4->has_ended)
			break;
		int r = read_block(unlz4, err);
		if (r < 0)
			return r;
	}
	*ret_len = done;
	return 0;
}

static void unlz4_free(struct source *source)
{
	struct unlz4_source *unlz4 = (struct unlz4_source *)source;
	feed_free(unlz4->input);
	free(unlz4->packed);
	free(unlz4->plain);
	free(unlz4);
}

static const struct source_ops unlz4_ops = {
	.read = unlz4_read,
	.free = unlz4_free,
};

int source_unlz4_new(struct feed *take_input, struct source **ret_source, struct err *err)
{
	(void)err;
	struct unlz4_source *unlz4 = NEW(unlz4_source);
	unlz4->base.ops = &unlz4_ops;
	unlz4->input = take_input;
	unlz4->packed = mem_new((size_t)LZ4_compressBound(BLOCK_BYTES), 1);
	unlz4->plain = mem_new(BLOCK_BYTES, 1);
	*ret_source = &unlz4->base;
	return 0;
}
