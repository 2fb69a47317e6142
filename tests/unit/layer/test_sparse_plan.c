#include "layer/sparse_plan.h"

#include "layer/tar.h"
#include "layer/tree.h"
#include "test.h"

static void a_file_without_room_for_holes_is_stored_whole(void **state)
{
	(void)state;
	const struct tar_extent extents[] = { { 0, 100 }, { 5000, 100 } };
	struct sparse_plan plan;
	uint64_t start, end;
	assert_int_equal(sparse_plan_make(extents, 2, 5100, &plan, NULL), 0);
	assert_false(plan.has_holes);
	assert_int_equal(plan.runs_len, 1);
	sparse_plan_range(&plan, 0, &start, &end);
	assert_true(start == 0 && end == 8192);
	free(plan.runs);
}

static void neighbouring_extents_share_a_run(void **state)
{
	(void)state;
	const struct tar_extent extents[] = { { 4096, 10 }, { 5000, 8000 }, { 1 << 20, 1 } };
	struct sparse_plan plan;
	uint64_t start, end;
	assert_int_equal(sparse_plan_make(extents, 3, 2 << 20, &plan, NULL), 0);
	assert_true(plan.has_holes);
	assert_int_equal(plan.runs_len, 2);
	sparse_plan_range(&plan, 0, &start, &end);
	assert_true(start <= 4096 && end >= 13000 && end < 1 << 20);
	sparse_plan_range(&plan, 1, &start, &end);
	assert_true(start <= 1 << 20 && end > 1 << 20);
	free(plan.runs);
}

static void a_table_never_costs_more_than_a_file_saves(void **state)
{
	(void)state;
	/* As /var/log/lastlog of a system with large user ids. */
	const struct tar_extent extents[] = { { 0, 292 }, { 1000000000000, 292 } };
	struct sparse_plan plan;
	assert_int_equal(sparse_plan_make(extents, 2, 1000000000292, &plan, NULL), 0);
	uint64_t chunks = (plan.size >> (12 + plan.chunk_bits)) + 1, data = 0;
	for (size_t i = 0; i < plan.runs_len; i++) {
		uint64_t start, end;
		sparse_plan_range(&plan, i, &start, &end);
		data += end - start;
	}
	assert_true(plan.has_holes && chunks * 8 + data < 16 << 20);
	free(plan.runs);
}

static void the_largest_file_with_nothing_in_it_has_no_data(void **state)
{
	(void)state;
	const struct tar_extent extents[] = { { INT64_MAX, 0 } };
	struct sparse_plan plan;
	assert_int_equal(sparse_plan_make(extents, 1, INT64_MAX, &plan, NULL), 0);
	assert_true(plan.has_holes && plan.runs_len == 0);
	free(plan.runs);
	assert_int_equal(sparse_plan_make(NULL, 0, 0, &plan, NULL), 0);
	assert_true(!plan.has_holes && plan.runs_len == 0);
	free(plan.runs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_without_room_for_holes_is_stored_whole),
		cmocka_unit_test(neighbouring_extents_share_a_run),
		cmocka_unit_test(a_table_never_costs_more_than_a_file_saves),
		cmocka_unit_test(the_largest_file_with_nothing_in_it_has_no_data),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
