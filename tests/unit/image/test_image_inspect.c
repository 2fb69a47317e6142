/* image_inspect - Docker's shape. */
#include "fixture.h"

static void the_document_has_what_docker_clients_read(void **context)
{
	(void)context;
	struct err err = { 0 };
	AUTO_DONE(image_config) config = { 0 };
	assert_int_equal(
		image_config_parse(
			view_of("{\"architecture\":\"amd64\",\"os\":\"linux\",\"author\":\"me\","
				"\"created\":\"2023-05-18T22:34:17Z\",\"config\":{\"Env\":[\"A=1\"]"
				","
				"\"Labels\":{\"k\":\"v=w\"},\"Volumes\":{\"/v\":{}},\"Cmd\":[]},"
				"\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:" HEX_A
				"\"]}}"),
			&config, &err),
		0);
	AUTO_DONE(strv) references = { 0 };
	strv_add(&references, "docker.io/library/busybox:latest");
	strv_add(&references, "docker.io/library/busybox:1");
	strv_add(&references, "quay.io/x/y:z");
	const struct image_facts facts = {
		.id = { HEX_A },
		.manifest = { HEX_B },
		.references = &references,
		.size_bytes = 4261502,
	};
	AUTO_JSON document = image_inspect(&config, &facts);
	AUTO_FREE char *text = json_text(document, false);
	assert_string_equal(text,
		"{\"Id\":\"sha256:" HEX_A "\","
		"\"RepoTags\":[\"busybox:latest\",\"busybox:1\",\"quay.io/x/y:z\"],"
		"\"RepoDigests\":[\"busybox@sha256:" HEX_B "\",\"quay.io/x/y@sha256:" HEX_B "\"],"
		"\"Parent\":\"\",\"Comment\":\"\",\"Created\":\"2023-05-18T22:34:17Z\","
		"\"DockerVersion\":\"\",\"Author\":\"me\",\"Config\":{\"Hostname\":\"\","
		"\"Domainname\":\"\",\"User\":\"\",\"AttachStdin\":false,\"AttachStdout\":false,"
		"\"AttachStderr\":false,\"Tty\":false,\"OpenStdin\":false,\"StdinOnce\":false,"
		"\"Env\":[\"A=1\"],\"Cmd\":[],\"Image\":\"\",\"Volumes\":{\"/v\":{}},"
		"\"WorkingDir\":\"\",\"Entrypoint\":null,\"OnBuild\":null,"
		"\"Labels\":{\"k\":\"v=w\"}},\"Architecture\":\"amd64\",\"Os\":\"linux\","
		"\"Size\":4261502,\"GraphDriver\":{\"Data\":null,\"Name\":\"erofs\"},"
		"\"RootFS\":{\"Type\":\"layers\",\"Layers\":[\"sha256:" HEX_A "\"]},"
		"\"Metadata\":{\"LastTagTime\":\"0001-01-01T00:00:00Z\"}}");
}

static void an_image_that_says_nothing_has_empty_values(void **context)
{
	(void)context;
	struct image_config config = { 0 };
	const struct strv none = { 0 };
	const struct image_facts facts = { .id = { HEX_A }, .references = &none };
	AUTO_JSON document = image_inspect(&config, &facts);
	assert_int_equal(json_array_len(json_get_array(document, "RepoDigests")), 0);
	assert_string_equal(json_get_string(document, "Created"), "0001-01-01T00:00:00Z");
	assert_string_equal(json_get_string(document, "Os"), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_document_has_what_docker_clients_read),
		cmocka_unit_test(an_image_that_says_nothing_has_empty_values),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
