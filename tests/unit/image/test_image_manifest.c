/* image_manifest - made ones are deterministic and read back. */
#include "fixture.h"

static void a_made_manifest_has_one_form(void **context)
{
	(void)context;
	const struct image_descriptor config = { { HEX_A }, 7, CONFIG };
	const struct image_descriptor layers[] = {
		{ { HEX_B }, UINT64_C(1) << 39, image_media_type(1) },
		{ { HEX_A }, 0, image_media_type(2) },
	};
	AUTO_FREE char *text = image_manifest_make(&config, layers, 2);
	assert_string_equal(text,
		"{\"schemaVersion\":2,\"mediaType\":\"" MANIFEST
		"\",\"config\":{\"mediaType\":\"" CONFIG "\",\"digest\":\"sha256:" HEX_A
		"\",\"size\":7},\"layers\":[{\"mediaType\":\"" LAYER "\",\"digest\":\"sha256:" HEX_B
		"\",\"size\":549755813888},"
		"{\"mediaType\":\"" OCI "layer.v1.tar+zstd\",\"digest\":\"sha256:" HEX_A
		"\",\"size\":0}]}");
}

static void a_made_image_loads_from_a_layout(void **context)
{
	struct fixture *f = *context;
	struct digest diff_id = { HEX_B };
	AUTO_FREE char *config = image_config_make(&diff_id, 0, NULL);
	free(put_blob(f, CONFIG, config));
	struct image_descriptor descriptor = { .size = strlen(config), .media_type = CONFIG };
	assert_int_equal(digest_of(view_of(config), &descriptor.digest, &f->err), 0);
	const struct image_descriptor layer = { { HEX_A }, 5, image_media_type(0) };
	AUTO_FREE char *text = image_manifest_make(&descriptor, &layer, 1);
	AUTO_FREE char *manifest = put_blob(f, MANIFEST, text);
	AUTO_FREE char *list = text_format("%s}", manifest);
	put_index(f, list);
	assert_int_equal(fixture_load(f), 0);
	assert_string_equal(f->archive.images[0].layers[0].diff_id.hex, HEX_B);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_made_manifest_has_one_form),
		IMAGE_TEST(a_made_image_loads_from_a_layout),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
