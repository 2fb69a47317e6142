/* feed - a ring of slots between a source and its consumer.
 *
 * A source that is slow (decompression) and a consumer that is slow (hashing, writing) each keep
 * one CPU busy only if neither waits for the other often: waking a thread on another CPU costs tens
 * of microseconds.  So the producer is woken when half of the ring is free, the consumer when a
 * quarter is filled, and a slot is small enough to stay in the cache between the two.
 *
 * Without a thread (one slot) the consumer fills the slot itself; that form can also skip. */
#include "layer/feed.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "layer/source.h"

struct feed {
	struct source *source; /* owned; used by the thread, or by the consumer if there is none */
	struct feed_shape shape;
	struct digest_hash *hash; /* borrowed */
	uint8_t *slots;           /* owned; shape.slots of shape.slot_bytes each */
	size_t *lens;             /* owned; bytes in each slot, written while the slot is free */
	bool threaded;
	pthread_t thread;

	pthread_mutex_t lock;
	pthread_cond_t may_fill, may_take;
	/* Under the lock. */
	unsigned filled; /* slots that hold bytes, the one being consumed included */
	bool stopping;
	bool ended; /* nothing comes after the filled slots */
	bool failed;
	struct err failure; /* why it ended, if failed */

	/* The consumer's own. */
	unsigned take_at;
	bool holding; /* the slot at take_at is being consumed */
	bool finished;
	struct view rest; /* of that slot */
	uint64_t read;    /* bytes taken from slots or skipped in the source */
	uint64_t max_bytes;
};

static uint8_t *slot_at(struct feed *feed, unsigned index)
{
	return feed->slots + (size_t)index * feed->shape.slot_bytes;
}

/* One slot more was filled with len bytes, or the stream ended (len less than a slot). */
static void publish(struct feed *feed, size_t len, bool failed)
{
	pthread_mutex_lock(&feed->lock);
	feed->filled += len > 0;
	feed->ended = failed || len < feed->shape.slot_bytes;
	feed->failed = failed;
	if (feed->ended || feed->filled >= (feed->shape.slots + 3) / 4)
		pthread_cond_signal(&feed->may_take);
	pthread_mutex_unlock(&feed->lock);
}

static bool wait_for_space(struct feed *feed)
{
	pthread_mutex_lock(&feed->lock);
	while (feed->filled == feed->shape.slots && !feed->stopping)
		pthread_cond_wait(&feed->may_fill, &feed->lock);
	bool go_on = !feed->stopping;
	pthread_mutex_unlock(&feed->lock);
	return go_on;
}

static void *read_ahead(void *context)
{
	struct feed *feed = context;
	for (unsigned at = 0; wait_for_space(feed); at = (at + 1) % feed->shape.slots) {
		size_t len = 0;
		int r = feed->source->ops->read(feed->source, slot_at(feed, at),
			feed->shape.slot_bytes, &len, &feed->failure);
		feed->lens[at] = len;
		publish(feed, r < 0 ? 0 : len, r < 0);
		if (r < 0 || len < feed->shape.slot_bytes)
			break;
	}
	return NULL;
}

/* Gives the consumed slot back and waits for the next one; false at the end. */
static bool next_slot(struct feed *feed)
{
	pthread_mutex_lock(&feed->lock);
	if (feed->holding) {
		feed->filled--;
		feed->take_at = (feed->take_at + 1) % feed->shape.slots;
		if (feed->shape.slots - feed->filled >= (feed->shape.slots + 1) / 2)
			pthread_cond_signal(&feed->may_fill);
	}
	while (feed->filled == 0 && !feed->ended)
		pthread_cond_wait(&feed->may_take, &feed->lock);
	feed->holding = feed->filled > 0;
	pthread_mutex_unlock(&feed->lock);
	return feed->holding;
}

static int fill_alone(struct feed *feed, size_t *ret_len, struct err *err)
{
	*ret_len = 0;
	if (feed->ended)
		return 0;
	int r = feed->source->ops->read(feed->source, feed->slots, feed->shape.slot_bytes, ret_len,
		err);
	if (r == 0)
		feed->ended = *ret_len < feed->shape.slot_bytes;
	return r;
}

/* Makes rest non-empty, or leaves it empty at the end. */
static int refill(struct feed *feed, struct err *err)
{
	size_t len = 0;
	if (feed->finished)
		return 0;
	if (!feed->threaded) {
		int r = fill_alone(feed, &len, err);
		if (r < 0)
			return r;
	} else if (next_slot(feed)) {
		len = feed->lens[feed->take_at];
	} else if (feed->failed) {
		/* Stays so: whoever asks again gets the same answer. */
		return err_copy(err, &feed->failure);
	}
	if (len == 0) {
		feed->finished = true;
		return 0;
	}

	feed->rest = (struct view){ (const char *)slot_at(feed, feed->take_at), len };
	feed->read += len;
	if (feed->read > feed->max_bytes)
		return err_set(err, ERR_LIMIT, "the archive has more than %ju bytes",
			(uintmax_t)feed->max_bytes);
	if (feed->hash != NULL)
		digest_hash_add(feed->hash, feed->rest.data, len);
	return 0;
}

int feed_next(struct feed *feed, uint64_t max, struct view *ret_bytes, struct err *err)
{
	if (feed->rest.len == 0) {
		int r = refill(feed, err);
		if (r < 0)
			return r;
		if (feed->rest.len == 0) {
			*ret_bytes = (struct view){ 0 };
			return 0;
		}
	}
	size_t len = feed->rest.len < max ? feed->rest.len : (size_t)max;
	*ret_bytes = (struct view){ feed->rest.data, len };
	feed->rest.data += len;
	feed->rest.len -= len;
	return 0;
}

int feed_read(struct feed *feed, void *bytes, size_t len, size_t *ret_got, struct err *err)
{
	size_t got = 0;
	while (got < len) {
		struct view part;
		int r = feed_next(feed, len - got, &part, err);
		if (r < 0)
			return r;
		if (part.len == 0)
			break;
		memcpy((char *)bytes + got, part.data, part.len);
		got += part.len;
	}
	*ret_got = got;
	return 0;
}

int feed_skip(struct feed *feed, uint64_t len, struct err *err)
{
	while (len > 0) {
		bool jump = feed->rest.len == 0 && !feed->threaded && !feed->ended &&
			    feed->source->ops->skip != NULL && feed->hash == NULL;
		if (jump) {
			int r = feed->source->ops->skip(feed->source, len, err);
			if (r == 0)
				feed->read += len;
			return r;
		}
		struct view part;
		int r = feed_next(feed, len, &part, err);
		if (r < 0)
			return r;
		if (part.len == 0)
			return err_set(err, ERR_DAMAGED, "the archive ends %ju bytes too early",
				(uintmax_t)len);
		len -= part.len;
	}
	return 0;
}

int feed_drain(struct feed *feed, struct err *err)
{
	struct view part;
	do {
		int r = feed_next(feed, UINT64_MAX, &part, err);
		if (r < 0)
			return r;
	} while (part.len > 0);
	return 0;
}

uint64_t feed_position(const struct feed *feed)
{
	return feed->read - feed->rest.len;
}

int feed_new(struct source *take_source, struct feed_shape shape, struct digest_hash *hash,
	uint64_t max_bytes, struct feed **ret_feed, struct err *err)
{
	AUTO(feed) feed = NEW(feed);
	feed->source = take_source;
	feed->shape = shape;
	feed->hash = hash;
	feed->max_bytes = max_bytes;
	feed->slots = mem_new_pages(shape.slots * shape.slot_bytes);
	feed->lens = mem_new(shape.slots, sizeof(*feed->lens));
	pthread_mutex_init(&feed->lock, NULL);
	pthread_cond_init(&feed->may_fill, NULL);
	pthread_cond_init(&feed->may_take, NULL);
	if (shape.slots > 1) {
		int r = pthread_create(&feed->thread, NULL, read_ahead, feed);
		if (r != 0)
			return err_sys(err, r, "start a thread that reads ahead");
		feed->threaded = true;
	}
	*ret_feed = TAKE(feed);
	return 0;
}

void feed_free(struct feed *feed)
{
	if (feed == NULL)
		return;
	if (feed->threaded) {
		pthread_mutex_lock(&feed->lock);
		feed->stopping = true;
		pthread_cond_signal(&feed->may_fill);
		pthread_mutex_unlock(&feed->lock);
		pthread_join(feed->thread, NULL);
	}
	pthread_cond_destroy(&feed->may_take);
	pthread_cond_destroy(&feed->may_fill);
	pthread_mutex_destroy(&feed->lock);
	source_free(feed->source);
	free(feed->lens);
	free(feed->slots);
	free(feed);
}
