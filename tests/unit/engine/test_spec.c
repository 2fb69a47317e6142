#include "test.h"

#include "base/mem.h"
#include "engine/spec.h"

static const char id[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

struct command_case {
	const char *image_entrypoint, *image_cmd; /* words, or NULL */
	const char *entrypoint;                   /* the user's; "" clears */
	const char *args;
	const char *expected; /* NULL: no command */
};

static void add_words(struct strv *list, const char *words)
{
	struct view rest = view_of(words);
	while (rest.len > 0)
		strv_take(list, view_dup(view_cut(&rest, ' ')));
}

/* Docker's reference: "Understand how CMD and ENTRYPOINT interact", and run --entrypoint. */
static void the_command_follows_dockers_table(void **state)
{
	(void)state;
	static const struct command_case rows[] = {
		{ NULL, NULL, NULL, NULL, NULL },
		{ NULL, "c1 c2", NULL, NULL, "c1 c2" },
		{ NULL, "c1 c2", NULL, "x", "x" },
		{ "e1 e2", NULL, NULL, NULL, "e1 e2" },
		{ "e1 e2", "c1", NULL, NULL, "e1 e2 c1" },
		{ "e1 e2", "c1", NULL, "x y", "e1 e2 x y" },
		{ "e1", "c1", "u", NULL, "u" },
		{ "e1", "c1", "u", "x", "u x" },
		{ "e1", "c1", "", "x", "x" },
		{ "e1", "c1", "", NULL, NULL },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_DONE(image_config) config = { 0 };
		AUTO_DONE(workload_spec) spec = { .image = mem_strdup("image") };
		AUTO_DONE(strv) expected = { 0 };
		add_words(&config.entrypoint, rows[i].image_entrypoint);
		add_words(&config.cmd, rows[i].image_cmd);
		add_words(&spec.args, rows[i].args);
		add_words(&expected, rows[i].expected);
		if (rows[i].entrypoint != NULL) {
			spec.has_entrypoint = true;
			add_words(&spec.entrypoint, rows[i].entrypoint);
		}
		struct err err = { 0 };
		int r = workload_spec_resolve(&spec, &config, id, &err);
		if (rows[i].expected == NULL) {
			assert_int_equal(r, -EINVAL);
			assert_non_null(strstr(err.message, "no command"));
			continue;
		}
		assert_int_equal(r, 0);
		assert_int_equal(spec.args.len, expected.len);
		for (size_t k = 0; k < expected.len; k++)
			assert_string_equal(spec.args.items[k], expected.items[k]);
	}
}

static void the_users_environment_wins(void **state)
{
	(void)state;
	AUTO_DONE(image_config) config = { 0 };
	AUTO_DONE(workload_spec) spec = { .image = mem_strdup("image"), .tty = true };
	add_words(&config.cmd, "x");
	add_words(&config.env, "PATH=/image A=image B=image");
	add_words(&spec.env, "A=user");
	assert_int_equal(workload_spec_resolve(&spec, &config, id, NULL), 0);
	assert_string_equal(strv_env(&spec.env, "PATH"), "/image");
	assert_string_equal(strv_env(&spec.env, "A"), "user");
	assert_string_equal(strv_env(&spec.env, "B"), "image");
	assert_string_equal(strv_env(&spec.env, "TERM"), "xterm");
	assert_string_equal(strv_env(&spec.env, "HOSTNAME"), "0123456789ab");
	assert_string_equal(spec.hostname, "0123456789ab");
}

static void a_record_keeps_all_of_a_specification(void **state)
{
	(void)state;
	AUTO_DONE(workload_spec)
	spec = { .image = mem_strdup("image"),
		.name = mem_strdup("name"),
		.network = NETWORK_HOST,
		.tty = true,
		.memory_bytes = UINT64_C(1) << 40,
		.nano_cpus = 1500000000,
		.pids_limit = -1 };
	add_words(&spec.args, "a b");
	workload_spec_add_mount(&spec, (struct workload_mount){ .source = mem_strdup("/s"),
					       .target = mem_strdup("/t"),
					       .read_only = true });
	AUTO_JSON object = workload_spec_to_json(&spec);
	AUTO_FREE char *text = json_text(object, false);
	AUTO_DONE(workload_spec) back = { 0 };
	assert_int_equal(workload_spec_from_json(view_of(text), &back, NULL), 0);
	AUTO_JSON again = workload_spec_to_json(&back);
	AUTO_FREE char *text_again = json_text(again, false);
	assert_string_equal(text, text_again);
	assert_int_equal(back.network, NETWORK_HOST);
	assert_true(back.mounts_len == 1 && back.mounts[0].read_only);
}

static void what_is_not_utf8_is_refused(void **state)
{
	(void)state;
	AUTO_DONE(workload_spec) spec = { .image = mem_strdup("image") };
	add_words(&spec.args, "fine \xc3\xa4");
	assert_int_equal(workload_spec_check(&spec, NULL), 0);
	add_words(&spec.args, "odd\xa6");
	struct err err = { 0 };
	assert_error(workload_spec_check(&spec, &err), ERR_INVALID, "not valid UTF-8");
}

static void a_damaged_record_is_an_error(void **state)
{
	(void)state;
	static const char *const bad[] = { "", "[", "{\"mounts\":[{}]}", "{\"args\":[1]}",
		"{\"network\":\"odd\"}" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		AUTO_DONE(workload_spec) spec = { 0 };
		assert_true(workload_spec_from_json(view_of(bad[i]), &spec, NULL) < 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_command_follows_dockers_table),
		cmocka_unit_test(the_users_environment_wins),
		cmocka_unit_test(a_record_keeps_all_of_a_specification),
		cmocka_unit_test(what_is_not_utf8_is_refused),
		cmocka_unit_test(a_damaged_record_is_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
