/* state_layer - stored once, with the blob that came first. */
#include "fixture.h"

static void an_unknown_layer_is_absent_without_a_word(void **context)
{
	struct fixture *f = *context;
	struct digest none = digest_make('d', 9);
	struct state_layer layer;
	assert_int_equal(state_layer_find(f->state, &none, &layer, &f->err), -ENOENT);
	assert_int_equal(f->err.kind, ERR_NONE);
}

static void put_one(struct fixture *f, char c, const struct state_layer *layer)
{
	struct state_layer copy = *layer;
	struct state_image image = { .id = digest_make(c, 0), .layers = &copy, .layers_len = 1 };
	AUTO_DONE(strv) none = { 0 };
	assert_int_equal(state_image_put(f->state, &image, &none, &f->err), 0);
}

static void a_layer_keeps_its_first_blob_and_gets_one_where_it_had_none(void **context)
{
	struct fixture *f = *context;
	struct state_layer layer = layer_make(1);
	struct state_layer found;
	struct digest first = layer.blob;

	layer.blob = (struct digest){ 0 };
	put_one(f, 'a', &layer);
	assert_int_equal(state_layer_find(f->state, &layer.diff_id, &found, &f->err), 0);
	assert_false(digest_is_set(&found.blob));

	layer.blob = first;
	layer.blob_bytes = 11;
	layer.compression = 2;
	put_one(f, 'b', &layer);
	assert_int_equal(state_layer_find(f->state, &layer.diff_id, &found, &f->err), 0);
	assert_true(digest_is(&found.blob, &first));
	assert_int_equal(found.blob_bytes, 11);
	assert_int_equal(found.compression, 2);

	layer.blob = digest_make('c', 3);
	put_one(f, 'c', &layer);
	assert_int_equal(state_layer_find(f->state, &layer.diff_id, &found, &f->err), 0);
	assert_true(digest_is(&found.blob, &first));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STATE_TEST(an_unknown_layer_is_absent_without_a_word),
		STATE_TEST(a_layer_keeps_its_first_blob_and_gets_one_where_it_had_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
