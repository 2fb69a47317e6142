#include "test.h"

#include "vm/platform/serial.h"

struct port {
	struct serial *serial;
	int in, out;
	unsigned changes;
	bool level;
};

static void on_irq(void *context, bool level)
{
	struct port *port = context;
	assert_true(port->level != level);
	port->level = level;
	port->changes++;
}

static int setup(void **state)
{
	struct port *port = calloc(1, sizeof(*port));
	int fds[2];
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -1;
	port->out = fds[0];
	port->in = fds[1];
	port->serial = serial_new(fds[1], on_irq, port);
	*state = port;
	return 0;
}

static int teardown(void **state)
{
	struct port *port = *state;
	serial_free(port->serial);
	(void)close(port->out);
	(void)close(port->in);
	free(port);
	return 0;
}

static void send(struct port *port, const char *text)
{
	for (; *text != 0; text++)
		serial_write(port->serial, 0, (uint8_t)*text);
}

static void what_is_sent_comes_out(void **state)
{
	struct port *port = *state;
	char got[16] = "";
	send(port, "hello\r\n");
	assert_int_equal(read(port->out, got, sizeof(got)), 7);
	assert_string_equal(got, "hello\r\n");
	assert_int_equal(serial_read(port->serial, 5), 0x60);
}

static void the_divisor_is_not_sent(void **state)
{
	struct port *port = *state;
	char got[4];
	serial_write(port->serial, 3, 0x80);
	serial_write(port->serial, 0, 1);
	serial_write(port->serial, 1, 2);
	assert_int_equal(serial_read(port->serial, 0), 1);
	assert_int_equal(serial_read(port->serial, 1), 2);
	serial_write(port->serial, 3, 3);
	assert_int_equal(serial_read(port->serial, 1), 0);
	assert_int_equal(read(port->out, got, sizeof(got)), -1);
}

static void the_sent_interrupt_comes_and_goes(void **state)
{
	struct port *port = *state;
	assert_int_equal(serial_read(port->serial, 2) & 0xf, 1);
	serial_write(port->serial, 1, 2);
	assert_true(port->level);
	assert_int_equal(serial_read(port->serial, 2) & 0xf, 2);
	assert_false(port->level);
	assert_int_equal(serial_read(port->serial, 2) & 0xf, 1);
	send(port, "x");
	assert_true(port->level);
	serial_write(port->serial, 1, 0);
	assert_false(port->level);
	assert_int_equal(port->changes, 4);
}

static void it_looks_like_a_16550a(void **state)
{
	struct port *port = *state;
	serial_write(port->serial, 7, 0x5a);
	assert_int_equal(serial_read(port->serial, 7), 0x5a);
	assert_int_equal(serial_read(port->serial, 2) & 0xc0, 0);
	serial_write(port->serial, 2, 1);
	assert_int_equal(serial_read(port->serial, 2) & 0xc0, 0xc0);
	/* The test of Linux's driver: outputs come back as inputs, and nothing is sent. */
	char got[4];
	serial_write(port->serial, 4, 0x1a);
	assert_int_equal(serial_read(port->serial, 6) & 0xf0, 0x90);
	send(port, "x");
	assert_int_equal(read(port->out, got, sizeof(got)), -1);
	serial_write(port->serial, 1, 0xff);
	assert_int_equal(serial_read(port->serial, 1), 0x0f);
}

static void a_panic_is_remembered_and_the_first_one_counts(void **state)
{
	struct port *port = *state;
	char panic[SERIAL_PANIC_MAX];
	serial_panic(port->serial, panic);
	assert_string_equal(panic, "");
	send(port, "[    1.0] Kernel panic - not syncing: VFS: no root\r\n");
	send(port, "[    1.0] Kernel panic - not syncing: another\r\n");
	serial_panic(port->serial, panic);
	assert_string_equal(panic, "VFS: no root");
}

static void lines_of_any_length_are_sent_whole(void **state)
{
	struct port *port = *state;
	char panic[SERIAL_PANIC_MAX];
	char got[1024];
	for (int i = 0; i < 1000; i++)
		send(port, "y");
	send(port, "Kernel panic - not syncing: too far right\n");
	assert_int_equal(read(port->out, got, sizeof(got)), sizeof(got));
	serial_panic(port->serial, panic);
	assert_string_equal(panic, "");
}

static void registers_that_do_not_exist_read_as_ones(void **state)
{
	struct port *port = *state;
	serial_write(port->serial, 8, 1);
	assert_int_equal(serial_read(port->serial, 8), 0xff);
}

#define PORT(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PORT(what_is_sent_comes_out),
		PORT(the_divisor_is_not_sent),
		PORT(the_sent_interrupt_comes_and_goes),
		PORT(it_looks_like_a_16550a),
		PORT(a_panic_is_remembered_and_the_first_one_counts),
		PORT(lines_of_any_length_are_sent_whole),
		PORT(registers_that_do_not_exist_read_as_ones),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
