/* source_gunzip - RFC 1952 by ISA-L, straight into the reader's buffer.
 *
 * A member is header, deflate stream, trailer; members follow each other without a gap (pigz and
 * stargz make many).  The header is read by our own call and not by isal_inflate(), which forgets
 * the header's flags when its input ends in the middle of a name.  Zero bytes after the last member
 * are what tapes and block devices leave; anything else there is an error, as Go's reader has it.
 *
 * Inflating in steps of 64 KiB is fastest: the window that deflate refers back to stays in the
 * cache. */
#include <stdlib.h>

#include "base/mem.h"
#include "layer/feed.h"
#include "layer/isal.h"
#include "layer/source.h"

#define INFLATE_STEP (64 << 10)

enum gunzip_phase { GUNZIP_BETWEEN, GUNZIP_HEADER, GUNZIP_BODY, GUNZIP_PADDING, GUNZIP_END };

struct gunzip_source {
	struct source base;
	struct feed *input; /* owned */
	struct isal isal;
	enum gunzip_phase phase;
	uint64_t members;
	struct isal_gzip_header header;
	struct inflate_state state;
};

/* More input where there is none: 1, or 0 at its end. */
static int gunzip_refill(struct gunzip_source *gunzip, struct err *err)
{
	if (gunzip->state.avail_in > 0)
		return 1;
	struct view part;
	int r = feed_next(gunzip->input, INT32_MAX, &part, err);
	if (r < 0)
		return r;
	/* ISA-L does not write to its input; the type only lacks the const. */
	gunzip->state.next_in = (uint8_t *)(uintptr_t)part.data;
	gunzip->state.avail_in = (uint32_t)part.len;
	return part.len > 0;
}

static int gunzip_damaged(const struct gunzip_source *gunzip, const char *what, struct err *err)
{
	return err_set(err, ERR_DAMAGED, "gzip data is damaged before byte %ju: %s",
		(uintmax_t)feed_position(gunzip->input), what);
}

static const char *gunzip_reason(int status)
{
	switch (status) {
	case ISAL_INVALID_WRAPPER: return "not a gzip header";
	case ISAL_UNSUPPORTED_METHOD: return "unknown compression method";
	case ISAL_INCORRECT_CHECKSUM: return "wrong checksum";
	case ISAL_INVALID_LOOKBACK: return "reference to before the start";
	default: return "no deflate stream";
	}
}

/* What follows: the first or another member, padding, or the end. */
static int gunzip_between(struct gunzip_source *gunzip, struct err *err)
{
	int r = gunzip_refill(gunzip, err);
	if (r < 0)
		return r;
	if (r == 0) {
		if (gunzip->members == 0)
			return gunzip_damaged(gunzip, "it is empty", err);
		gunzip->phase = GUNZIP_END;
		return 0;
	}
	if (gunzip->members > 0 && *gunzip->state.next_in == 0) {
		gunzip->phase = GUNZIP_PADDING;
		return 0;
	}
	gunzip->isal.inflate_reset(&gunzip->state);
	gunzip->state.crc_flag = ISAL_GZIP_NO_HDR_VER;
	gunzip->isal.gzip_header_init(&gunzip->header);
	gunzip->phase = GUNZIP_HEADER;
	return 0;
}

static int gunzip_header(struct gunzip_source *gunzip, struct err *err)
{
	int r = gunzip_refill(gunzip, err);
	if (r < 0)
		return r;
	if (r == 0)
		return gunzip_damaged(gunzip, "it ends in a header", err);
	int status = gunzip->isal.read_gzip_header(&gunzip->state, &gunzip->header);
	if (status < 0)
		return gunzip_damaged(gunzip, gunzip_reason(status), err);
	if (status == ISAL_DECOMP_OK)
		gunzip->phase = GUNZIP_BODY;
	return 0;
}

/* Inflates at most len bytes. */
static int gunzip_body(struct gunzip_source *gunzip, uint8_t *bytes, size_t len, size_t *ret_len,
	struct err *err)
{
	struct inflate_state *state = &gunzip->state;
	int r = gunzip_refill(gunzip, err);
	if (r < 0)
		return r;
	uint32_t step = len < INFLATE_STEP ? (uint32_t)len : INFLATE_STEP;
	state->next_out = bytes;
	state->avail_out = step;
	int status = gunzip->isal.inflate(state);
	if (status < 0)
		return gunzip_damaged(gunzip, gunzip_reason(status), err);
	*ret_len = step - state->avail_out;
	if (state->block_state == ISAL_BLOCK_FINISH) {
		gunzip->members++;
		gunzip->phase = GUNZIP_BETWEEN;
	} else if (r == 0 && *ret_len == 0) {
		return gunzip_damaged(gunzip, "it ends too early", err);
	}
	return 0;
}

static int gunzip_padding(struct gunzip_source *gunzip, struct err *err)
{
	int r = gunzip_refill(gunzip, err);
	if (r <= 0) {
		gunzip->phase = GUNZIP_END;
		return r;
	}
	for (; gunzip->state.avail_in > 0; gunzip->state.avail_in--) {
		if (*gunzip->state.next_in++ != 0)
			return gunzip_damaged(gunzip, "garbage after its end", err);
	}
	return 0;
}

static int gunzip_read(struct source *source, void *bytes, size_t len, size_t *ret_len,
	struct err *err)
{
	struct gunzip_source *gunzip = (struct gunzip_source *)source;
	size_t got = 0;
	while (got < len && gunzip->phase != GUNZIP_END) {
		size_t part = 0;
		int r = 0;
		switch (gunzip->phase) {
		case GUNZIP_BETWEEN: r = gunzip_between(gunzip, err); break;
		case GUNZIP_HEADER: r = gunzip_header(gunzip, err); break;
		case GUNZIP_BODY:
			r = gunzip_body(gunzip, (uint8_t *)bytes + got, len - got, &part, err);
			break;
		case GUNZIP_PADDING: r = gunzip_padding(gunzip, err); break;
		case GUNZIP_END: break;
		}
		if (r < 0)
			return r;
		got += part;
	}
	*ret_len = got;
	return 0;
}

static void gunzip_free(struct source *source)
{
	struct gunzip_source *gunzip = (struct gunzip_source *)source;
	feed_free(gunzip->input);
	free(gunzip);
}

static const struct source_ops gunzip_ops = {
	.read = gunzip_read,
	.free = gunzip_free,
};

int source_gunzip_new(struct feed *take_input, struct source **ret_source, struct err *err)
{
	AUTO(feed) input = take_input;
	struct isal isal;
	int r = isal_load(&isal, err);
	if (r < 0)
		return r;
	struct gunzip_source *gunzip = NEW(gunzip_source);
	gunzip->base.ops = &gunzip_ops;
	gunzip->input = TAKE(input);
	gunzip->isal = isal;
	isal.inflate_init(&gunzip->state);
	*ret_source = &gunzip->base;
	return 0;
}
