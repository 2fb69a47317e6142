#include "layer/feed.h"

#include "base/mem.h"
#include "layer/source.h"
#include "test.h"

/* Counts up, byte by byte, until the end; then fails if told so. */
struct counting_source {
	struct source base;
	uint64_t at, end;
	bool fails;
};

static int counting_read(struct source *source, void *bytes, size_t len, size_t *ret_len,
	struct err *err)
{
	struct counting_source *counting = (struct counting_source *)source;
	size_t got = 0;
	while (got < len && counting->at < counting->end)
		((uint8_t *)bytes)[got++] = (uint8_t)(counting->at++ * 7);
	if (got < len && counting->fails)
		return err_set(err, ERR_DAMAGED, "made to fail");
	*ret_len = got;
	return 0;
}

static void counting_free(struct source *source)
{
	free(source);
}

static const struct source_ops counting_ops = {
	.read = counting_read,
	.free = counting_free,
};

static struct feed *open_feed(uint64_t end, bool fails, unsigned slots, uint64_t max)
{
	struct counting_source *source = NEW(counting_source);
	struct feed *feed;
	*source = (struct counting_source){ { &counting_ops }, 0, end, fails };
	struct feed_shape shape = { .slot_bytes = 1000, .slots = slots };
	assert_int_equal(feed_new(&source->base, shape, NULL, max, &feed, NULL), 0);
	return feed;
}

static void all_bytes_come_in_order(void **state)
{
	(void)state;
	static const uint64_t ends[] = { 0, 1, 999, 1000, 1001, 64000, 123456 };
	for (unsigned slots = 1; slots <= 9; slots += 4) {
		for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
			AUTO(feed) feed = open_feed(ends[i], false, slots, UINT64_MAX);
			uint64_t at = 0;
			struct view part;
			do {
				assert_int_equal(feed_next(feed, 1 + at % 1500, &part, NULL), 0);
				for (size_t k = 0; k < part.len; k++, at++)
					assert_int_equal((uint8_t)part.data[k], (uint8_t)(at * 7));
				assert_true(feed_position(feed) == at);
			} while (part.len > 0);
			assert_true(at == ends[i]);
		}
	}
}

static void a_failure_comes_after_the_bytes_before_it_and_stays(void **state)
{
	(void)state;
	for (unsigned slots = 1; slots <= 4; slots += 3) {
		AUTO(feed) feed = open_feed(3500, true, slots, UINT64_MAX);
		struct err err = { 0 };
		struct view part;
		for (int i = 0; i < 3; i++)
			assert_int_equal(feed_next(feed, UINT64_MAX, &part, &err), 0);
		assert_true(feed_next(feed, UINT64_MAX, &part, &err) < 0);
		assert_string_equal(err.message, "made to fail");
		assert_true(feed_next(feed, UINT64_MAX, &part, &err) < 0);
	}
}

static void a_feed_may_be_freed_while_its_thread_has_more(void **state)
{
	(void)state;
	for (int i = 0; i < 50; i++) {
		AUTO(feed) feed = open_feed(UINT64_MAX, false, 4, UINT64_MAX);
		struct view part;
		if (i % 2 == 0)
			assert_int_equal(feed_next(feed, 10, &part, NULL), 0);
	}
}

static void skipping_beyond_the_end_is_damage(void **state)
{
	(void)state;
	AUTO(feed) feed = open_feed(5000, false, 4, UINT64_MAX);
	struct err err = { 0 };
	assert_int_equal(feed_skip(feed, 4000, NULL), 0);
	assert_true(feed_position(feed) == 4000);
	assert_true(feed_skip(feed, 1001, &err) < 0);
	assert_int_equal(err.kind, ERR_DAMAGED);
}

static void more_than_the_limit_is_refused(void **state)
{
	(void)state;
	AUTO(feed) feed = open_feed(5000, false, 4, 4999);
	struct err err = { 0 };
	assert_true(feed_drain(feed, &err) < 0);
	assert_int_equal(err.kind, ERR_LIMIT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_bytes_come_in_order),
		cmocka_unit_test(a_failure_comes_after_the_bytes_before_it_and_stays),
		cmocka_unit_test(a_feed_may_be_freed_while_its_thread_has_more),
		cmocka_unit_test(skipping_beyond_the_end_is_damage),
		cmocka_unit_test(more_than_the_limit_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
