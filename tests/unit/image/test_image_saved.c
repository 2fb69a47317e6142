/* image_saved - the documents of an archive that moat writes. */
#include "fixture.h"

#define DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"

static void documents_name_images_and_their_blobs(void **context)
{
	(void)context;
	struct digest layers[] = { { HEX_A }, { HEX_B } };
	struct image_saved images[] = {
		{ .manifest = { { HEX_A }, 5, MANIFEST },
			.config = { HEX_B },
			.layers = layers,
			.layers_len = 2 },
		{ .manifest = { { HEX_B }, 6, DOCKER_MANIFEST }, .config = { HEX_A } },
	};
	strv_add(&images[0].references, "docker.io/library/busybox:1.2");
	strv_add(&images[0].references, "localhost:5000/a/b:latest");
	AUTO_FREE char *index = image_saved_index(images, 2);
	AUTO_FREE char *list = image_saved_list(images, 2);
	strv_done(&images[0].references);
#define DESCRIPTOR "{\"mediaType\":\"" MANIFEST "\",\"digest\":\"sha256:" HEX_A "\",\"size\":5,"
	assert_string_equal(index,
		"{\"schemaVersion\":2,\"mediaType\":\"" OCI
		"index.v1+json\",\"manifests\":[" DESCRIPTOR
		"\"annotations\":{\"io.containerd.image.name\":"
		"\"docker.io/library/"
		"busybox:1.2\",\"org.opencontainers.image.ref.name\":\"1.2\"}}," DESCRIPTOR
		"\"annotations\":{\"io.containerd.image.name\":"
		"\"localhost:5000/a/b:latest\",\"org.opencontainers.image.ref.name\":\"latest\"}},"
		"{\"mediaType\":\"" DOCKER_MANIFEST "\",\"digest\":\"sha256:" HEX_B
		"\",\"size\":6}]}");
	assert_string_equal(list,
		"[{\"Config\":\"blobs/sha256/" HEX_B
		"\",\"RepoTags\":[\"busybox:1.2\",\"localhost:5000/a/b:latest\"],"
		"\"Layers\":[\"blobs/sha256/" HEX_A "\",\"blobs/sha256/" HEX_B "\"]},"
		"{\"Config\":\"blobs/sha256/" HEX_A "\",\"RepoTags\":null,\"Layers\":[]}]");
}

static void a_manifest_says_what_it_is(void **context)
{
	static const struct {
		const char *text, *media_type;
	} cases[] = {
		{ "{\"schemaVersion\":2}", MANIFEST },
		{ "{\"mediaType\":\"" MANIFEST "\"}", MANIFEST },
		{ "{\"mediaType\":\"" DOCKER_MANIFEST "\"}", DOCKER_MANIFEST },
	};
	(void)context;
	struct err err = { 0 };
	struct image_descriptor manifest;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct digest digest;
		assert_int_equal(image_saved_manifest(view_of(cases[i].text), &manifest, &err), 0);
		assert_string_equal(manifest.media_type, cases[i].media_type);
		assert_int_equal(manifest.size, strlen(cases[i].text));
		assert_int_equal(digest_of(view_of(cases[i].text), &digest, &err), 0);
		assert_true(digest_is(&digest, &manifest.digest));
	}
	assert_int_equal(image_saved_manifest(view_of("{"), &manifest, &err), -EINVAL);
	assert_non_null(strstr(err.message, "manifest"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(documents_name_images_and_their_blobs),
		cmocka_unit_test(a_manifest_says_what_it_is),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
