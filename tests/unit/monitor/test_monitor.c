#include "test.h"

#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/num.h"
#include "rig.h"

#define OUTPUTS (MONITOR_STDOUT | MONITOR_STDERR)

static int wait_status(int code)
{
	return code << 8;
}

/* Checks the record: "STATUS OOM NS\n". */
static void assert_record(struct rig *rig, const char *start)
{
	AUTO_FREE char *record = rig_await_file(rig->data_dir, MONITOR_EXIT_FILE, "\n");

	assert_int_equal(strncmp(record, start, strlen(start)), 0);
}

static void output_goes_to_the_log_and_the_client(void **state)
{
	struct rig *rig = *state;
	AUTO_DONE(text) output = { 0 };

	rig_start(rig, &(struct rig_options){ .attach = OUTPUTS,
			       .script = "echo one; echo two >&2; echo three; exit 3" });
	rig_go(rig);
	assert_int_equal(rig_collect(rig, rig->client, MONITOR_STDOUT, &output), wait_status(3));
	assert_string_equal(text_string(&output), "one\nthree\n");
	assert_record(rig, "768 0 ");
	rig_await_end(rig);
	AUTO_FREE char *out = rig_log_text(rig, MONITOR_LOG, "stdout", NULL);
	AUTO_FREE char *errors = rig_log_text(rig, MONITOR_LOG, "stderr", NULL);
	assert_string_equal(out, "one\nthree\n");
	assert_string_equal(errors, "two\n");
}

static void an_unfinished_line_is_logged_soon_and_at_the_end(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, &(struct rig_options){ .stdin_fifo = true,
			       .attach = MONITOR_STDIN_BIT,
			       .script = "printf 'password: '; read x; printf \"$x\"" });
	rig_go(rig);
	AUTO_FREE char *prompt =
		rig_await_file(rig->data_dir, MONITOR_LOG, " stdout P password: \n");
	rig_send(rig->client, MONITOR_STDIN, 0, "yes\n", 4);
	assert_int_equal(rig_collect(rig, rig->client, MONITOR_STDOUT, NULL), 0);
	rig_await_end(rig);
	AUTO_FREE char *log = rig_log(rig, MONITOR_LOG);
	assert_non_null(strstr(log, " stdout P yes\n"));
}

static void a_killed_workload_has_its_signal_recorded(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, &(struct rig_options){ .attach = OUTPUTS,
			       .oom_events = "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
			       .script = "kill -9 $$" });
	rig_go(rig);
	assert_int_equal(rig_collect(rig, rig->client, MONITOR_STDOUT, NULL), SIGKILL);
	assert_record(rig, "9 1 ");
	rig_await_end(rig);
}

static void an_init_that_never_started_is_recorded(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, &(struct rig_options){ .attach = OUTPUTS, .script = "exit 0" });
	assert_int_equal(kill(rig->init, SIGTERM), 0);
	assert_int_equal(rig_collect(rig, rig->client, MONITOR_STDOUT, NULL), SIGTERM);
	assert_record(rig, "15 0 ");
	rig_await_end(rig);
}

/* Numbered lines, so that each loss shows. */
static void assert_numbers(const char *text, size_t len, uint64_t from, uint64_t to)
{
	struct view rest = { text, len };

	for (uint64_t i = from; i <= to; i++) {
		uint64_t number;
		struct view line = view_cut(&rest, '\n');
		assert_int_equal(num_parse_u64(line, UINT64_MAX, &number), 0);
		assert_int_equal(number, i);
	}
	assert_int_equal(rest.len, 0);
}

static void every_client_gets_everything_in_order(void **state)
{
	struct rig *rig = *state;
	AUTO_DONE(text) first = { 0 };
	AUTO_DONE(text) second = { 0 };

	rig_start(rig, &(struct rig_options){ .attach = OUTPUTS,
			       .script = "busybox seq 30000; exec busybox seq 30001 60000" });
	AUTO_CLOSE int other = rig_connect(rig, MONITOR_STDOUT);
	rig_go(rig);
	/* One after the other: the second waits, so the workload does, and the first gets the rest
	 * only when the second reads; what is left in the end fits their sockets. */
	int type;
	while ((type = rig_receive(rig, rig->client)) == MONITOR_OUTPUT) {
		text_add(&first, (const char *)rig->message->data, (size_t)rig->message_len);
		assert_int_equal(rig_receive(rig, other), MONITOR_OUTPUT);
		text_add(&second, (const char *)rig->message->data, (size_t)rig->message_len);
	}
	assert_int_equal(type, MONITOR_EXIT);
	assert_int_equal(rig_collect(rig, other, MONITOR_STDOUT, &second), 0);
	assert_numbers(first.data, first.len, 1, 60000);
	assert_numbers(second.data, second.len, 1, 60000);
	rig_await_end(rig);
	size_t len;
	AUTO_FREE char *log = rig_log_text(rig, MONITOR_LOG, "stdout", &len);
	assert_numbers(log, len, 1, 60000);
}

static void a_client_that_does_not_read_stops_the_workload(void **state)
{
	struct rig *rig = *state;
	AUTO_DONE(text) output = { 0 };

	rig_start(rig, &(struct rig_options){ .attach = OUTPUTS,
			       .script = "busybox seq 400000; echo > $DATA/done; exit 5" });
	rig_go(rig);
	/* 2.7 MB do not fit into a socket and a FIFO: nothing moves any more. */
	struct stat before = { 0 }, after = { 0 };
	for (int calm = 0; calm < 20;) {
		before = after;
		(void)usleep(10000);
		assert_int_equal(fstatat(rig->data_dir, MONITOR_LOG, &after, 0), 0);
		calm = before.st_size == after.st_size ? calm + 1 : 0;
	}
	assert_int_equal(faccessat(rig->data_dir, "done", F_OK, 0), -1);
	assert_true(rig_memory_kib(rig, "Pss_Anon") < 256);
	/* Another may come meanwhile and is answered. */
	AUTO_CLOSE int other = rig_connect(rig, MONITOR_STDERR);
	assert_int_equal(rig_collect(rig, rig->client, MONITOR_STDOUT, &output), wait_status(5));
	assert_numbers(output.data, output.len, 1, 400000);
	rig_await_end(rig);
	size_t len;
	AUTO_FREE char *log = rig_log_text(rig, MONITOR_LOG, "stdout", &len);
	assert_numbers(log, len, 1, 400000);
}

static void the_exit_is_recorded_though_a_client_does_not_read(void **state)
{
	struct rig *rig = *state;
	AUTO_DONE(text) output = { 0 };

	/* Killed while its client has not read for long: FIFO and batch are full. */
	rig_start(rig, &(struct rig_options){ .attach = OUTPUTS,
			       .script = "echo last words >&2; exec busybox seq 1000000" });
	rig_go(rig);
	struct stat before = { 0 }, after = { 0 };
	for (int calm = 0; calm < 20;) {
		before = after;
		(void)usleep(10000);
		assert_int_equal(fstatat(rig->data_dir, MONITOR_LOG, &after, 0), 0);
		calm = before.st_size == after.st_size ? calm + 1 : 0;
	}
	assert_int_equal(kill(rig->init, SIGKILL), 0);
	assert_record(rig, "9 0 ");
	/* The next command may take over. */
	AUTO_CLOSE int lock = openat(rig->run_dir, MONITOR_LOCK, O_RDWR | O_CLOEXEC);
	assert_int_equal(fd_lock(lock, true, 5000), 0);
	assert_int_equal(rig_collect(rig, rig->client, MONITOR_STDOUT, &output), SIGKILL);
	rig_await_end(rig);
	size_t len;
	AUTO_FREE char *log = rig_log_text(rig, MONITOR_LOG, "stdout", &len);
	assert_int_equal(len, output.len);
	assert_memory_equal(log, output.data, len);
	assert_true(len > 2 * MONITOR_MSG_DATA_MAX);
}

static void a_client_that_is_gone_is_forgotten(void **state)
{
	struct rig *rig = *state;

	rig_start(rig,
		&(struct rig_options){ .attach = OUTPUTS, .script = "exec busybox seq 300000" });
	int other = rig_connect(rig, OUTPUTS);
	rig_go(rig);
	assert_int_equal(rig_receive(rig, other), MONITOR_OUTPUT);
	(void)close(other);
	(void)close(TAKE_FD(rig->client));
	rig_await_end(rig);
	size_t len;
	AUTO_FREE char *log = rig_log_text(rig, MONITOR_LOG, "stdout", &len);
	assert_numbers(log, len, 1, 300000);
}

static void one_client_too_many_is_refused(void **state)
{
	struct rig *rig = *state;
	int clients[LIMIT_ATTACH_CLIENTS];

	rig_start(rig, &(struct rig_options){ .script = "echo hello" });
	for (size_t i = 0; i < ARRAY_LEN(clients); i++)
		clients[i] = rig_connect(rig, OUTPUTS);
	AUTO_CLOSE int late = rig_connect(rig, 0);
	assert_int_equal(rig_receive(rig, late), MONITOR_REFUSED);
	assert_int_equal(rig_receive(rig, late), -ENODATA);
	/* A place that becomes free is given again. */
	rig_send(clients[3], MONITOR_DETACH, 0, NULL, 0);
	assert_int_equal(rig_receive(rig, clients[3]), -ENODATA);
	(void)close(clients[3]);
	clients[3] = rig_connect(rig, OUTPUTS);
	rig_go(rig);
	for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
		AUTO_DONE(text) output = { 0 };
		assert_int_equal(rig_collect(rig, clients[i], MONITOR_STDOUT, &output), 0);
		assert_string_equal(text_string(&output), "hello\n");
		(void)close(clients[i]);
	}
	rig_await_end(rig);
}

static void what_is_no_message_ends_the_connection(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, &(struct rig_options){ .script = "exit 0" });
	AUTO_CLOSE int one = rig_connect(rig, 0);
	AUTO_CLOSE int two = rig_connect(rig, OUTPUTS);
	assert_int_equal(write(one, "abc", 3), 3);
	assert_int_equal(rig_receive(rig, one), -ENODATA);
	rig_send(two, (enum monitor_msg_type)99, 0, NULL, 0);
	assert_int_equal(rig_receive(rig, two), -ENODATA);
	rig_go(rig);
	rig_await_end(rig);
}

static void input_reaches_the_workload_and_ends(void **state)
{
	struct rig *rig = *state;
	AUTO_DONE(text) output = { 0 };

	rig_start(rig, &(struct rig_options){ .stdin_fifo = true,
			       .attach = OUTPUTS | MONITOR_STDIN_BIT,
			       .script = "exec busybox cat" });
	rig_go(rig);
	rig_send(rig->client, MONITOR_STDIN, 0, "hello\n", 6);
	assert_int_equal(rig_receive(rig, rig->client), MONITOR_OUTPUT);
	rig_send(rig->client, MONITOR_STDIN, 0, "bye\n", 4);
	rig_send(rig->client, MONITOR_STDIN, 0, NULL, 0);
	assert_int_equal(rig_collect(rig, rig->client, MONITOR_STDOUT, &output), 0);
	assert_string_equal(text_string(&output), "bye\n");
	rig_await_end(rig);
}

static void much_input_of_a_client_that_went_arrives_whole(void **state)
{
	struct rig *rig = *state;
	AUTO_DONE(text) numbers = { 0 };

	/* stdin_once: its end is the client's going. */
	rig_start(rig, &(struct rig_options){ .stdin_fifo = true,
			       .stdin_once = true,
			       .attach = MONITOR_STDIN_BIT,
			       .script = "read first; echo $first; exec busybox cat" });
	rig_go(rig);
	for (int i = 1; i <= 30000; i++)
		text_printf(&numbers, "%d\n", i);
	for (size_t done = 0; done < numbers.len;) {
		size_t len = numbers.len - done < 10000 ? numbers.len - done : 10000;
		rig_send(rig->client, MONITOR_STDIN, 0, numbers.data + done, len);
		done += len;
	}
	(void)close(TAKE_FD(rig->client));
	rig_await_end(rig);
	size_t len;
	AUTO_FREE char *log = rig_log_text(rig, MONITOR_LOG, "stdout", &len);
	assert_numbers(log, len, 1, 30000);
}

static void a_workload_that_does_not_read_holds_its_client_only(void **state)
{
	struct rig *rig = *state;
	static const char block[MONITOR_MSG_DATA_MAX] = { 'x' };

	rig_start(rig, &(struct rig_options){ .stdin_fifo = true,
			       .attach = MONITOR_STDIN_BIT,
			       .script = "until [ -e $DATA/stop ]; do busybox usleep 10000; done; "
					 "echo done" });
	rig_go(rig);
	assert_int_equal(fd_set_nonblocking(rig->client, true), 0);
	int sent = 0, r;
	while ((r = monitor_send(rig->client, MONITOR_STDIN, 0, block, sizeof(block))) == 0 &&
		sent < 1000)
		sent++;
	assert_int_equal(r, -EAGAIN);
	AUTO_CLOSE int other = rig_connect(rig, OUTPUTS);
	assert_int_equal(file_write_at(rig->data_dir, "stop", 0600, V(""), NULL), 0);
	assert_int_equal(rig_collect(rig, other, MONITOR_STDOUT, NULL), 0);
	assert_int_equal(rig_collect(rig, rig->client, MONITOR_STDOUT, NULL), 0);
	rig_await_end(rig);
}

static void a_terminal_has_a_size_and_echoes(void **state)
{
	struct rig *rig = *state;
	AUTO_DONE(text) output = { 0 };

	rig_start(rig, &(struct rig_options){ .terminal = true,
			       .attach = OUTPUTS | MONITOR_STDIN_BIT,
			       .script = "busybox stty size; read line; busybox stty size; "
					 "echo got $line; exit 4" });
	assert_int_equal(rig->message->value, 1);
	/* This one is before the workload's first look, the other while it reads. */
	rig_send(rig->client, MONITOR_RESIZE, 33 << 16 | 99, NULL, 0);
	AUTO_CLOSE int other = rig_connect(rig, OUTPUTS);
	rig_go(rig);
	while (strstr(text_string(&output), "33 99") == NULL) {
		assert_int_equal(rig_receive(rig, rig->client), MONITOR_OUTPUT);
		text_add(&output, (const char *)rig->message->data, (size_t)rig->message_len);
	}
	rig_send(rig->client, MONITOR_RESIZE, 40 << 16 | 120, NULL, 0);
	rig_send(rig->client, MONITOR_STDIN, 0, NULL, 0); /* means nothing here */
	rig_send(rig->client, MONITOR_STDIN, 0, "word\n", 5);
	assert_int_equal(rig_collect(rig, rig->client, MONITOR_STDOUT, &output), wait_status(4));
	assert_string_equal(text_string(&output), "33 99\r\nword\r\n40 120\r\ngot word\r\n");
	rig_await_end(rig);
	AUTO_FREE char *log = rig_log_text(rig, MONITOR_LOG, "stdout", NULL);
	assert_string_equal(log, text_string(&output));
}

static void the_last_output_of_a_terminal_is_not_lost(void **state)
{
	struct rig *rig = *state;
	AUTO_DONE(text) output = { 0 };

	rig_start(rig, &(struct rig_options){ .terminal = true,
			       .attach = OUTPUTS,
			       .script = "busybox stty -opost; exec busybox seq 20000" });
	rig_go(rig);
	assert_int_equal(rig_collect(rig, rig->client, MONITOR_STDOUT, &output), 0);
	assert_numbers(output.data, output.len, 1, 20000);
	rig_await_end(rig);
}

static void the_log_is_rotated_between_records(void **state)
{
	struct rig *rig = *state;

	rig_start(rig,
		&(struct rig_options){ .log_limit_kib = 512, .script = "exec busybox seq 30000" });
	rig_go(rig);
	rig_await_end(rig);
	struct stat old, new;
	assert_int_equal(fstatat(rig->data_dir, MONITOR_LOG_OLD, &old, 0), 0);
	assert_int_equal(fstatat(rig->data_dir, MONITOR_LOG, &new, 0), 0);
	assert_true(old.st_size <= 512 * 1024 && new.st_size <= 512 * 1024);
	size_t old_len, new_len;
	AUTO_FREE char *before = rig_log_text(rig, MONITOR_LOG_OLD, "stdout", &old_len);
	AUTO_FREE char *after = rig_log_text(rig, MONITOR_LOG, "stdout", &new_len);
	AUTO_DONE(text) all = { 0 };
	text_add(&all, before, old_len);
	text_add(&all, after, new_len);
	int64_t first;
	struct view rest = view_of_text(&all);
	assert_int_equal(num_parse(view_cut(&rest, '\n'), 1, 30000, &first), 0);
	assert_numbers(all.data, all.len, (uint64_t)first, 30000);
}

static void a_full_disk_does_not_stop_the_workload(void **state)
{
	struct rig *rig = *state;
	AUTO_DONE(text) output = { 0 };

	rig_start(rig, &(struct rig_options){ .attach = OUTPUTS,
			       .data_is_tiny = true,
			       .script = "busybox dd if=/dev/zero of=$DATA/ballast bs=4k count=40 "
					 "2>/dev/null; busybox seq 20000; busybox usleep 300000; "
					 "busybox rm $DATA/ballast; echo space again" });
	rig_go(rig);
	assert_int_equal(rig_collect(rig, rig->client, MONITOR_STDOUT, &output), 0);
	assert_true(output.len > 13 && strcmp(output.data + output.len - 12, "space again\n") == 0);
	assert_numbers(output.data, output.len - 12, 1, 20000);
	assert_record(rig, "0 0 ");
	rig_await_end(rig);
	AUTO_FREE char *text = rig_log_text(rig, MONITOR_LOG, "stdout", NULL);
	AUTO_FREE char *notes = rig_log_text(rig, MONITOR_LOG, "stderr", NULL);
	assert_non_null(strstr(text, "\nspace again\n"));
	assert_non_null(strstr(notes, "bytes of log are missing here: No space left on device"));
}

static void a_record_that_does_not_fit_goes_to_the_run_directory(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, &(struct rig_options){ .data_is_tiny = true,
			       .script = "busybox dd if=/dev/zero of=$DATA/ballast bs=4k "
					 "count=100 2>/dev/null; exit 7" });
	rig_go(rig);
	rig_await_end(rig);
	AUTO_FREE char *record = rig_await_file(rig->run_dir, MONITOR_EXIT_FILE, "1792 0 ");
}

static void an_adopted_workload_loses_no_line(void **state)
{
	struct rig *rig = *state;
	const struct rig_options options = {
		.script = "busybox seq 100; until [ -e $DATA/go ]; do busybox usleep 1000; done; "
			  "busybox seq 101 5000; echo > $DATA/more; "
			  "until [ -e $DATA/stop ]; do busybox usleep 1000; done; "
			  "busybox seq 5001 6000; exit 6"
	};

	rig_start(rig, &options);
	rig_go(rig);
	free(rig_await_file(rig->data_dir, MONITOR_LOG, " 100\n"));
	rig_kill_monitor(rig);
	/* What it says while nobody is there stays in the FIFO. */
	assert_int_equal(file_write_at(rig->data_dir, "go", 0600, V(""), NULL), 0);
	free(rig_await_file(rig->data_dir, "more", "\n"));
	rig_adopt(rig, &options);
	AUTO_CLOSE int client = rig_connect(rig, OUTPUTS);
	assert_int_equal(file_write_at(rig->data_dir, "stop", 0600, V(""), NULL), 0);
	/* As the test is the subreaper, it is the new parent that reaps. */
	assert_int_equal(waitpid(rig->init, NULL, 0), rig->init);
	rig->init = 0;
	uint32_t status = rig_collect(rig, client, MONITOR_STDOUT, NULL);
	rig_await_end(rig);
	if (status == MONITOR_STATUS_UNKNOWN) {
		print_message("this kernel does not tell a stranger's exit status\n");
		assert_record(rig, "unknown 0 ");
	} else {
		assert_int_equal(status, wait_status(6));
		assert_record(rig, "1536 0 ");
	}
	size_t len;
	AUTO_FREE char *log = rig_log_text(rig, MONITOR_LOG, "stdout", &len);
	assert_numbers(log, len, 1, 6000);
}

static void a_workload_that_ended_unwatched_is_recorded_as_unknown(void **state)
{
	struct rig *rig = *state;
	const struct rig_options options = {
		.script = "until [ -e $DATA/go ]; do busybox usleep 1000; done; echo bye"
	};

	rig_start(rig, &options);
	rig_go(rig);
	rig_kill_monitor(rig);
	/* The FIFO must outlive the workload for its content to. */
	AUTO_CLOSE int fifo = openat(rig->run_dir, MONITOR_FIFO_STDOUT, O_RDWR | O_CLOEXEC);
	assert_int_equal(file_write_at(rig->data_dir, "go", 0600, V(""), NULL), 0);
	assert_int_equal(waitpid(rig->init, NULL, 0), rig->init);
	rig_adopt(rig, &options);
	rig->init = 0;
	rig_await_end(rig);
	assert_record(rig, "unknown 0 ");
	AUTO_FREE char *log = rig_log_text(rig, MONITOR_LOG, "stdout", NULL);
	assert_string_equal(log, "bye\n");
}

static void the_exit_command_runs_unless_the_client_has_cleaned_up(void **state)
{
	struct rig *rig = *state;
	AUTO_FREE char *script = text_format("echo ran > %s/data/cleaned", rig->path);
	const char *const command[] = { "/bin/busybox", "sh", "-c", script, NULL };
	static const struct {
		uint32_t attach;
		bool says_cleaned, runs;
	} rows[] = { { OUTPUTS, false, true }, { OUTPUTS | MONITOR_WILL_CLEAN, false, true },
		{ OUTPUTS | MONITOR_WILL_CLEAN, true, false }, { OUTPUTS, true, true } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		void *other_state;
		assert_int_equal(rig_make(&other_state), 0);
		struct rig *r = other_state;
		rig_start(r, &(struct rig_options){ .attach = rows[i].attach,
				     .exit_command = command,
				     .script = "exit 0" });
		rig_go(r);
		assert_int_equal(rig_collect(r, r->client, MONITOR_STDOUT, NULL), 0);
		if (rows[i].says_cleaned)
			(void)!monitor_send(r->client, MONITOR_CLEANED, 0, NULL, 0);
		(void)close(TAKE_FD(r->client));
		rig_await_end(r);
		if (rows[i].runs)
			free(rig_await_file(rig->data_dir, "cleaned", "ran\n"));
		else
			assert_int_equal(faccessat(rig->data_dir, "cleaned", F_OK, 0), -1);
		(void)unlinkat(rig->data_dir, "cleaned", 0);
		assert_int_equal(rig_remove(&other_state), 0);
	}
}

static void it_survives_the_signals_of_its_terminal(void **state)
{
	struct rig *rig = *state;
	static const int signals[] = { SIGHUP, SIGINT, SIGTERM, SIGQUIT };

	rig_start(rig, &(struct rig_options){ .attach = OUTPUTS, .script = "echo alive" });
	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		assert_int_equal(kill(rig->monitor, signals[i]), 0);
	assert_int_equal(getsid(rig->monitor), rig->monitor);
	rig_go(rig);
	assert_int_equal(rig_collect(rig, rig->client, MONITOR_STDOUT, NULL), 0);
	rig_await_end(rig);
}

static void it_is_small_while_idle(void **state)
{
	struct rig *rig = *state;

	rig_start(rig, &(struct rig_options){ .stdin_fifo = true,
			       .attach = OUTPUTS,
			       .script = "busybox seq 100000; echo > $DATA/done; read x" });
	rig_go(rig);
	while (rig_receive(rig, rig->client) == MONITOR_OUTPUT && rig->message_len > 0)
		if (memmem(rig->message->data, rig->message_len, "\n100000\n", 8) != NULL)
			break;
	/* Its pages are given back one or two ticks after the last output. */
	unsigned kib = UINT32_MAX;
	for (int i = 0; i < 1000 && kib > 120; i++) {
		(void)usleep(10000);
		kib = rig_memory_kib(rig, "Pss_Anon");
	}
	print_message("idle: Pss %u KiB, anonymous %u KiB\n", rig_memory_kib(rig, "Pss"), kib);
	assert_true(kib <= 120);
	(void)kill(rig->init, SIGKILL);
	rig_await_end(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_RIG(output_goes_to_the_log_and_the_client),
		ON_RIG(an_unfinished_line_is_logged_soon_and_at_the_end),
		ON_RIG(a_killed_workload_has_its_signal_recorded),
		ON_RIG(an_init_that_never_started_is_recorded),
		ON_RIG(every_client_gets_everything_in_order),
		ON_RIG(a_client_that_does_not_read_stops_the_workload),
		ON_RIG(the_exit_is_recorded_though_a_client_does_not_read),
		ON_RIG(a_client_that_is_gone_is_forgotten),
		ON_RIG(one_client_too_many_is_refused),
		ON_RIG(what_is_no_message_ends_the_connection),
		ON_RIG(input_reaches_the_workload_and_ends),
		ON_RIG(much_input_of_a_client_that_went_arrives_whole),
		ON_RIG(a_workload_that_does_not_read_holds_its_client_only),
		ON_RIG(a_terminal_has_a_size_and_echoes),
		ON_RIG(the_last_output_of_a_terminal_is_not_lost),
		ON_RIG(the_log_is_rotated_between_records),
		ON_RIG(a_full_disk_does_not_stop_the_workload),
		ON_RIG(a_record_that_does_not_fit_goes_to_the_run_directory),
		ON_RIG(an_adopted_workload_loses_no_line),
		ON_RIG(a_workload_that_ended_unwatched_is_recorded_as_unknown),
		ON_RIG(the_exit_command_runs_unless_the_client_has_cleaned_up),
		ON_RIG(it_survives_the_signals_of_its_terminal),
		ON_RIG(it_is_small_while_idle),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
