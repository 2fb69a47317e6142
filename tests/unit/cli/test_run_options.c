#include "test.h"

#include "cli/command.h"

static const struct command command = { .words = "run", .arguments = "IMAGE [ARG...]" };

static int parse(const char *const *words, struct run_options *options, struct err *err)
{
	struct cli cli = { .command = &command };
	AUTO_DONE(strv) argv = { 0 };
	strv_add(&argv, "run");
	for (; *words != NULL; words++)
		strv_add(&argv, *words);
	bool help;
	return run_options_parse(&cli, (int)argv.len, argv.items, options, &help, err);
}

#define PARSE(options, err, ...) parse((const char *const[]){ __VA_ARGS__, NULL }, options, err)

static void options_end_at_the_image(void **state)
{
	(void)state;
	AUTO_DONE(run_options) options = { 0 };
	assert_int_equal(PARSE(&options, NULL, "--rm", "-it", "--name=x", "-e", "A=1", "image",
				 "sh", "-c", "--rm"),
		0);
	assert_string_equal(options.spec.image, "image");
	assert_int_equal(options.spec.args.len, 3);
	assert_string_equal(options.spec.args.items[2], "--rm");
	assert_true(options.spec.auto_remove && options.spec.interactive && options.spec.tty);
	assert_string_equal(options.spec.name, "x");
	assert_string_equal(strv_env(&options.spec.env, "A"), "1");
}

static void a_flag_takes_false(void **state)
{
	(void)state;
	AUTO_DONE(run_options) options = { 0 };
	assert_int_equal(PARSE(&options, NULL, "--rm", "--rm=false", "image"), 0);
	assert_false(options.spec.auto_remove);
}

static void an_empty_entrypoint_clears_the_images(void **state)
{
	(void)state;
	AUTO_DONE(run_options) options = { 0 };
	assert_int_equal(PARSE(&options, NULL, "--entrypoint", "", "image", "x"), 0);
	assert_true(options.spec.has_entrypoint);
	assert_int_equal(options.spec.entrypoint.len, 0);
}

static void limits_are_read_in_their_units(void **state)
{
	(void)state;
	AUTO_DONE(run_options) options = { 0 };
	assert_int_equal(PARSE(&options, NULL, "-m", "64m", "--cpus", "0.5", "--pids-limit", "20",
				 "image"),
		0);
	assert_int_equal(options.spec.memory_bytes, 64 * 1024 * 1024);
	assert_int_equal(options.spec.nano_cpus, 500000000);
	assert_int_equal(options.spec.pids_limit, 20);
}

static void bad_input_is_named(void **state)
{
	(void)state;
	static const struct {
		const char *words[4];
		const char *message;
	} rows[] = {
		{ { "--nosuch", "image" }, "unknown flag: --nosuch" },
		{ { "--name" }, "flag needs an argument" },
		{ { NULL }, "requires at least 1 argument" },
		{ { "-m", "5m", "image" }, "minimum is 6m" },
		{ { "-m", "lots", "image" }, "invalid value \"lots\" for flag --memory" },
		{ { "--cpus", "-1", "image" }, "--cpus" },
		{ { "--cpus", "5000", "image" }, "--cpus" },
		{ { "--network", "nosuch", "image" }, "network nosuch not found" },
		{ { "-v", "/x", "image" }, "SOURCE:TARGET" },
		{ { "-v", "name:/x", "image" }, "names a volume" },
		{ { "-v", "/tmp:x", "image" }, "absolute path" },
		{ { "-v", "/tmp:/", "image" }, "not the root" },
		{ { "-v", "/tmp:/x:odd", "image" }, "unknown mode \"odd\"" },
		{ { "--mount", "type=odd,target=/x", "image" }, "bind and tmpfs" },
		{ { "--mount", "type=bind,source=/tmp", "image" }, "no target" },
		{ { "--mount", "type=bind,target=/x,source=/nosuch", "image" }, "/nosuch" },
		{ { "-e", "=x", "image" }, "invalid environment variable" },
		{ { "--env-file", "/nosuch", "image" }, "/nosuch" },
		{ { "--stop-signal", "NOSUCH", "image" }, "invalid signal" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_DONE(run_options) options = { 0 };
		struct err err = { 0 };
		assert_true(parse(rows[i].words, &options, &err) < 0);
		assert_non_null(strstr(err.message, rows[i].message));
		assert_int_equal(err_exit_status(err.kind), 125);
	}
}

static void env_files_have_comments_and_bare_names(void **state)
{
	const struct scratch *scratch = *state;
	AUTO_FREE char *path = text_format("%s/env", scratch->path);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	static const char text[] = "# comment\nA=1\n\n  B=two words\r\nMOAT_TEST_OWN\nABSENT_ONE\n";
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	assert_int_equal(setenv("MOAT_TEST_OWN", "mine", 1), 0);
	AUTO_DONE(run_options) options = { 0 };
	/* -e comes after the files, wherever it stands. */
	assert_int_equal(PARSE(&options, NULL, "-e", "A=2", "--env-file", path, "image"), 0);
	assert_string_equal(strv_env(&options.spec.env, "A"), "2");
	assert_string_equal(strv_env(&options.spec.env, "B"), "two words");
	assert_string_equal(strv_env(&options.spec.env, "MOAT_TEST_OWN"), "mine");
	assert_null(strv_env(&options.spec.env, "ABSENT_ONE"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_end_at_the_image),
		cmocka_unit_test(a_flag_takes_false),
		cmocka_unit_test(an_empty_entrypoint_clears_the_images),
		cmocka_unit_test(limits_are_read_in_their_units),
		cmocka_unit_test(bad_input_is_named),
		IN_SCRATCH(env_files_have_comments_and_bare_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
