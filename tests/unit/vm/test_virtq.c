#include "test.h"

#include <pthread.h>
#include <stdatomic.h>

#include "fake_machine.h"
#include "ring_driver.h"

enum { SIZE = 16, DATA = 0x10000, TABLES = 0x8000 };

struct fixture {
	struct machine machine;
	struct ring_driver driver;
	struct virtq queue;
	struct virtq_chain chain;
};

static void activate(struct fixture *f, uint64_t at, uint16_t size, bool has_event_idx)
{
	(void)ring_driver_init(&f->driver, &f->machine.mem, at, size);
	f->queue = (struct virtq){ .desc = f->driver.desc,
		.avail = f->driver.avail,
		.used = f->driver.used,
		.size = size };
	assert_int_equal(virtq_activate(&f->queue, &f->machine.mem, has_event_idx), 0);
}

static int make(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	fake_machine_init(&f->machine);
	activate(f, 0x1000, SIZE, false);
	*state = f;
	return 0;
}

static int destroy(void **state)
{
	struct fixture *f = *state;
	fake_machine_done(&f->machine);
	free(f);
	return 0;
}

static void set(struct fixture *f, unsigned at, uint64_t address, uint32_t len, uint16_t flags,
	uint16_t next)
{
	ring_driver_set(&f->driver, f->driver.desc, at, address, len, flags, next);
}

static void is_broken(struct fixture *f)
{
	assert_int_equal(virtq_next(&f->queue, &f->chain), -EPROTO);
	assert_true(f->queue.is_broken);
	/* And stays so. */
	assert_int_equal(virtq_next(&f->queue, &f->chain), -EPROTO);
	virtq_done(&f->queue, 0, 0);
	assert_int_equal(*ring_driver_word(&f->driver, f->driver.used + 2), 0);
	assert_false(virtq_wants_interrupt(&f->queue));
}

static void a_request_is_its_buffers_in_order(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(virtq_next(&f->queue, &f->chain), 0);
	memcpy(f->machine.mem.low + DATA, "headbody", 8);
	set(f, 3, DATA, 4, VRING_DESC_F_NEXT, 7);
	set(f, 7, DATA + 4, 4, VRING_DESC_F_NEXT, 1);
	set(f, 1, DATA + 100, 3, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 0);
	set(f, 0, GUEST_MEM_HIGH, 5, VRING_DESC_F_WRITE, 9);
	ring_driver_offer(&f->driver, 3);

	assert_int_equal(virtq_next(&f->queue, &f->chain), 1);
	assert_int_equal(f->chain.head, 3);
	assert_int_equal(f->chain.in_len, 2);
	assert_int_equal(f->chain.out_len, 2);
	assert_int_equal(f->chain.in_bytes, 8);
	assert_int_equal(f->chain.out_bytes, 8);
	char bytes[16] = { 0 };
	assert_int_equal(virtq_copy_in(&f->chain, 2, bytes, 4), 4);
	assert_string_equal(bytes, "adbo");
	assert_int_equal(virtq_copy_in(&f->chain, 6, bytes, sizeof(bytes)), 2);
	assert_int_equal(virtq_copy_in(&f->chain, 8, bytes, sizeof(bytes)), 0);
	assert_int_equal(virtq_copy_out(&f->chain, 1, "123456789", 9), 7);
	assert_memory_equal(f->machine.mem.low + DATA + 101, "12", 2);
	assert_memory_equal(f->machine.mem.high, "34567", 5);

	virtq_done(&f->queue, f->chain.head, 8);
	uint32_t head = 0, written = 0;
	assert_true(ring_driver_take(&f->driver, &head, &written));
	assert_int_equal(head, 3);
	assert_int_equal(written, 8);
	assert_int_equal(virtq_next(&f->queue, &f->chain), 0);
}

static void an_indirect_table_may_stand_anywhere(void **state)
{
	struct fixture *f = *state;
	uint64_t table = TABLES + 3;
	set(f, 2, DATA, 8, VRING_DESC_F_NEXT, 5);
	/* The WRITE flag of the one that refers to the table is ignored. */
	set(f, 5, table, 32, VRING_DESC_F_INDIRECT | VRING_DESC_F_WRITE, 2);
	ring_driver_set(&f->driver, table, 0, DATA + 8, 1, VRING_DESC_F_NEXT, 1);
	ring_driver_set(&f->driver, table, 1, DATA + 9, 2, VRING_DESC_F_WRITE, 0);
	ring_driver_offer(&f->driver, 2);
	assert_int_equal(virtq_next(&f->queue, &f->chain), 1);
	assert_int_equal(f->chain.in_len, 2);
	assert_int_equal(f->chain.in_bytes, 9);
	assert_int_equal(f->chain.out_bytes, 2);
}

static void bad_indirect_tables_break_the_queue(void **state)
{
	struct fixture *f = *state;
	static const struct {
		uint64_t address;
		uint32_t len;
		uint16_t flags, inner_flags, inner_next;
	} bad[] = {
		{ TABLES, 0, VRING_DESC_F_INDIRECT, 0, 0 },
		{ TABLES, 24, VRING_DESC_F_INDIRECT, 0, 0 },
		{ TABLES, 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 0, 0 },
		{ TABLES, 16, VRING_DESC_F_INDIRECT, VRING_DESC_F_NEXT, 1 },
		{ TABLES, 32, VRING_DESC_F_INDIRECT, VRING_DESC_F_INDIRECT, 0 },
		{ FAKE_LOW_BYTES - 16, 32, VRING_DESC_F_INDIRECT, 0, 0 },
		{ UINT64_MAX - 15, 32, VRING_DESC_F_INDIRECT, 0, 0 },
		{ TABLES, 0xfffffff0, VRING_DESC_F_INDIRECT, 0, 0 },
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		activate(f, 0x1000, SIZE, false);
		ring_driver_set(&f->driver, TABLES, 0, DATA, 16, bad[i].inner_flags,
			bad[i].inner_next);
		set(f, 0, bad[i].address, bad[i].len, bad[i].flags, 0);
		ring_driver_offer(&f->driver, 0);
		is_broken(f);
	}
}

static void bad_descriptors_break_the_queue(void **state)
{
	struct fixture *f = *state;
	static const struct {
		uint64_t address;
		uint32_t len;
		uint16_t flags, next;
	} bad[] = {
		{ FAKE_LOW_BYTES, 1, 0, 0 },
		{ FAKE_LOW_BYTES - 1, 2, 0, 0 },
		{ GUEST_MEM_HIGH - 1, 2, VRING_DESC_F_WRITE, 0 },
		{ GUEST_MEM_HIGH + FAKE_HIGH_BYTES, 1, 0, 0 },
		{ UINT64_MAX, 1, 0, 0 },
		{ UINT64_MAX - 3, 8, 0, 0 },
		{ DATA, UINT32_MAX, 0, 0 },
		{ DATA, 1, VRING_DESC_F_NEXT, SIZE },
		{ DATA, 1, VRING_DESC_F_NEXT, UINT16_MAX },
		/* A loop of one, and an empty one. */
		{ DATA, 1, VRING_DESC_F_NEXT, 0 },
		{ DATA, 0, VRING_DESC_F_NEXT, 0 },
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		activate(f, 0x1000, SIZE, false);
		set(f, 0, bad[i].address, bad[i].len, bad[i].flags, bad[i].next);
		ring_driver_offer(&f->driver, 0);
		is_broken(f);
	}
}

static void a_head_beyond_the_queue_breaks_it(void **state)
{
	struct fixture *f = *state;
	ring_driver_offer(&f->driver, SIZE);
	is_broken(f);
}

static void an_available_index_too_far_ahead_breaks_it(void **state)
{
	struct fixture *f = *state;
	*ring_driver_word(&f->driver, f->driver.avail + 2) = SIZE + 1;
	is_broken(f);
	activate(f, 0x1000, SIZE, false);
	*ring_driver_word(&f->driver, f->driver.avail + 2) = UINT16_MAX;
	is_broken(f);
}

static void what_the_device_reads_comes_first(void **state)
{
	struct fixture *f = *state;
	set(f, 0, DATA, 1, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1);
	set(f, 1, DATA, 1, 0, 0);
	ring_driver_offer(&f->driver, 0);
	is_broken(f);
}

static void a_chain_is_as_long_as_its_limit_at_most(void **state)
{
	struct fixture *f = *state;
	for (unsigned len = VIRTQ_CHAIN_MAX; len <= VIRTQ_CHAIN_MAX + 1; len++) {
		activate(f, 0x1000, 256, false);
		/* The one that refers to the table is no buffer. */
		set(f, 0, TABLES, len * 16, VRING_DESC_F_INDIRECT, 0);
		for (unsigned i = 0; i < len; i++)
			ring_driver_set(&f->driver, TABLES, i, DATA, 1,
				i + 1 < len ? VRING_DESC_F_NEXT : 0, (uint16_t)(i + 1));
		ring_driver_offer(&f->driver, 0);
		if (len > VIRTQ_CHAIN_MAX) {
			is_broken(f);
			continue;
		}
		assert_int_equal(virtq_next(&f->queue, &f->chain), 1);
		assert_int_equal(f->chain.in_len, len);
	}
	activate(f, 0x1000, 256, false);
	for (unsigned i = 0; i < 256; i++)
		set(f, i, DATA, 1, i + 1 < 256 ? VRING_DESC_F_NEXT : 0, (uint16_t)(i + 1));
	ring_driver_offer(&f->driver, 256 - VIRTQ_CHAIN_MAX);
	assert_int_equal(virtq_next(&f->queue, &f->chain), 1);
	assert_int_equal(f->chain.in_len, VIRTQ_CHAIN_MAX);
	ring_driver_offer(&f->driver, 0);
	is_broken(f);
}

static void activation_refuses_what_is_not_a_queue_in_memory(void **state)
{
	struct fixture *f = *state;
	static const struct virtq bad[] = {
		{ .desc = 0x1000, .avail = 0x2000, .used = 0x3000, .size = 0 },
		{ .desc = 0x1000, .avail = 0x2000, .used = 0x3000, .size = 12 },
		{ .desc = 0x1000, .avail = 0x2000, .used = 0x3000, .size = 2 * VIRTQ_SIZE_MAX },
		{ .desc = 0x1000, .avail = 0x2000, .used = 0x3000, .size = 0x8000 },
		{ .desc = 0x1008, .avail = 0x2000, .used = 0x3000, .size = 16 },
		{ .desc = 0x1000, .avail = 0x2001, .used = 0x3000, .size = 16 },
		{ .desc = 0x1000, .avail = 0x2000, .used = 0x3002, .size = 16 },
		{ .desc = FAKE_LOW_BYTES - 240, .avail = 0x2000, .used = 0x3000, .size = 16 },
		{ .desc = 0x1000, .avail = FAKE_LOW_BYTES - 36, .used = 0x3000, .size = 16 },
		{ .desc = 0x1000, .avail = 0x2000, .used = FAKE_LOW_BYTES - 132, .size = 16 },
		{ .desc = 0x1000, .avail = UINT64_MAX - 1, .used = 0x3000, .size = 16 },
		{ .desc = UINT64_MAX - 15, .avail = 0x2000, .used = 0x3000, .size = 16 },
		{ .desc = 0x1000, .avail = 0x2000, .used = 0xf0000000, .size = 16 },
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct virtq queue = bad[i];
		assert_int_equal(virtq_activate(&queue, &f->machine.mem, false), -EINVAL);
		assert_false(queue.is_ready);
		assert_int_equal(virtq_next(&queue, &f->chain), 0);
		virtq_done(&queue, 0, 0);
		virtq_set_notify(&queue, true);
		assert_false(virtq_wants_interrupt(&queue));
	}
	struct virtq queue = { .desc = FAKE_LOW_BYTES - 256,
		.avail = 0x2000,
		.used = 0x3000,
		.size = 16 };
	assert_int_equal(virtq_activate(&queue, &f->machine.mem, false), 0);
}

static void what_was_put_back_is_seen_again(void **state)
{
	struct fixture *f = *state;
	set(f, 4, DATA, 1, 0, 0);
	ring_driver_offer(&f->driver, 4);
	assert_int_equal(virtq_next(&f->queue, &f->chain), 1);
	virtq_put_back(&f->queue);
	assert_int_equal(virtq_next(&f->queue, &f->chain), 1);
	assert_int_equal(f->chain.head, 4);
	assert_int_equal(virtq_next(&f->queue, &f->chain), 0);
}

static void flags_ask_for_interrupts_and_notifications(void **state)
{
	struct fixture *f = *state;
	assert_false(virtq_wants_interrupt(&f->queue));
	virtq_done(&f->queue, 0, 0);
	assert_true(virtq_wants_interrupt(&f->queue));
	assert_false(virtq_wants_interrupt(&f->queue));
	*ring_driver_word(&f->driver, f->driver.avail) = VRING_AVAIL_F_NO_INTERRUPT;
	virtq_done(&f->queue, 0, 0);
	assert_false(virtq_wants_interrupt(&f->queue));

	uint16_t *flags = ring_driver_word(&f->driver, f->driver.used);
	virtq_set_notify(&f->queue, false);
	assert_int_equal(*flags, VRING_USED_F_NO_NOTIFY);
	virtq_set_notify(&f->queue, true);
	assert_int_equal(*flags, 0);
}

static void event_indices_ask_for_them_at_a_place(void **state)
{
	struct fixture *f = *state;
	activate(f, 0x1000, SIZE, true);
	*ring_driver_used_event(&f->driver) = 2;
	for (unsigned done = 1; done <= 5; done++) {
		virtq_done(&f->queue, 0, 0);
		assert_int_equal(virtq_wants_interrupt(&f->queue), done == 3);
	}
	/* A batch that passes the place. */
	*ring_driver_used_event(&f->driver) = 6;
	for (unsigned i = 0; i < 4; i++)
		virtq_done(&f->queue, 0, 0);
	assert_true(virtq_wants_interrupt(&f->queue));

	set(f, 0, DATA, 1, 0, 0);
	ring_driver_offer(&f->driver, 0);
	assert_int_equal(virtq_next(&f->queue, &f->chain), 1);
	virtq_set_notify(&f->queue, false);
	assert_int_equal(*ring_driver_avail_event(&f->driver), 0);
	virtq_set_notify(&f->queue, true);
	assert_int_equal(*ring_driver_avail_event(&f->driver), 1);
	assert_int_equal(*ring_driver_word(&f->driver, f->driver.used), 0);
}

/* ---- against a model: a driver that keeps what it has offered ---- */

struct expected {
	uint16_t head;
	unsigned in_len, out_len;
	uint64_t in_bytes, out_bytes;
	uint32_t written;
};

static uint32_t next_random(uint64_t *seed)
{
	*seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(*seed >> 33);
}

/* Builds a chain of free descriptors, or in a table; fills in what the device should see. */
static void offer_chain(struct fixture *f, uint64_t *seed, unsigned slot, struct expected *expected)
{
	/* Each request has four descriptors of the queue, and a table of its own. */
	unsigned base = slot * 4, len = 1 + next_random(seed) % 4;
	bool is_indirect = next_random(seed) % 3 == 0;
	unsigned readable = next_random(seed) % (len + 1);
	uint64_t table = f->driver.desc;
	unsigned first = base;
	*expected = (struct expected){ .head = (uint16_t)base };
	if (is_indirect) {
		len = 1 + next_random(seed) % 60;
		readable = next_random(seed) % (len + 1);
		table = TABLES + slot * 1024;
		first = 0;
		set(f, base, table, len * 16, VRING_DESC_F_INDIRECT, 0);
	}
	for (unsigned i = 0; i < len; i++) {
		uint32_t bytes = next_random(seed) % 300;
		bool is_out = i >= readable;
		ring_driver_set(&f->driver, table, first + i, DATA + slot * 4096 + i, bytes,
			(uint16_t)((is_out ? VRING_DESC_F_WRITE : 0) |
				   (i + 1 < len ? VRING_DESC_F_NEXT : 0)),
			(uint16_t)(first + i + 1));
		*(is_out ? &expected->out_len : &expected->in_len) += bytes > 0;
		*(is_out ? &expected->out_bytes : &expected->in_bytes) += bytes;
	}
	ring_driver_offer(&f->driver, (uint16_t)base);
}

static void a_model_and_the_queue_agree_over_all_indices(void **state)
{
	struct fixture *f = *state;
	enum { SLOTS = 8, ROUNDS = 200000 };
	struct expected offered[SLOTS] = { 0 }, taken[SLOTS] = { 0 };
	unsigned offered_len = 0, taken_len = 0, done = 0;
	bool is_busy[SLOTS] = { false };
	uint64_t seed = 42;
	activate(f, 0x1000, 4 * SLOTS, true);
	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned slot = next_random(&seed) % SLOTS;
		if (!is_busy[slot]) {
			is_busy[slot] = true;
			offer_chain(f, &seed, slot, &offered[offered_len++]);
		}
		if (next_random(&seed) % 2 == 0) {
			int r = virtq_next(&f->queue, &f->chain);
			assert_int_equal(r, offered_len > 0);
			if (r == 1 && next_random(&seed) % 8 == 0) {
				virtq_put_back(&f->queue);
			} else if (r == 1) {
				assert_int_equal(f->chain.head, offered[0].head);
				assert_int_equal(f->chain.in_len, offered[0].in_len);
				assert_int_equal(f->chain.out_len, offered[0].out_len);
				assert_true(f->chain.in_bytes == offered[0].in_bytes);
				assert_true(f->chain.out_bytes == offered[0].out_bytes);
				taken[taken_len] = offered[0];
				taken[taken_len++].written = next_random(&seed);
				memmove(offered, offered + 1, --offered_len * sizeof(*offered));
			}
		}
		/* Requests come back in any order. */
		if (taken_len > 0 && next_random(&seed) % 2 == 0) {
			unsigned which = next_random(&seed) % taken_len;
			virtq_done(&f->queue, taken[which].head, taken[which].written);
			uint16_t event = *ring_driver_used_event(&f->driver) =
				(uint16_t)(f->driver.seen_used - next_random(&seed) % 2);
			assert_int_equal(virtq_wants_interrupt(&f->queue),
				event == f->driver.seen_used);
			uint32_t head = 0, written = 0;
			assert_true(ring_driver_take(&f->driver, &head, &written));
			assert_int_equal(head, taken[which].head);
			assert_int_equal(written, taken[which].written);
			assert_false(ring_driver_take(&f->driver, &head, &written));
			is_busy[head / 4] = false;
			done++;
			taken[which] = taken[--taken_len];
		}
	}
	assert_true(done > UINT16_MAX); /* once around at least */
	assert_false(f->queue.is_broken);
}

/* ---- a ring that is flipped while it is read ---- */

struct flipper {
	struct fixture *fixture;
	atomic_bool is_over;
};

static void *flip(void *context)
{
	struct flipper *flipper = context;
	const struct fixture *f = flipper->fixture;
	static const struct vring_desc kinds[] = {
		{ DATA, 64, 0, 0 },
		{ DATA, 64, VRING_DESC_F_WRITE, 0 },
		{ UINT64_MAX - 8, 64, 0, 0 },
		{ DATA, UINT32_MAX, VRING_DESC_F_WRITE, 0 },
		{ DATA, 64, VRING_DESC_F_NEXT, 0 },
		{ DATA, 64, VRING_DESC_F_NEXT, UINT16_MAX },
		{ TABLES, 16, VRING_DESC_F_INDIRECT, 0 },
	};
	volatile uint64_t *to = guest_mem_at(&f->machine.mem, f->driver.desc, 16);
	for (unsigned i = 0; !atomic_load_explicit(&flipper->is_over, memory_order_relaxed); i++) {
		uint64_t words[2];
		memcpy(words, &kinds[i % ARRAY_LEN(kinds)], sizeof(words));
		to[i / 7 % 2] = words[i / 7 % 2];
	}
	return NULL;
}

static bool is_ram(const struct fixture *f, const struct iovec *iov)
{
	uintptr_t low = (uintptr_t)f->machine.mem.low, at = (uintptr_t)iov->iov_base;
	return at >= low && at - low <= FAKE_LOW_BYTES &&
	       iov->iov_len <= FAKE_LOW_BYTES - (at - low);
}

static void ring_flipped_while_read_is_harmless(void **state)
{
	struct fixture *f = *state;
	struct flipper flipper = { .fixture = f };
	pthread_t thread;
	ring_driver_set(&f->driver, TABLES, 0, DATA, 8, 0, 0);
	assert_int_equal(pthread_create(&thread, NULL, flip, &flipper), 0);
	unsigned seen = 0, refused = 0;
	for (unsigned i = 0; i < 200000; i++) {
		ring_driver_offer(&f->driver, 0);
		if (virtq_next(&f->queue, &f->chain) == 1) {
			seen++;
			for (unsigned k = 0; k < f->chain.in_len; k++)
				assert_true(is_ram(f, &f->chain.in[k]));
			for (unsigned k = 0; k < f->chain.out_len; k++)
				assert_true(is_ram(f, &f->chain.out[k]));
		} else {
			refused++;
			f->queue.is_broken = false;
			f->queue.next_avail = f->driver.next_avail;
		}
	}
	atomic_store(&flipper.is_over, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(seen + refused, 200000);
}

#define IN_FIXTURE(test) cmocka_unit_test_setup_teardown(test, make, destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_FIXTURE(a_request_is_its_buffers_in_order),
		IN_FIXTURE(an_indirect_table_may_stand_anywhere),
		IN_FIXTURE(bad_indirect_tables_break_the_queue),
		IN_FIXTURE(bad_descriptors_break_the_queue),
		IN_FIXTURE(a_head_beyond_the_queue_breaks_it),
		IN_FIXTURE(an_available_index_too_far_ahead_breaks_it),
		IN_FIXTURE(what_the_device_reads_comes_first),
		IN_FIXTURE(a_chain_is_as_long_as_its_limit_at_most),
		IN_FIXTURE(activation_refuses_what_is_not_a_queue_in_memory),
		IN_FIXTURE(what_was_put_back_is_seen_again),
		IN_FIXTURE(flags_ask_for_interrupts_and_notifications),
		IN_FIXTURE(event_indices_ask_for_them_at_a_place),
		IN_FIXTURE(a_model_and_the_queue_agree_over_all_indices),
		IN_FIXTURE(ring_flipped_while_read_is_harmless),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
