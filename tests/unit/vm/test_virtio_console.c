#include "test.h"

#include "device_rig.h"

#include <poll.h>

#include "base/fd.h"
#include "vm/virtio/virtio_console.h"

enum { RX, TX };

struct console {
	struct rig rig;
	int keyboard, screen;
};

static uint64_t features; /* of all tests of a run */

static void console_open(struct console *c)
{
	int in[2], out[2];
	assert_return_code(pipe2(in, O_CLOEXEC), errno);
	assert_return_code(pipe2(out, O_CLOEXEC), errno);
	assert_int_equal(fd_set_nonblocking(out[0], true), 0);
	AUTO_FREE char *config = text_format("{\"in_fd\": %d, \"out_fd\": %d}", in[0], out[1]);
	c->keyboard = in[1];
	c->screen = out[0];
	rig_open(&c->rig, &virtio_console_ops, virtio_console_create, config, features);
}

static void console_close(struct console *c)
{
	rig_close(&c->rig);
	if (c->keyboard >= 0)
		(void)close(c->keyboard);
	(void)close(c->screen);
}

static void print(struct console *c, const char *text)
{
	(void)rig_add(&c->rig, TX, text, strlen(text), 3, 0);
	rig_kick(&c->rig, TX);
}

static void what_is_printed_is_seen(void **state)
{
	(void)state;
	struct console c;
	char text[64] = { 0 };
	uint16_t head;
	uint32_t written;
	console_open(&c);
	print(&c, "Hello, world");
	rig_settle(&c.rig);
	assert_int_equal(read(c.screen, text, sizeof(text)), 12);
	assert_string_equal(text, "Hello, world");
	assert_true(rig_take(&c.rig, TX, &head, &written));
	assert_int_equal(written, 0);
	console_close(&c);
}

static void what_is_typed_arrives(void **state)
{
	(void)state;
	struct console c;
	uint16_t head;
	uint32_t written;
	char text[8];
	console_open(&c);
	assert_int_equal(fd_write_all(c.keyboard, "abcdef", 6), 0);
	rig_settle(&c.rig);
	(void)rig_add(&c.rig, RX, NULL, 0, 0, 4);
	rig_kick(&c.rig, RX);
	assert_true(rig_take(&c.rig, RX, &head, &written));
	assert_int_equal(written, 4);
	rig_answer(&c.rig, RX, head, text, 4);
	assert_memory_equal(text, "abcd", 4);
	(void)rig_add(&c.rig, RX, NULL, 0, 0, 4);
	rig_kick(&c.rig, RX);
	assert_true(rig_take(&c.rig, RX, &head, &written));
	assert_int_equal(written, 2);
	/* Nobody types any more: the console stays. */
	(void)close(c.keyboard);
	c.keyboard = -1;
	(void)rig_add(&c.rig, RX, NULL, 0, 0, 4);
	rig_kick(&c.rig, RX);
	rig_settle(&c.rig);
	assert_false(rig_take(&c.rig, RX, &head, &written));
	print(&c, "x");
	rig_settle(&c.rig);
	assert_int_equal(read(c.screen, text, 1), 1);
	console_close(&c);
}

static unsigned taken(struct console *c)
{
	uint16_t head;
	uint32_t written;
	unsigned count = 0;
	while (rig_take(&c->rig, TX, &head, &written))
		count++;
	return count;
}

/* THREATS: a flood that nobody reads.  The guest is held up, then its bytes are lost; the reader
 * that comes back sees what is printed from then on. */
static void console_flood_keeps_memory_flat(void **state)
{
	(void)state;
	struct console c;
	console_open(&c);
	rig_settle(&c.rig);
	static char page[4096];
	memset(page, 'x', sizeof(page));
	for (unsigned i = 0; i < 32; i++) /* twice what the pipe holds */
		(void)rig_add(&c.rig, TX, page, sizeof(page), sizeof(page), 0);
	rig_kick(&c.rig, TX);
	rig_settle(&c.rig);
	assert_in_range(taken(&c), 1, 31);
	for (unsigned i = 0; i < 100 && c.rig.queues[TX].seen_used < 32; i++) {
		rig_run(&c.rig, 20);
		(void)taken(&c);
	}
	assert_int_equal(c.rig.queues[TX].seen_used, 32);
	for (unsigned i = 0; i < 1000; i++) {
		(void)rig_add(&c.rig, TX, page, sizeof(page), sizeof(page), 0);
		rig_kick(&c.rig, TX);
		assert_int_equal(taken(&c), 1);
	}
	while (read(c.screen, page, sizeof(page)) > 0)
		continue;
	rig_settle(&c.rig);
	print(&c, "again");
	assert_int_equal(read(c.screen, page, sizeof(page)), 5);
	assert_memory_equal(page, "again", 5);
	console_close(&c);
}

static void a_request_taken_in_parts_is_printed_once(void **state)
{
	(void)state;
	struct console c;
	console_open(&c);
	rig_settle(&c.rig);
	static uint8_t sent[150000], got[150000];
	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = (uint8_t)(i * 3 >> 4);
	(void)rig_add(&c.rig, TX, sent, sizeof(sent), RIG_BUFFER_BYTES, 0);
	rig_kick(&c.rig, TX);
	size_t at = 0;
	while (at < sizeof(sent)) {
		ssize_t n = read(c.screen, got + at, sizeof(got) - at);
		at += n > 0 ? (size_t)n : 0;
		rig_settle(&c.rig);
	}
	assert_memory_equal(got, sent, sizeof(sent));
	assert_int_equal(taken(&c), 1);
	console_close(&c);
}

static void without_descriptors_everything_is_taken(void **state)
{
	(void)state;
	struct console c = { .keyboard = -1, .screen = -1 };
	rig_open(&c.rig, &virtio_console_ops, virtio_console_create, "{}", features);
	for (unsigned i = 0; i < 1000; i++) {
		print(&c, "nobody");
		assert_int_equal(taken(&c), 1);
	}
	uint8_t config[16];
	c.rig.ops->config_read(c.rig.device, 0, config, sizeof(config));
	assert_int_equal(config[0], 0);
	c.rig.ops->config_write(c.rig.device, 8, config, 4);
	rig_close(&c.rig);
}

static void one_terminal_may_be_both(void **state)
{
	(void)state;
	int terminal = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_return_code(terminal, errno);
	AUTO_FREE char *config = text_format("{\"in_fd\": %d, \"out_fd\": %d}", terminal, terminal);
	struct console c = { .keyboard = -1, .screen = -1 };
	rig_open(&c.rig, &virtio_console_ops, virtio_console_create, config, features);
	rig_settle(&c.rig);
	print(&c, "x");
	rig_settle(&c.rig);
	assert_int_equal(taken(&c), 1);
	rig_close(&c.rig);
}

static void buffers_without_room_fail_the_device(void **state)
{
	(void)state;
	struct console c;
	console_open(&c);
	assert_int_equal(fd_write_all(c.keyboard, "x", 1), 0);
	(void)rig_add(&c.rig, RX, "in", 2, 2, 0);
	rig_kick(&c.rig, RX);
	rig_settle(&c.rig);
	assert_non_null(c.rig.virtio.failed);
	console_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_printed_is_seen),
		cmocka_unit_test(what_is_typed_arrives),
		cmocka_unit_test(console_flood_keeps_memory_flat),
		cmocka_unit_test(a_request_taken_in_parts_is_printed_once),
		cmocka_unit_test(without_descriptors_everything_is_taken),
		cmocka_unit_test(one_terminal_may_be_both),
		cmocka_unit_test(buffers_without_room_fail_the_device),
	};
	int failed = cmocka_run_group_tests_name("virtio_console", tests, NULL, NULL);
	features = VIRTIO_FEATURE_EVENT_IDX;
	return failed +
	       cmocka_run_group_tests_name("virtio_console, event index", tests, NULL, NULL);
}
