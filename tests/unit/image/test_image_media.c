/* image_media - what is listed is known, and nothing else. */
#include "fixture.h"

static void every_compression_has_a_type_that_means_it(void **context)
{
	(void)context;
	for (int wanted = 0; wanted <= 2; wanted++) {
		struct err err = { 0 };
		int found = -1;
		const char *type = image_media_type(wanted);
		assert_int_equal(strncmp(type, OCI "layer.v1.tar", strlen(OCI "layer.v1.tar")), 0);
		assert_int_equal(image_media_compression(type, &found, &err), 0);
		assert_int_equal(found, wanted);
	}
}

static void other_types_are_no_layers(void **context)
{
	(void)context;
	static const char *const types[] = { MANIFEST, CONFIG, "", "text/plain", LAYER "x",
		OCI "layer.v1.tar+bzip2", NULL };
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		struct err err = { 0 };
		int found = -1;
		assert_int_equal(image_media_compression(types[i], &found, &err), -EOPNOTSUPP);
		assert_int_equal(err.kind, ERR_UNSUPPORTED);
		assert_int_equal(found, -1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_compression_has_a_type_that_means_it),
		cmocka_unit_test(other_types_are_no_layers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
