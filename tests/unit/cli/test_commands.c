#include "test.h"

#include "cli/command.h"

static void commands_are_sorted_and_told(void **state)
{
	(void)state;
	size_t len;
	const struct command *commands = command_all(&len);
	for (size_t i = 0; i < len; i++) {
		assert_true(i == 0 || strcmp(commands[i - 1].words, commands[i].words) < 0);
		assert_non_null(commands[i].run);
		assert_true(commands[i].summary[0] >= 'A' && commands[i].summary[0] <= 'Z');
	}
}

/* Every command answers --help before it touches anything. */
static void every_command_has_help(void **state)
{
	(void)state;
	size_t len;
	const struct command *commands = command_all(&len);
	for (size_t i = 0; i < len; i++) {
		struct cli cli = { .command = &commands[i] };
		AUTO_DONE(strv) argv = { 0 };
		strv_add(&argv, commands[i].words);
		strv_add(&argv, "--help");
		assert_int_equal(commands[i].run(&cli, 2, argv.items, NULL), 0);
		assert_null(cli.engine);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands_are_sorted_and_told),
		cmocka_unit_test(every_command_has_help),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
