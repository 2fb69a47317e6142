/* state_reference - a name stands at one image at a time. */
#include "fixture.h"

static void a_reference_moves_to_the_image_that_has_it_last(void **context)
{
	struct fixture *f = *context;
	struct digest a = image_put(f, 'a', LAYERS(1), "r/x:1");
	struct digest b = image_put(f, 'b', LAYERS(2), "r/x:1");
	AUTO_DONE(strv) of_a = { 0 };
	AUTO_DONE(strv) of_b = { 0 };
	assert_int_equal(state_references(f->state, &a, &of_a, &f->err), 0);
	assert_int_equal(state_references(f->state, &b, &of_b, &f->err), 0);
	assert_int_equal(of_a.len, 0);
	assert_int_equal(of_b.len, 1);

	assert_int_equal(state_reference_set(f->state, "r/x:1", &a, &f->err), 0);
	struct state_image image = { 0 };
	assert_int_equal(state_image_by_reference(f->state, "r/x:1", &image, &f->err), 0);
	assert_true(digest_is(&image.id, &a));
	state_image_done(&image);
}

static void a_reference_to_no_image_is_refused(void **context)
{
	struct fixture *f = *context;
	struct digest none = digest_make('c', 1);
	assert_int_equal(state_reference_set(f->state, "r/x:1", &none, &f->err), -ENOENT);
	assert_int_equal(f->err.kind, ERR_NOT_FOUND);
	assert_non_null(strstr(f->err.message, none.hex));
}

static void a_removed_reference_is_gone_and_its_image_stays(void **context)
{
	struct fixture *f = *context;
	(void)image_put(f, 'a', LAYERS(1), "r/x:1");
	assert_int_equal(state_reference_remove(f->state, "r/x:1", &f->err), 0);
	assert_int_equal(state_reference_remove(f->state, "r/x:1", &f->err), -ENOENT);
	assert_int_equal(f->err.kind, ERR_NOT_FOUND);
	struct state_image image = { 0 };
	assert_int_equal(state_image_by_prefix(f->state, "aa", &image, &f->err), 0);
	state_image_done(&image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STATE_TEST(a_reference_moves_to_the_image_that_has_it_last),
		STATE_TEST(a_reference_to_no_image_is_refused),
		STATE_TEST(a_removed_reference_is_gone_and_its_image_stays),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
