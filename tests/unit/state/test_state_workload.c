/* state_workload - names are unique, and what a user types finds the right one. */
#include "fixture.h"

static void a_workload_is_found_by_id_name_and_prefix(void **context)
{
	struct fixture *f = *context;
	struct digest a = image_put(f, 'a', LAYERS(1), NULL);
	assert_int_equal(workload_put(f, "1234", "web", &a), 0);
	AUTO_FREE char *id = text_format("1234%060d", 0);
	const char *const ways[] = { id, "web", "1234", "1" };
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		struct state_workload found = { 0 };
		assert_int_equal(state_workload_find(f->state, ways[i], &found, &f->err), 0);
		assert_string_equal(found.id, id);
		assert_string_equal(found.name, "web");
		assert_string_equal(found.spec, "{\"args\":[\"sh\"]}");
		assert_string_equal(found.image, "busybox");
		assert_true(digest_is(&found.image_id, &a));
		assert_int_equal(found.created_ns, 77);
		assert_true(found.auto_remove);
		state_workload_done(&found);
	}
	static const char *const wrong[] = { "", "2", "we", "WEB", "1*", "%", "12345", "g" };
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct state_workload found = { 0 };
		assert_int_equal(state_workload_find(f->state, wrong[i], &found, &f->err), -ENOENT);
		assert_int_equal(f->err.kind, ERR_NOT_FOUND);
		assert_null(found.id);
	}
	assert_string_equal(f->err.message, "no such workload: g");
}

static void a_name_wins_over_a_prefix_and_two_prefixes_conflict(void **context)
{
	struct fixture *f = *context;
	assert_int_equal(workload_put(f, "12a", "one", NULL), 0);
	assert_int_equal(workload_put(f, "12b", "two", NULL), 0);
	assert_int_equal(workload_put(f, "c", "12a", NULL), 0);
	struct state_workload found = { 0 };
	assert_int_equal(state_workload_find(f->state, "12", &found, &f->err), -EEXIST);
	assert_int_equal(f->err.kind, ERR_CONFLICT);
	assert_int_equal(state_workload_find(f->state, "12a", &found, &f->err), 0);
	assert_int_equal(found.id[0], 'c');
	state_workload_done(&found);
	assert_int_equal(state_workload_find(f->state, "12b", &found, &f->err), 0);
	assert_string_equal(found.name, "two");
	assert_false(digest_is_set(&found.image_id));
	state_workload_done(&found);
}

static void a_name_in_use_is_refused_with_its_holder(void **context)
{
	struct fixture *f = *context;
	assert_int_equal(workload_put(f, "1", "web", NULL), 0);
	assert_int_equal(workload_put(f, "2", "web", NULL), -EEXIST);
	assert_int_equal(f->err.kind, ERR_CONFLICT);
	AUTO_FREE char *holder = text_format("web is in use by workload 1%063d", 0);
	assert_non_null(strstr(f->err.message, holder));
	/* The same workload may be put again, under another name too. */
	assert_int_equal(workload_put(f, "1", "web", NULL), 0);
	assert_int_equal(workload_put(f, "1", "www", NULL), 0);
	assert_int_equal(workload_put(f, "2", "web", NULL), 0);
}

static void a_workload_of_an_image_that_is_gone_is_refused(void **context)
{
	struct fixture *f = *context;
	struct digest none = digest_make('a', 1);
	assert_int_equal(workload_put(f, "1", "web", &none), -ENOENT);
	assert_int_equal(f->err.kind, ERR_NOT_FOUND);
	assert_non_null(strstr(f->err.message, "no such image: sha256:aaaa"));
}

static void a_removed_workload_frees_its_name_and_its_image(void **context)
{
	struct fixture *f = *context;
	struct digest a = image_put(f, 'a', LAYERS(1), NULL);
	assert_int_equal(workload_put(f, "1", "web", &a), 0);
	AUTO_FREE char *id = text_format("1%063d", 0);
	assert_int_equal(state_workload_remove(f->state, id, &f->err), 0);
	assert_int_equal(state_workload_remove(f->state, id, &f->err), -ENOENT);
	assert_int_equal(workload_put(f, "2", "web", NULL), 0);
	struct state_layer *layers = NULL;
	size_t len = 0;
	assert_int_equal(state_image_remove(f->state, &a, &layers, &len, &f->err), 0);
	free(layers);
}

static int collect(void *context, const struct state_workload *workload, struct err *err)
{
	struct text *names = context;
	(void)err;
	text_puts(names, workload->name);
	return strcmp(workload->name, "stop") == 0 ? -ECANCELED : 0;
}

static void workloads_come_newest_first_until_the_visitor_stops(void **context)
{
	struct fixture *f = *context;
	assert_int_equal(workload_put(f, "3", "a", NULL), 0);
	assert_int_equal(workload_put(f, "1", "stop", NULL), 0);
	assert_int_equal(workload_put(f, "2", "c", NULL), 0);
	AUTO_DONE(text) names = { 0 };
	assert_int_equal(state_workload_each(f->state, collect, &names, &f->err), -ECANCELED);
	assert_string_equal(text_string(&names), "cstop");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STATE_TEST(a_workload_is_found_by_id_name_and_prefix),
		STATE_TEST(a_name_wins_over_a_prefix_and_two_prefixes_conflict),
		STATE_TEST(a_name_in_use_is_refused_with_its_holder),
		STATE_TEST(a_workload_of_an_image_that_is_gone_is_refused),
		STATE_TEST(a_removed_workload_frees_its_name_and_its_image),
		STATE_TEST(workloads_come_newest_first_until_the_visitor_stops),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
