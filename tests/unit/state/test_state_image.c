/* state_image - what goes in comes out, and what nobody uses goes. */
#include "fixture.h"

static void an_image_comes_back_as_it_was_put(void **context)
{
	struct fixture *f = *context;
	struct digest id = image_put(f, 'a', LAYERS(1, 2, 3), "docker.io/library/busybox:latest");

	struct state_image image = { 0 };
	assert_int_equal(state_image_by_reference(f->state, "docker.io/library/busybox:latest",
				 &image, &f->err),
		0);
	assert_true(digest_is(&image.id, &id));
	struct digest manifest = digest_make('e', 7);
	assert_true(digest_is(&image.manifest, &manifest));
	assert_int_equal(image.created_ns, 1000 + 'a');
	assert_int_equal(image.loaded_ns, 5);
	assert_int_equal(image.size_bytes, UINT64_C(1) << 40);
	assert_int_equal(image.layers_len, 3);
	for (unsigned i = 0; i < 3; i++) {
		struct state_layer wanted = layer_make(i + 1);
		assert_true(digest_is(&image.layers[i].diff_id, &wanted.diff_id));
		assert_true(digest_is(&image.layers[i].blob, &wanted.blob));
		assert_int_equal(image.layers[i].blob_bytes, wanted.blob_bytes);
		assert_int_equal(image.layers[i].tar_bytes, wanted.tar_bytes);
		assert_int_equal(image.layers[i].erofs_bytes, wanted.erofs_bytes);
		assert_int_equal(image.layers[i].compression, 1);
	}
	state_image_done(&image);
}

static void an_image_may_have_one_layer_twice_and_none_at_all(void **context)
{
	struct fixture *f = *context;
	(void)image_put(f, 'a', LAYERS(1, 1, 2), "r/a:1");
	(void)image_put(f, 'b', LAYERS(0), "r/b:1");
	struct state_image image = { 0 };
	assert_int_equal(state_image_by_reference(f->state, "r/a:1", &image, &f->err), 0);
	assert_int_equal(image.layers_len, 3);
	assert_true(digest_is(&image.layers[0].diff_id, &image.layers[1].diff_id));
	state_image_done(&image);
	assert_int_equal(state_image_by_reference(f->state, "r/b:1", &image, &f->err), 0);
	assert_int_equal(image.layers_len, 0);
	state_image_done(&image);
}

static void the_same_image_put_again_replaces_its_manifest_and_keeps_its_names(void **context)
{
	struct fixture *f = *context;
	(void)image_put(f, 'a', LAYERS(1, 2), "r/a:1");
	struct digest id = image_put(f, 'a', LAYERS(1, 2), "r/a:2");
	AUTO_DONE(strv) references = { 0 };
	assert_int_equal(state_references(f->state, &id, &references, &f->err), 0);
	assert_int_equal(references.len, 2);
	assert_string_equal(references.items[0], "r/a:1");
	assert_string_equal(references.items[1], "r/a:2");
	struct state_image image = { 0 };
	assert_int_equal(state_image_by_prefix(f->state, "a", &image, &f->err), 0);
	assert_int_equal(image.layers_len, 2);
	state_image_done(&image);
}

static void an_unknown_image_is_not_found(void **context)
{
	struct fixture *f = *context;
	struct state_image image = { 0 };
	assert_int_equal(state_image_by_reference(f->state, "r/none:1", &image, &f->err), -ENOENT);
	assert_int_equal(f->err.kind, ERR_NOT_FOUND);
	assert_string_equal(f->err.message, "no such image: r/none:1");
	static const char *const wrong[] = { "", "a", "A", "xyz", "a%", "a'", "..",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" };
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		assert_int_equal(state_image_by_prefix(f->state, wrong[i], &image, &f->err),
			-ENOENT);
		assert_int_equal(f->err.kind, ERR_NOT_FOUND);
	}
	assert_null(image.layers);
}

static void a_prefix_finds_the_one_image_and_refuses_two(void **context)
{
	struct fixture *f = *context;
	(void)image_put(f, 'a', LAYERS(1), NULL);
	(void)image_put(f, 'f', LAYERS(1), NULL);
	struct state_image image = { .id = digest_make('a', 1) };
	AUTO_DONE(strv) none = { 0 };
	assert_int_equal(state_image_put(f->state, &image, &none, &f->err), 0);

	assert_int_equal(state_image_by_prefix(f->state, "f", &image, &f->err), 0);
	assert_int_equal(image.id.hex[0], 'f');
	state_image_done(&image);
	assert_int_equal(state_image_by_prefix(f->state, "aaaa", &image, &f->err), -EEXIST);
	assert_int_equal(f->err.kind, ERR_CONFLICT);
	struct digest full = digest_make('a', 1);
	assert_int_equal(state_image_by_prefix(f->state, full.hex, &image, &f->err), 0);
	assert_true(digest_is(&image.id, &full));
	state_image_done(&image);
}

static void removal_returns_the_layers_that_no_other_image_has(void **context)
{
	struct fixture *f = *context;
	struct digest a = image_put(f, 'a', LAYERS(1, 2, 3, 3), "r/a:1");
	struct digest b = image_put(f, 'b', LAYERS(1, 2, 4), "r/b:1");
	struct state_layer *layers = NULL;
	size_t len = 0;
	assert_int_equal(state_image_remove(f->state, &a, &layers, &len, &f->err), 0);
	assert_int_equal(len, 1);
	struct state_layer three = layer_make(3);
	assert_true(digest_is(&layers[0].diff_id, &three.diff_id));
	assert_true(digest_is(&layers[0].blob, &three.blob));
	free(layers);

	struct state_image image = { 0 };
	assert_int_equal(state_image_by_reference(f->state, "r/a:1", &image, &f->err), -ENOENT);
	assert_int_equal(state_image_remove(f->state, &a, &layers, &len, &f->err), -ENOENT);
	assert_int_equal(state_image_remove(f->state, &b, &layers, &len, &f->err), 0);
	assert_int_equal(len, 3);
	free(layers);
}

static void an_image_in_use_is_not_removed(void **context)
{
	struct fixture *f = *context;
	struct digest a = image_put(f, 'a', LAYERS(1), "r/a:1");
	assert_int_equal(workload_put(f, "1", "web", &a), 0);
	struct state_layer *layers = NULL;
	size_t len = 0;
	assert_int_equal(state_image_remove(f->state, &a, &layers, &len, &f->err), -EEXIST);
	assert_int_equal(f->err.kind, ERR_CONFLICT);
	assert_non_null(strstr(f->err.message, "web (100000000000)"));
	assert_null(layers);
	struct state_image image = { 0 };
	assert_int_equal(state_image_by_reference(f->state, "r/a:1", &image, &f->err), 0);
	state_image_done(&image);
}

struct seen {
	struct fixture *f;
	char order[8];
	size_t len;
	size_t references;
};

static int see(void *context, const struct state_image *image, const struct strv *references,
	struct err *err)
{
	struct seen *seen = context;
	seen->order[seen->len++] = image->id.hex[0];
	seen->references += references->len;
	/* A visitor may change what it walks over. */
	return state_reference_set(seen->f->state, "r/new:1", &image->id, err);
}

static void all_images_come_newest_first_with_their_references(void **context)
{
	struct fixture *f = *context;
	(void)image_put(f, 'b', LAYERS(1), "r/b:1");
	(void)image_put(f, 'c', LAYERS(1), NULL);
	(void)image_put(f, 'a', LAYERS(1), "r/a:1");
	struct seen seen = { .f = f };
	assert_int_equal(state_image_each(f->state, see, &seen, &f->err), 0);
	assert_string_equal(seen.order, "cba");
	assert_int_equal(seen.references, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STATE_TEST(an_image_comes_back_as_it_was_put),
		STATE_TEST(an_image_may_have_one_layer_twice_and_none_at_all),
		STATE_TEST(the_same_image_put_again_replaces_its_manifest_and_keeps_its_names),
		STATE_TEST(an_unknown_image_is_not_found),
		STATE_TEST(a_prefix_finds_the_one_image_and_refuses_two),
		STATE_TEST(removal_returns_the_layers_that_no_other_image_has),
		STATE_TEST(an_image_in_use_is_not_removed),
		STATE_TEST(all_images_come_newest_first_with_their_references),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
