#include "test.h"

#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/report.h"
#include "vm/guest_link.h"
#include "wire/guest_msg.h"

struct end {
	struct loop *loop;
	struct guest_link *link;
	struct guest_decoder decoder;
	int guest, report, go; /* the other ends */
	int status;            /* -1: the machine runs */
};

static void on_ended(void *context, int status)
{
	struct end *e = context;
	assert_int_equal(e->status, -1);
	e->status = status;
}

static void end_open(struct end *e, const char *start, int tty)
{
	int stream[2], report[2], go[2];
	struct err err = { 0 };
	*e = (struct end){ .status = -1 };
	assert_int_equal(loop_new(&e->loop, &err), 0);
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stream), errno);
	assert_return_code(pipe2(report, O_CLOEXEC), errno);
	assert_return_code(pipe2(go, O_CLOEXEC), errno);
	AUTO_JSON config = json_new_object();
	json_set_string(config, "start", start);
	json_set_int(config, "report_fd", report[1]);
	json_set_int(config, "go_fd", go[0]);
	json_set_int(config, "tty_fd", tty);
	e->guest = stream[1];
	e->report = report[0];
	e->go = go[1];
	guest_decoder_init(&e->decoder, GUEST_START_MAX);
	assert_int_equal(guest_link_new(config, stream[0], e->loop, on_ended, e, &e->link, &err),
		0);
}

static void end_close(struct end *e)
{
	guest_link_free(e->link);
	loop_free(e->loop);
	guest_decoder_done(&e->decoder);
	(void)close(e->guest);
	(void)close(e->report);
	if (e->go >= 0)
		(void)close(e->go);
}

static void on_time(void *context)
{
	loop_stop(context, 0);
}

static void settle(struct end *e)
{
	for (unsigned i = 0; i < 2; i++) {
		struct loop_watch *timer = NULL;
		assert_int_equal(loop_watch_timer(e->loop, 0, on_time, e->loop, &timer, NULL), 0);
		assert_int_equal(loop_run(e->loop, NULL), 0);
		loop_remove(timer);
	}
}

static void say(struct end *e, enum guest_msg_type type, uint32_t value, const char *data)
{
	assert_int_equal(guest_msg_send(e->guest, type, value, data, strlen(data)), 0);
	settle(e);
}

static struct guest_msg hear(struct end *e)
{
	struct guest_msg msg = { 0 };
	struct pollfd wait = { .fd = e->guest, .events = POLLIN };
	settle(e);
	if (e->decoder.end > e->decoder.start || poll(&wait, 1, 0) == 1)
		assert_int_equal(guest_msg_receive(e->guest, &e->decoder, &msg), 0);
	return msg;
}

static void run_to_go(struct end *e)
{
	say(e, GUEST_HELLO, 0, "0.1");
	assert_int_equal(hear(e).type, GUEST_START);
	say(e, GUEST_READY, 0, "");
	assert_int_equal(report_wait(e->report, REPORT_IS_READY, 0, "x", NULL), 0);
	assert_int_equal(hear(e).type, 0);
	assert_int_equal(fd_write_all(e->go, "", 1), 0);
	assert_int_equal(hear(e).type, GUEST_GO);
}

static void run_to_started(struct end *e)
{
	run_to_go(e);
	say(e, GUEST_STARTED, 0, "");
	assert_int_equal(report_wait(e->report, REPORT_IS_STARTED, 0, "x", NULL), 0);
}

static void a_workload_runs_and_ends_with_its_status(void **state)
{
	(void)state;
	static const struct {
		uint32_t wait_status;
		int status;
	} rows[] = { { 0, 0 }, { 7 << 8, 7 }, { 255 << 8, 255 }, { 9, 137 }, { 15 | 0x80, 143 },
		{ UINT32_MAX, 255 } };
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct end e;
		end_open(&e, "{}", -1);
		run_to_started(&e);
		assert_int_equal(e.status, -1);
		say(&e, GUEST_EXITED, rows[i].wait_status, "");
		assert_int_equal(e.status, rows[i].status);
		end_close(&e);
	}
}

static void a_long_document_arrives_whole(void **state)
{
	(void)state;
	AUTO_FREE char *start = mem_new(1, GUEST_START_MAX + 1);
	memset(start, 'x', GUEST_START_MAX);
	struct end e;
	end_open(&e, start, -1);
	say(&e, GUEST_HELLO, 0, "0.1");
	assert_int_equal(fd_set_nonblocking(e.guest, true), 0);
	struct guest_msg msg = { 0 };
	int r;
	while ((r = guest_decoder_next(&e.decoder, &msg)) == 0) {
		ssize_t n = guest_decoder_read(&e.decoder, e.guest);
		assert_true(n > 0 || n == -EAGAIN);
		settle(&e);
	}
	assert_int_equal(r, 1);
	assert_int_equal(msg.data.len, GUEST_START_MAX);
	say(&e, GUEST_READY, 0, "");
	assert_int_equal(report_wait(e.report, REPORT_IS_READY, 0, "x", NULL), 0);
	end_close(&e);
}

static void a_failure_is_reported_with_its_kind(void **state)
{
	(void)state;
	static const struct {
		uint32_t kind;
		const char *line, *kind_name, *message;
		int status;
	} rows[] = {
		{ ERR_NO_COMMAND, "no such command: x", "ERR_NO_COMMAND", "no such command: x",
			127 },
		{ ERR_NOT_EXECUTABLE, "x", "ERR_NOT_EXECUTABLE", "x", 126 },
		{ 0, "", "ERR_SYSTEM", "the guest does not say why it failed", 125 },
		{ UINT32_MAX, "%s\n\033[31mred", "ERR_SYSTEM", "%s??[31mred", 125 },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct end e;
		struct err err = { 0 };
		end_open(&e, "{}", -1);
		run_to_go(&e);
		say(&e, GUEST_FAILED, rows[i].kind, rows[i].line);
		assert_true(report_wait(e.report, REPORT_IS_STARTED, 0, "x", &err) < 0);
		assert_string_equal(err_kind_name(err.kind), rows[i].kind_name);
		assert_string_equal(err.message, rows[i].message);
		assert_int_equal(e.status, rows[i].status);
		end_close(&e);
	}
}

static void a_launcher_that_gives_up_ends_the_machine(void **state)
{
	(void)state;
	struct end e;
	end_open(&e, "{}", -1);
	say(&e, GUEST_HELLO, 0, "0.1");
	say(&e, GUEST_READY, 0, "");
	(void)close(TAKE_FD(e.go));
	settle(&e);
	assert_int_equal(e.status, 125);
	end_close(&e);
}

static void what_is_out_of_turn_ends_the_machine(void **state)
{
	(void)state;
	static const enum guest_msg_type first[] = { GUEST_START, GUEST_READY, GUEST_GO,
		GUEST_STARTED, GUEST_EXITED, GUEST_RESIZE, GUEST_SIGNAL, GUEST_EXEC, GUEST_STDIN,
		GUEST_OUTPUT };
	static const enum guest_msg_type last[] = { GUEST_HELLO, GUEST_READY, GUEST_STARTED,
		GUEST_FAILED };
	for (size_t i = 0; i < ARRAY_LEN(first) + ARRAY_LEN(last); i++) {
		struct end e;
		end_open(&e, "{}", -1);
		bool is_first = i < ARRAY_LEN(first);
		if (!is_first)
			run_to_started(&e);
		say(&e, is_first ? first[i] : last[i - ARRAY_LEN(first)], 0, "");
		assert_int_equal(e.status, 125);
		struct err err = { 0 };
		int r = report_wait(e.report, REPORT_IS_STARTED, 0, "x", &err);
		assert_true(is_first ? r < 0 : r == 0);
		if (is_first)
			assert_string_equal(err.message, "the guest says something out of turn");
		end_close(&e);
	}
}

static void what_is_no_message_ends_the_machine(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct end e;
		struct err err = { 0 };
		end_open(&e, "{}", -1);
		const struct guest_msg_header header = { i == 0 ? 99u : GUEST_HELLO, 0,
			i == 1 ? 60000u : 5u };
		assert_int_equal(fd_write_all(e.guest, &header, sizeof(header)), 0);
		if (i == 2)
			(void)shutdown(e.guest, SHUT_WR);
		settle(&e);
		assert_int_equal(e.status, 125);
		assert_error(report_wait(e.report, REPORT_IS_READY, 0, "x", &err), ERR_SYSTEM,
			i == 2 ? "has closed its control stream" : "what is no message");
		end_close(&e);
	}
}

static void a_machine_that_fails_tells_who_waits_for_the_start(void **state)
{
	(void)state;
	struct end e;
	struct err why = { 0 }, err = { 0 };
	(void)err_set(&why, ERR_SYSTEM, "the guest's kernel panicked: at night");
	end_open(&e, "{}", -1);
	guest_link_failed(e.link, &why);
	assert_error(report_wait(e.report, REPORT_IS_READY, 0, "x", &err), ERR_SYSTEM, "at night");
	end_close(&e);

	end_open(&e, "{}", -1);
	run_to_started(&e);
	guest_link_failed(e.link, &why);
	assert_int_equal(report_wait(e.report, REPORT_IS_STARTED, 0, "x", &err), 0);
	end_close(&e);
}

static void the_size_of_the_terminal_follows(void **state)
{
	(void)state;
	int master, slave;
	struct winsize size = { .ws_row = 24, .ws_col = 80 };
	assert_return_code(openpty(&master, &slave, NULL, NULL, &size), errno);
	struct end e;
	end_open(&e, "{}", slave);
	struct termios modes;
	assert_return_code(tcgetattr(slave, &modes), errno);
	assert_false(modes.c_lflag & (ECHO | ICANON | ISIG));

	run_to_go(&e);
	struct guest_msg msg = hear(&e);
	assert_int_equal(msg.type, GUEST_RESIZE);
	assert_int_equal(msg.value, 24 << 16 | 80);
	say(&e, GUEST_STARTED, 0, "");
	/* As the kernel does it for a controlling terminal. */
	size = (struct winsize){ .ws_row = 50, .ws_col = 132 };
	assert_return_code(ioctl(master, TIOCSWINSZ, &size), errno);
	assert_return_code(kill(getpid(), SIGWINCH), errno);
	msg = hear(&e);
	assert_int_equal(msg.type, GUEST_RESIZE);
	assert_int_equal(msg.value, 50 << 16 | 132);
	end_close(&e);
	(void)close(master);
}

static void signals_to_the_machine_are_the_workloads(void **state)
{
	(void)state;
	static const int numbers[] = { SIGTERM, SIGINT, SIGUSR1, SIGHUP };
	struct end e;
	end_open(&e, "{}", -1);
	assert_return_code(kill(getpid(), SIGTERM), errno); /* nobody is there to get it */
	run_to_go(&e);
	say(&e, GUEST_STARTED, 0, "");
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		assert_return_code(kill(getpid(), numbers[i]), errno);
		struct guest_msg msg = hear(&e);
		assert_int_equal(msg.type, GUEST_SIGNAL);
		assert_int_equal(msg.value, numbers[i]);
	}
	end_close(&e);
}

static void the_document_may_be_a_file(void **state)
{
	const struct scratch *scratch = *state;
	assert_int_equal(file_write_at(scratch->fd, "start", 0600, V("{\"tty\": false}"), NULL), 0);
	int stream[2];
	struct end e = { .status = -1 };
	assert_int_equal(loop_new(&e.loop, NULL), 0);
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stream), errno);
	AUTO_JSON config = json_new_object();
	json_set_int(config, "start_fd", openat(scratch->fd, "start", O_RDONLY | O_CLOEXEC));
	json_set_int(config, "report_fd", dup(2));
	json_set_int(config, "go_fd", open("/dev/null", O_RDONLY | O_CLOEXEC));
	assert_int_equal(guest_link_new(config, stream[0], e.loop, on_ended, &e, &e.link, NULL), 0);
	e.guest = stream[1];
	guest_decoder_init(&e.decoder, 100);
	say(&e, GUEST_HELLO, 0, "0.1");
	assert_true(view_is(hear(&e).data, "{\"tty\": false}"));
	guest_link_free(e.link);
	loop_free(e.loop);
	guest_decoder_done(&e.decoder);
	(void)close(stream[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_workload_runs_and_ends_with_its_status),
		cmocka_unit_test(a_long_document_arrives_whole),
		cmocka_unit_test(a_failure_is_reported_with_its_kind),
		cmocka_unit_test(a_launcher_that_gives_up_ends_the_machine),
		cmocka_unit_test(what_is_out_of_turn_ends_the_machine),
		cmocka_unit_test(what_is_no_message_ends_the_machine),
		cmocka_unit_test(a_machine_that_fails_tells_who_waits_for_the_start),
		cmocka_unit_test(the_size_of_the_terminal_follows),
		cmocka_unit_test(signals_to_the_machine_are_the_workloads),
		IN_SCRATCH(the_document_may_be_a_file),
	};
	return cmocka_run_group_tests_name("guest_link", tests, NULL, NULL);
}
