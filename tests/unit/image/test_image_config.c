/* image_config - all of it read, nothing of the wrong type taken. */
#include "fixture.h"

#define ROOTFS "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:" HEX_A "\"]}"

static int parse(const char *text, struct image_config *config, struct err *err)
{
	*err = (struct err){ 0 };
	return image_config_parse(view_of(text), config, err);
}

static void every_field_is_read(void **context)
{
	(void)context;
	struct err err;
	AUTO_DONE(image_config) c = { 0 };
	assert_int_equal(
		parse("{\"architecture\":\"arm\",\"variant\":\"v7\",\"os\":\"linux\","
		      "\"author\":\"me\",\"created\":\"2023-05-18T22:34:17.5Z\",\"config\":{"
		      "\"User\":\"1:2\",\"Env\":[\"A=1\",\"B=\"],\"Entrypoint\":[\"/e\"],"
		      "\"Cmd\":[\"c\",\"d\"],\"WorkingDir\":\"/w\",\"StopSignal\":\"SIGINT\","
		      "\"Labels\":{\"l\":\"x=y\"},\"Volumes\":{\"/v\":{}},"
		      "\"ExposedPorts\":{\"80/tcp\":{}},\"Shell\":[\"/bin/sh\",\"-c\"]},"
		      "\"history\":[{\"created_by\":\"x\"}]," ROOTFS "}",
			&c, &err),
		0);
	assert_string_equal(c.architecture, "arm");
	assert_string_equal(c.variant, "v7");
	assert_string_equal(c.os, "linux");
	assert_string_equal(c.author, "me");
	assert_int_equal(c.created_ns, INT64_C(1684449257500000000));
	assert_string_equal(c.user, "1:2");
	assert_string_equal(c.working_dir, "/w");
	assert_string_equal(c.stop_signal, "SIGINT");
	assert_int_equal(c.env.len, 2);
	assert_string_equal(c.env.items[1], "B=");
	assert_true(c.has_entrypoint && c.has_cmd);
	assert_string_equal(c.entrypoint.items[0], "/e");
	assert_string_equal(c.cmd.items[1], "d");
	assert_string_equal(c.labels.items[0], "l=x=y");
	assert_string_equal(c.volumes.items[0], "/v");
	assert_string_equal(c.exposed_ports.items[0], "80/tcp");
	assert_int_equal(c.shell.len, 2);
	assert_int_equal(c.diff_ids_len, 1);
	assert_string_equal(c.diff_ids[0].hex, HEX_A);
}

static void what_is_absent_or_null_stays_empty(void **context)
{
	(void)context;
	static const char *const texts[] = {
		"{" ROOTFS "}",
		"{\"config\":null," ROOTFS "}",
		"{\"config\":{\"Cmd\":null,\"Env\":null,\"Labels\":null,\"User\":null}," ROOTFS "}",
		"{\"created\":\"0001-01-01T00:00:00Z\"," ROOTFS "}",
		"{\"created\":\"10m\"," ROOTFS "}",
		"{\"created\":7," ROOTFS "}",
	};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct err err;
		AUTO_DONE(image_config) c = { 0 };
		if (parse(texts[i], &c, &err) < 0)
			fail_msg("%s", err.message);
		assert_false(c.has_cmd || c.has_entrypoint);
		assert_null(c.user);
		assert_int_equal(c.env.len + c.cmd.len + c.labels.len, 0);
		assert_int_equal(c.created_ns, 0);
	}
}

static void an_empty_list_is_not_an_absent_one(void **context)
{
	(void)context;
	struct err err;
	AUTO_DONE(image_config) c = { 0 };
	assert_int_equal(parse("{\"config\":{\"Entrypoint\":[],\"Cmd\":[]},"
			       "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":null}}",
				 &c, &err),
		0);
	assert_true(c.has_entrypoint && c.has_cmd);
	assert_int_equal(c.entrypoint.len, 0);
	assert_int_equal(c.diff_ids_len, 0);
}

static void values_of_the_wrong_type_are_refused(void **context)
{
	(void)context;
	static const char *const wrong[] = {
		"[]",
		"null",
		"7",
		"",
		"{",
		"{}",
		"{\"rootfs\":[]}",
		"{\"rootfs\":{\"type\":\"btrfs\",\"diff_ids\":[]}}",
		"{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":{}}}",
		"{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[1]}}",
		"{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[null]}}",
		"{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:ab\"]}}",
		"{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" HEX_A "\"]}}",
		"{\"architecture\":1," ROOTFS "}",
		"{\"os\":\"li\\u0000nux\"," ROOTFS "}",
		"{\"config\":[]," ROOTFS "}",
		"{\"config\":\"x\"," ROOTFS "}",
		"{\"config\":{\"Env\":\"A=1\"}," ROOTFS "}",
		"{\"config\":{\"Env\":[1]}," ROOTFS "}",
		"{\"config\":{\"Env\":[\"A\\u0000=1\"]}," ROOTFS "}",
		"{\"config\":{\"Cmd\":{}}," ROOTFS "}",
		"{\"config\":{\"Cmd\":[[\"x\"]]}," ROOTFS "}",
		"{\"config\":{\"User\":0}," ROOTFS "}",
		"{\"config\":{\"Labels\":[]}," ROOTFS "}",
		"{\"config\":{\"Labels\":{\"a\":1}}," ROOTFS "}",
		"{\"config\":{\"Labels\":{\"a\":\"b\\u0000\"}}," ROOTFS "}",
		"{\"config\":{\"Volumes\":[\"/v\"]}," ROOTFS "}",
		"{" ROOTFS "} x",
	};
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct err err;
		struct image_config c = { 0 };
		if (parse(wrong[i], &c, &err) != -EINVAL)
			fail_msg("accepted: %s", wrong[i]);
		assert_true(err.message[0] != 0);
		assert_null(c.diff_ids);
	}
	struct err err;
	struct image_config c = { 0 };
	char zero[] = "{" ROOTFS "}\0";
	err = (struct err){ 0 };
	assert_int_equal(image_config_parse((struct view){ zero, sizeof(zero) }, &c, &err),
		-EINVAL);
}

static void too_many_layers_are_refused(void **context)
{
	(void)context;
	AUTO_DONE(text) text = { 0 };
	text_puts(&text, "{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:" HEX_A "\"");
	for (int i = 0; i < 128; i++)
		text_puts(&text, ",\"sha256:" HEX_A "\"");
	text_puts(&text, "]}}");
	struct err err;
	struct image_config c = { 0 };
	assert_int_equal(parse(text_string(&text), &c, &err), -E2BIG);
	assert_int_equal(err.kind, ERR_LIMIT);
}

static void a_made_configuration_is_deterministic_and_reads_back(void **context)
{
	(void)context;
	struct digest diff_id = { HEX_B };
	AUTO_FREE char *text = image_config_make(&diff_id, 1500000000, "Imported from -");
	AUTO_FREE char *again = image_config_make(&diff_id, 1500000000, "Imported from -");
	assert_string_equal(text, again);
	assert_null(strchr(text, '\n'));
	assert_non_null(strstr(text, "\"created\":\"1970-01-01T00:00:01.5Z\""));
	assert_non_null(strstr(text, "\"comment\":\"Imported from -\""));

	struct err err;
	AUTO_DONE(image_config) c = { 0 };
	assert_int_equal(parse(text, &c, &err), 0);
	assert_int_equal(c.created_ns, 1500000000);
	assert_string_equal(c.os, "linux");
	assert_int_equal(c.diff_ids_len, 1);
	assert_string_equal(c.diff_ids[0].hex, HEX_B);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_is_read),
		cmocka_unit_test(what_is_absent_or_null_stays_empty),
		cmocka_unit_test(an_empty_list_is_not_an_absent_one),
		cmocka_unit_test(values_of_the_wrong_type_are_refused),
		cmocka_unit_test(too_many_layers_are_refused),
		cmocka_unit_test(a_made_configuration_is_deterministic_and_reads_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
