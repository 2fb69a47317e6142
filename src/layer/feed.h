/* feed - hands out the bytes of a source as views, in order, and reads ahead in a thread of its own
 * where asked.  Single consumer. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/text.h"

struct feed;
struct source;

struct feed_shape {
	size_t slot_bytes; /* how much is read from the source at once */
	unsigned slots;    /* 1: no thread, the source is read when the consumer asks */
};

/* hash (borrowed, NULL: none) gets every byte in the consumer's thread, once, before it is handed
 * out.  At the end of the stream the source must not have given more than max_bytes: ERR_LIMIT. */
MUST_CHECK int feed_new(struct source *take_source, struct feed_shape shape,
	struct digest_hash *hash, uint64_t max_bytes, struct feed **ret_feed, struct err *err);
void feed_free(struct feed *feed); /* NULL is fine; stops the thread */
DEFINE_AUTO(feed)

/* The next 1..max bytes, valid until the next call; none at the end of the stream. */
MUST_CHECK int feed_next(struct feed *feed, uint64_t max, struct view *ret_bytes, struct err *err);
/* Copies len bytes; *ret_got is less only at the end of the stream. */
MUST_CHECK int feed_read(struct feed *feed, void *bytes, size_t len, size_t *ret_got,
	struct err *err);
/* Passes over len bytes; an early end is ERR_DAMAGED. */
MUST_CHECK int feed_skip(struct feed *feed, uint64_t len, struct err *err);
/* Passes over everything that is left. */
MUST_CHECK int feed_drain(struct feed *feed, struct err *err);
/* Bytes handed out or passed over so far. */
uint64_t feed_position(const struct feed *feed);
