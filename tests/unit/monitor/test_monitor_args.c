#include "test.h"

#include "base/limits.h"
#include "wire/monitor_args.h"

static int parse(const struct strv *argv, struct monitor_args *args, struct err *err)
{
	return monitor_args_parse((int)argv->len, (const char *const *)argv->items, args, err);
}

static void what_is_written_is_read(void **state)
{
	(void)state;
	const char *const command[] = { "/bin/moat", "system", "reap", "x", NULL };
	struct monitor_args written, read;
	AUTO_DONE(strv) argv = { 0 };

	monitor_args_init(&written, "abc");
	written.run_dir = 5;
	written.data_dir = 6;
	written.init_pid = 4711;
	written.init_pidfd = 0;
	written.terminal = 1;
	written.exit_command = command;
	strv_add(&argv, "moat-monitor");
	monitor_args_format(&written, &argv);
	assert_int_equal(parse(&argv, &read, NULL), 0);
	assert_string_equal(read.id, "abc");
	assert_int_equal(read.log_limit_kib, LIMIT_LOG_BYTES / 1024);
	for (size_t i = 0; i <= ARRAY_LEN(command) - 1; i++)
		if (command[i] == NULL)
			assert_null(read.exit_command[i]);
		else
			assert_string_equal(read.exit_command[i], command[i]);
	read.id = written.id;
	read.exit_command = written.exit_command;
	assert_memory_equal(&read, &written, sizeof(read));
}

static void bad_options_are_named(void **state)
{
	(void)state;
	static const struct {
		const char *const argv[6];
		const char *words;
	} rows[] = {
		{ { "moat-monitor" }, "no workload id" },
		{ { "moat-monitor", "id", "run-dir=x" }, "run-dir=x: not a number in 0.." },
		{ { "moat-monitor", "id", "run-dir" }, "run-dir: not a number" },
		{ { "moat-monitor", "id", "terminal=2" }, "terminal=2: not a number in 0..1" },
		{ { "moat-monitor", "id", "colour=1" }, "unknown option: colour=1" },
		{ { "moat-monitor", "id" }, "run-dir and data-dir" },
		{ { "moat-monitor", "id", "run-dir=3", "data-dir=4", "init-pid=7" }, "init-pidfd" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct monitor_args args;
		struct err err = { 0 };
		int argc = 0;

		while (argc < 6 && rows[i].argv[argc] != NULL)
			argc++;
		assert_error(monitor_args_parse(argc, rows[i].argv, &args, &err), ERR_INVALID,
			rows[i].words);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(bad_options_are_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
