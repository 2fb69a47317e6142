/* image_archive - the shapes that tools write, and the ones that attackers do. */
#include "fixture.h"

#include "base/limits.h"
#include "image/image_platform.h"

#define NAME_CONTAINERD "io.containerd.image.name"
#define NAME_OCI "org.opencontainers.image.ref.name"

static void load_fails(struct fixture *f, enum err_kind kind, const char *word)
{
	f->err = (struct err){ 0 };
	assert_true(fixture_load(f) < 0);
	if (f->err.kind != kind || strstr(f->err.message, word) == NULL)
		fail_msg("%s: %s", err_kind_name(f->err.kind), f->err.message);
	assert_null(f->archive.images);
	assert_null(strchr(f->err.message, '\n'));
}

static void load_works(struct fixture *f, size_t images)
{
	f->err = (struct err){ 0 };
	if (fixture_load(f) < 0)
		fail_msg("%s", f->err.message);
	assert_int_equal(f->archive.len, images);
}

/* ---- what tools write ---- */

static void umoci_and_skopeo_name_a_mere_tag(void **context)
{
	struct fixture *f = *context;
	AUTO_FREE char *image = put_image(f, "");
	AUTO_FREE char *list =
		text_format("%s,\"annotations\":{\"" NAME_OCI "\":\"latest\"}}", image);
	put_index(f, list);
	load_works(f, 1);
	const struct image_plan *plan = &f->archive.images[0];
	assert_int_equal(plan->references.len, 0);
	assert_int_equal(plan->layers_len, 1);
	assert_string_equal(plan->layers[0].member, "blobs/sha256/" HEX_B);
	assert_string_equal(plan->layers[0].blob.hex, HEX_B);
	assert_string_equal(plan->layers[0].diff_id.hex, HEX_A);
	assert_string_equal(plan->layers[0].media_type, LAYER);
	assert_int_equal(plan->layers[0].size, 123);

	struct digest digest;
	assert_int_equal(digest_of((struct view){ plan->config, plan->config_len }, &digest,
				 &f->err),
		0);
	assert_true(digest_is(&digest, &plan->id));
	assert_int_equal(digest_of((struct view){ plan->manifest, plan->manifest_len }, &digest,
				 &f->err),
		0);
	assert_true(digest_is(&digest, &plan->manifest_digest));
}

static void podman_names_in_full_by_the_oci_annotation(void **context)
{
	struct fixture *f = *context;
	AUTO_FREE char *image = put_image(f, "");
	AUTO_FREE char *list =
		text_format("%s,\"annotations\":{\"" NAME_OCI "\":\"localhost/app:v1\"}}", image);
	put_index(f, list);
	load_works(f, 1);
	assert_int_equal(f->archive.images[0].references.len, 1);
	assert_string_equal(f->archive.images[0].references.items[0], "localhost/app:v1");
}

static void containerd_names_count_and_one_image_may_have_two(void **context)
{
	struct fixture *f = *context;
	AUTO_FREE char *one = put_image(f, "one");
	AUTO_FREE char *two = put_image(f, "two");
	AUTO_FREE char *list =
		text_format("%s,\"annotations\":{\"" NAME_CONTAINERD
			    "\":\"docker.io/library/a:1\",\"" NAME_OCI
			    "\":\"1\"}},%s},%s,\"annotations\":{\"" NAME_CONTAINERD "\":\"a:2\"}}",
			one, two, one);
	put_index(f, list);
	load_works(f, 2);
	assert_int_equal(f->archive.images[0].references.len, 2);
	assert_string_equal(f->archive.images[0].references.items[0], "docker.io/library/a:1");
	assert_string_equal(f->archive.images[0].references.items[1], "docker.io/library/a:2");
	assert_int_equal(f->archive.images[1].references.len, 0);
}

static void names_that_are_none_leave_the_image_without(void **context)
{
	struct fixture *f = *context;
	static const char *const names[] = { "v1.0", "latest", "some text", "../../etc", "", "A/",
		("a@sha256:" HEX_A) };
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		AUTO_FREE char *image = put_image(f, names[i][0] == 0 ? "" : "same");
		AUTO_FREE char *list = text_format("%s,\"annotations\":{\"" NAME_OCI "\":\"%s\"}}",
			image, names[i]);
		put_index(f, list);
		load_works(f, 1);
		assert_int_equal(f->archive.images[0].references.len, 0);
	}
}

static void docker_media_types_are_understood(void **context)
{
	struct fixture *f = *context;
	AUTO_FREE char *image = put_image_as(f, "", DOCKER "distribution.manifest.v2+json",
		DOCKER "container.image.v1+json", DOCKER "image.rootfs.diff.tar.gzip");
	AUTO_FREE char *list = text_format("%s}", image);
	put_index(f, list);
	load_works(f, 1);
	assert_string_equal(f->archive.images[0].layers[0].media_type,
		DOCKER "image.rootfs.diff.tar.gzip");
}

/* As buildx does: an index in the index, with attestations. */
static void a_nested_index_gives_the_image_of_this_machine(void **context)
{
	struct fixture *f = *context;
	const char *host = image_platform_host().architecture;
	AUTO_FREE char *foreign = put_image(f, "foreign");
	AUTO_FREE char *late = put_image(f, "late");
	AUTO_FREE char *ours = put_image(f, "ours");
	AUTO_FREE char *proof = put_image(f, "proof");
	AUTO_FREE char *nested = text_format(
		"{\"schemaVersion\":2,\"mediaType\":\"" INDEX "\",\"manifests\":["
		"%s,\"platform\":{\"os\":\"unknown\",\"architecture\":\"unknown\"},"
		"\"annotations\":{\"vnd.docker.reference.type\":\"attestation-manifest\"}},"
		"%s,\"platform\":{\"os\":\"linux\",\"architecture\":\"s390\"}},"
		"%s,\"platform\":{\"os\":\"linux\",\"architecture\":\"%s\",\"variant\":\"v4\"}},"
		"%s,\"platform\":{\"os\":\"linux\",\"architecture\":\"%s\"}},"
		"{\"mediaType\":\"application/x-other\",\"digest\":\"sha256:" HEX_A
		"\",\"size\":1}]}",
		proof, foreign, late, host, ours, host);
	AUTO_FREE char *index = put_blob(f, INDEX, nested);
	AUTO_FREE char *list =
		text_format("%s,\"annotations\":{\"" NAME_CONTAINERD "\":\"r.io/x:1\"}}", index);
	put_index(f, list);
	load_works(f, 1);
	assert_non_null(strstr(f->archive.images[0].config, "\"comment\":\"ours\""));
	assert_string_equal(f->archive.images[0].references.items[0], "r.io/x:1");
}

static void only_foreign_images_are_none(void **context)
{
	struct fixture *f = *context;
	AUTO_FREE char *image = put_image(f, "");
	AUTO_FREE char *list =
		text_format("%s,\"platform\":{\"os\":\"windows\",\"architecture\":\"amd64\"}},"
			    "%s,\"platform\":{\"os\":7,\"architecture\":\"amd64\"}}",
			image, image);
	put_index(f, list);
	load_fails(f, ERR_NOT_FOUND, "no image for linux/");
}

static void docker_archives_are_read(void **context)
{
	struct fixture *f = *context;
	AUTO_FREE char *config = config_text(2, "classic");
	struct digest id;
	assert_int_equal(digest_of(view_of(config), &id, &f->err), 0);
	AUTO_FREE char *name = text_format("%s.json", id.hex);
	put(f, name, config);
	AUTO_FREE char *list = text_format(
		"[{\"Config\":\"%s\",\"RepoTags\":[\"busybox:1\",\"busybox:1\",\"q.io/x/y:z\"],"
		"\"Layers\":[\"aa/layer.tar\",\"bb/layer.tar\"]},"
		"{\"Config\":\"%s\",\"RepoTags\":null,\"Layers\":[\"l.tar\",\"l.tar\"]}]",
		name, name);
	put(f, "manifest.json", list);
	load_works(f, 2);
	const struct image_plan *plan = &f->archive.images[0];
	assert_true(digest_is(&plan->id, &id));
	assert_null(plan->manifest);
	assert_false(digest_is_set(&plan->manifest_digest));
	assert_int_equal(plan->references.len, 2);
	assert_string_equal(plan->references.items[0], "docker.io/library/busybox:1");
	assert_string_equal(plan->layers[1].member, "bb/layer.tar");
	assert_string_equal(plan->layers[1].diff_id.hex, HEX_B);
	assert_false(digest_is_set(&plan->layers[1].blob));
	assert_null(plan->layers[1].media_type);
	assert_true(plan->layers[1].size == IMAGE_SIZE_UNDECLARED);
	assert_int_equal(f->archive.images[1].references.len, 0);
}

/* Docker 25 and later. */
static void an_archive_that_is_both_is_read_as_a_layout_with_docker_names(void **context)
{
	struct fixture *f = *context;
	AUTO_FREE char *named = put_image(f, "named");
	AUTO_FREE char *bare = put_image(f, "bare");
	AUTO_FREE char *list =
		text_format("%s,\"annotations\":{\"" NAME_CONTAINERD "\":\"a:1\"}},%s}", named,
			bare);
	put_index(f, list);
	AUTO_FREE char *config = config_text(1, "bare");
	struct digest id;
	assert_int_equal(digest_of(view_of(config), &id, &f->err), 0);
	AUTO_FREE char *docker =
		text_format("[{\"Config\":\"blobs/sha256/"
			    "%s\",\"RepoTags\":[\"b:2\"],\"Layers\":[]},"
			    "{\"Config\":\"blobs/sha256/" HEX_A "\",\"RepoTags\":[\"c:3\"]}]",
			id.hex);
	put(f, "manifest.json", docker);
	load_works(f, 2);
	assert_string_equal(f->archive.images[0].references.items[0], "docker.io/library/a:1");
	assert_int_equal(f->archive.images[0].references.len, 1);
	assert_string_equal(f->archive.images[1].references.items[0], "docker.io/library/b:2");
	assert_non_null(f->archive.images[1].manifest);
}

/* ---- hostile ones ---- */

static void no_archive_is_said(void **context)
{
	struct fixture *f = *context;
	put(f, "etc/passwd", "x");
	load_fails(f, ERR_INVALID, "neither oci-layout nor manifest.json");
}

static void a_wrong_layout_version_is_refused(void **context)
{
	struct fixture *f = *context;
	static const char *const versions[] = { "{\"imageLayoutVersion\":\"2.0.0\"}", "{}", "[]",
		"{\"imageLayoutVersion\":1}" };
	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		put_index(f, "");
		put(f, "oci-layout", versions[i]);
		load_fails(f, ERR_UNSUPPORTED, "imageLayoutVersion");
	}
}

static void index_and_manifest_in_one_is_refused(void **context)
{
	struct fixture *f = *context;
	put_index(f, "");
	static const char *const both[] = {
		"{\"schemaVersion\":2,\"manifests\":[],\"layers\":[]}",
		"{\"schemaVersion\":2,\"manifests\":[],\"config\":{}}",
		"{\"schemaVersion\":2,\"manifests\":[],\"layers\":null}",
	};
	for (size_t i = 0; i < ARRAY_LEN(both); i++) {
		put(f, "index.json", both[i]);
		load_fails(f, ERR_INVALID, "two ways");
		AUTO_FREE char *nested = put_blob(f, INDEX, both[i]);
		AUTO_FREE char *list = text_format("%s}", nested);
		put_index(f, list);
		load_fails(f, ERR_INVALID, "two ways");
	}
	AUTO_FREE char *manifest = put_blob(f, MANIFEST,
		"{\"schemaVersion\":2,\"manifests\":[],\"layers\":[],\"config\":{}}");
	AUTO_FREE char *list = text_format("%s}", manifest);
	put_index(f, list);
	load_fails(f, ERR_INVALID, "two ways");
}

static void a_media_type_that_disagrees_is_refused(void **context)
{
	struct fixture *f = *context;
	static const char *const own[] = { INDEX, "application/x-other",
		DOCKER "distribution.manifest.v2+json" };
	for (size_t i = 0; i < ARRAY_LEN(own); i++) {
		AUTO_FREE char *text = text_format("{\"schemaVersion\":2,\"mediaType\":\"%s\","
						   "\"config\":{},\"layers\":[]}",
			own[i]);
		AUTO_FREE char *manifest = put_blob(f, MANIFEST, text);
		AUTO_FREE char *list = text_format("%s}", manifest);
		put_index(f, list);
		load_fails(f, ERR_INVALID, "mediaType");
	}
}

static void wrong_bytes_behind_a_digest_are_found(void **context)
{
	struct fixture *f = *context;
	AUTO_FREE char *image = put_image(f, "");
	AUTO_FREE char *list = text_format("%s}", image);
	put_index(f, list);
	load_works(f, 1);
	/* One byte of the configuration, then of the manifest: lengths stay. */
	for (size_t i = 0; i < 2; i++) {
		f->bytes[i][strlen(f->bytes[i]) - 1] = ' ';
		load_fails(f, ERR_DAMAGED, "its bytes have digest");
		f->bytes[i][strlen(f->bytes[i]) - 1] = '}';
	}
	load_works(f, 1);
	free(f->bytes[0]);
	f->bytes[0] = mem_strdup("{}");
	load_fails(f, ERR_DAMAGED, "2 bytes");
}

static void a_docker_config_must_have_the_digest_of_its_name(void **context)
{
	struct fixture *f = *context;
	AUTO_FREE char *config = config_text(1, "");
	static const char *const names[] = { HEX_A ".json", "blobs/sha256/" HEX_A };
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		put(f, names[i], config);
		AUTO_FREE char *list =
			text_format("[{\"Config\":\"%s\",\"Layers\":[\"l.tar\"]}]", names[i]);
		put(f, "manifest.json", list);
		load_fails(f, ERR_DAMAGED, HEX_A);
	}
}

static void descriptors_that_are_none_are_refused(void **context)
{
	struct fixture *f = *context;
	static const char *const wrong[] = {
		"7",
		"null",
		"[]",
		"{}",
		"{\"mediaType\":\"" MANIFEST "\",\"size\":1}",
		"{\"mediaType\":7,\"digest\":\"sha256:" HEX_A "\",\"size\":1}",
		"{\"mediaType\":\"" MANIFEST "\",\"digest\":\"" HEX_A "\",\"size\":1}",
		"{\"mediaType\":\"" MANIFEST "\",\"digest\":\"sha256:../../x\",\"size\":1}",
		"{\"mediaType\":\"" MANIFEST "\",\"digest\":\"sha256:" HEX_A "\"}",
		"{\"mediaType\":\"" MANIFEST "\",\"digest\":\"sha256:" HEX_A "\",\"size\":-1}",
		"{\"mediaType\":\"" MANIFEST "\",\"digest\":\"sha256:" HEX_A "\",\"size\":\"1\"}",
		"{\"mediaType\":\"" MANIFEST "\",\"digest\":\"sha256:" HEX_A
		"\",\"size\":18446744073709551615}",
		"{\"mediaType\":\"" MANIFEST "\\u0000\",\"digest\":\"sha256:" HEX_A
		"\",\"size\":1}",
	};
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		put_index(f, wrong[i]);
		load_fails(f, ERR_INVALID, "index.json");
	}
	put_index(f, "{\"mediaType\":\"" MANIFEST "\",\"digest\":\"sha256:" HEX_A
		     "\",\"size\":99999999}");
	load_fails(f, ERR_LIMIT, "99999999");
	put_index(f, "{\"mediaType\":\"" MANIFEST "\",\"digest\":\"sha256:" HEX_A "\",\"size\":9}");
	load_fails(f, ERR_NOT_FOUND, HEX_A);
}

static void unknown_media_types_inside_a_manifest_are_refused(void **context)
{
	struct fixture *f = *context;
	AUTO_FREE char *chart =
		put_image_as(f, "", MANIFEST, "application/vnd.cncf.helm.config.v1+json", LAYER);
	AUTO_FREE char *list = text_format("%s}", chart);
	put_index(f, list);
	load_fails(f, ERR_UNSUPPORTED, "helm");
	AUTO_FREE char *layer = put_image_as(f, "", MANIFEST, CONFIG, "text/\\u001b[31m");
	AUTO_FREE char *again = text_format("%s}", layer);
	put_index(f, again);
	load_fails(f, ERR_UNSUPPORTED, "media type");
	assert_null(strchr(f->err.message, '\x1b'));
}

static void layers_and_diff_ids_must_be_as_many(void **context)
{
	struct fixture *f = *context;
	AUTO_FREE char *config = config_text(2, "");
	AUTO_FREE char *descriptor = put_blob(f, CONFIG, config);
	AUTO_FREE char *text = text_format("{\"schemaVersion\":2,\"config\":%s},\"layers\":[{"
					   "\"mediaType\":\"" LAYER "\",\"digest\":\"sha256:" HEX_B
					   "\",\"size\":1}]}",
		descriptor);
	AUTO_FREE char *manifest = put_blob(f, MANIFEST, text);
	AUTO_FREE char *list = text_format("%s}", manifest);
	put_index(f, list);
	load_fails(f, ERR_INVALID, "1 layers, its configuration 2");
}

static void indexes_nested_too_deep_are_refused(void **context)
{
	struct fixture *f = *context;
	char *inner = put_image(f, "");
	for (int depth = 0; depth <= LIMIT_INDEX_DEPTH; depth++) {
		AUTO_FREE char *list = text_format("%s}", inner);
		put_index(f, list);
		load_works(f, 1);
		AUTO_FREE char *text =
			text_format("{\"schemaVersion\":2,\"manifests\":[%s]}", list);
		free(inner);
		inner = put_blob(f, INDEX, text);
	}
	AUTO_FREE char *list = text_format("%s}", inner);
	free(inner);
	put_index(f, list);
	load_fails(f, ERR_LIMIT, "deep");
}

/* 20 entries a level, each an index that has no image: 20^4 documents if each were followed. */
static void indexes_that_multiply_cost_bounded_work(void **context)
{
	struct fixture *f = *context;
	char *inner = put_blob(f, INDEX, "{\"schemaVersion\":2,\"manifests\":[]}");
	for (int depth = 1; depth < LIMIT_INDEX_DEPTH; depth++) {
		AUTO_DONE(text) list = { 0 };
		for (int i = 0; i < 20; i++)
			text_printf(&list, "%s%s}", i > 0 ? "," : "", inner);
		AUTO_FREE char *text =
			text_format("{\"schemaVersion\":2,\"manifests\":[%s]}", text_string(&list));
		free(inner);
		inner = put_blob(f, INDEX, text);
	}
	AUTO_FREE char *list = text_format("%s}", inner);
	free(inner);
	put_index(f, list);
	load_fails(f, ERR_LIMIT, "documents");
	assert_true(f->reads <= LIMIT_ARCHIVE_DOCUMENTS);
}

static void huge_counts_are_refused(void **context)
{
	struct fixture *f = *context;
	AUTO_DONE(text) list = { 0 };
	for (int i = 0; i <= LIMIT_ARCHIVE_DOCUMENTS; i++)
		text_puts(&list, i > 0 ? ",0" : "0");
	put_index(f, text_string(&list));
	load_fails(f, ERR_LIMIT, "4097");

	struct fixture docker = { 0 };
	AUTO_FREE char *entries = text_format("[%s]", text_string(&list));
	put(&docker, "manifest.json", entries);
	load_fails(&docker, ERR_LIMIT, "4097");
	free(docker.names[0]);
	free(docker.bytes[0]);
}

static void too_many_names_are_refused(void **context)
{
	struct fixture *f = *context;
	AUTO_FREE char *config = config_text(1, "");
	put(f, "c.json", config);
	AUTO_DONE(text) list = { 0 };
	text_puts(&list, "[{\"Config\":\"c.json\",\"Layers\":[\"l\"],\"RepoTags\":[\"a:0\"");
	for (int i = 1; i <= LIMIT_IMAGE_REFERENCES; i++)
		text_printf(&list, ",\"a:%d\"", i);
	text_puts(&list, "]}]");
	put(f, "manifest.json", text_string(&list));
	load_fails(f, ERR_LIMIT, "references");
}

static void docker_lists_of_the_wrong_shape_are_refused(void **context)
{
	struct fixture *f = *context;
	AUTO_FREE char *config = config_text(1, "");
	put(f, "c.json", config);
	static const char *const wrong[] = {
		"{}",
		"[7]",
		"[null]",
		"[{}]",
		"[{\"Config\":7}]",
		"[{\"Config\":\"/c.json\",\"Layers\":[\"l\"]}]",
		"[{\"Config\":\"a/../c.json\",\"Layers\":[\"l\"]}]",
		"[{\"Config\":\"c.json\"}]",
		"[{\"Config\":\"c.json\",\"Layers\":[]}]",
		"[{\"Config\":\"c.json\",\"Layers\":[\"a\",\"b\"]}]",
		"[{\"Config\":\"c.json\",\"Layers\":\"l\"}]",
		"[{\"Config\":\"c.json\",\"Layers\":[7]}]",
		"[{\"Config\":\"c.json\",\"Layers\":[\"\"]}]",
		"[{\"Config\":\"c.json\",\"Layers\":[\"..\"]}]",
		"[{\"Config\":\"c.json\",\"Layers\":[\"l\\u0000\"]}]",
		"[{\"Config\":\"c.json\",\"Layers\":[\"l\"],\"RepoTags\":[\"A b\"]}]",
		"[{\"Config\":\"c.json\",\"Layers\":[\"l\"],\"RepoTags\":[7]}]",
	};
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		put(f, "manifest.json", wrong[i]);
		f->err = (struct err){ 0 };
		if (fixture_load(f) != -EINVAL)
			fail_msg("%s: %s", wrong[i], f->err.message);
	}
	put(f, "manifest.json", "[]");
	load_fails(f, ERR_NOT_FOUND, "lists no image");
	put(f, "manifest.json", "[{\"Config\":\"absent.json\",\"Layers\":[]}]");
	load_fails(f, ERR_NOT_FOUND, "absent.json");
}

static void a_false_full_name_is_refused(void **context)
{
	struct fixture *f = *context;
	AUTO_FREE char *image = put_image(f, "");
	AUTO_FREE char *list =
		text_format("%s,\"annotations\":{\"" NAME_CONTAINERD "\":\"No Name\"}}", image);
	put_index(f, list);
	load_fails(f, ERR_INVALID, "No Name");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IMAGE_TEST(umoci_and_skopeo_name_a_mere_tag),
		IMAGE_TEST(podman_names_in_full_by_the_oci_annotation),
		IMAGE_TEST(containerd_names_count_and_one_image_may_have_two),
		IMAGE_TEST(names_that_are_none_leave_the_image_without),
		IMAGE_TEST(docker_media_types_are_understood),
		IMAGE_TEST(a_nested_index_gives_the_image_of_this_machine),
		IMAGE_TEST(only_foreign_images_are_none),
		IMAGE_TEST(docker_archives_are_read),
		IMAGE_TEST(an_archive_that_is_both_is_read_as_a_layout_with_docker_names),
		IMAGE_TEST(no_archive_is_said),
		IMAGE_TEST(a_wrong_layout_version_is_refused),
		IMAGE_TEST(index_and_manifest_in_one_is_refused),
		IMAGE_TEST(a_media_type_that_disagrees_is_refused),
		IMAGE_TEST(wrong_bytes_behind_a_digest_are_found),
		IMAGE_TEST(a_docker_config_must_have_the_digest_of_its_name),
		IMAGE_TEST(descriptors_that_are_none_are_refused),
		IMAGE_TEST(unknown_media_types_inside_a_manifest_are_refused),
		IMAGE_TEST(layers_and_diff_ids_must_be_as_many),
		IMAGE_TEST(indexes_nested_too_deep_are_refused),
		IMAGE_TEST(indexes_that_multiply_cost_bounded_work),
		IMAGE_TEST(huge_counts_are_refused),
		IMAGE_TEST(too_many_names_are_refused),
		IMAGE_TEST(docker_lists_of_the_wrong_shape_are_refused),
		IMAGE_TEST(a_false_full_name_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
