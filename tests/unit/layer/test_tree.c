#include "layer/tree.h"

#include <sys/stat.h>

#include "test.h"

static uint32_t add(struct tree *tree, uint32_t dir, const char *name, mode_t mode)
{
	uint32_t inode;
	assert_int_equal(tree_inode_new(tree, &inode, NULL), 0);
	tree_inode_at(tree, inode)->mode = (uint16_t)mode;
	if (S_ISDIR(mode))
		tree_inode_at(tree, inode)->parent = dir;
	assert_int_equal(tree_set(tree, dir, view_of(name), inode, NULL), 0);
	return inode;
}

static void names_are_found_in_their_directory_only(void **state)
{
	(void)state;
	AUTO_DONE(tree) tree;
	assert_int_equal(tree_init(&tree, NULL), 0);
	uint32_t dir = add(&tree, tree.root, "d", S_IFDIR);
	uint32_t file = add(&tree, dir, "f", S_IFREG);
	assert_int_equal(tree_find(&tree, dir, view_of("f")), file);
	assert_int_equal(tree_find(&tree, tree.root, view_of("f")), TREE_NONE);
	assert_int_equal(tree_find(&tree, dir, view_of("ff")), TREE_NONE);
}

static void a_hundred_thousand_names_in_one_directory_are_found(void **state)
{
	(void)state;
	AUTO_DONE(tree) tree;
	assert_int_equal(tree_init(&tree, NULL), 0);
	for (unsigned i = 0; i < 100000; i++) {
		AUTO_FREE char *name = text_format("name-%u", i);
		add(&tree, tree.root, name, S_IFREG);
	}
	for (unsigned i = 0; i < 100000; i += 777) {
		AUTO_FREE char *name = text_format("name-%u", i);
		assert_int_equal(tree_find(&tree, tree.root, view_of(name)), tree.root + 1 + i);
	}
}

static void order_is_by_name_and_leaves_out_what_was_removed(void **state)
{
	(void)state;
	AUTO_DONE(tree) tree;
	assert_int_equal(tree_init(&tree, NULL), 0);
	uint32_t z = add(&tree, tree.root, "z", S_IFREG);
	uint32_t dir = add(&tree, tree.root, "d", S_IFDIR);
	uint32_t below = add(&tree, dir, "a", S_IFREG);
	uint32_t gone = add(&tree, tree.root, "gone", S_IFDIR);
	add(&tree, gone, "too", S_IFREG);
	assert_int_equal(tree_set(&tree, tree.root, view_of("gone"), TREE_NONE, NULL), 0);
	assert_int_equal(tree_set(&tree, dir, view_of("link"), z, NULL), 0);

	uint32_t *order, len;
	assert_int_equal(tree_order(&tree, &order, &len, NULL), 0);
	const uint32_t expected[] = { tree.root, dir, z, below };
	assert_int_equal(len, ARRAY_LEN(expected));
	assert_memory_equal(order, expected, sizeof(expected));
	assert_int_equal(tree_inode_at(&tree, z)->links, 2);
	assert_int_equal(tree_inode_at(&tree, tree.root)->links, 3);
	assert_int_equal(tree_inode_at(&tree, dir)->links, 2);
	free(order);
}

static void a_name_of_256_bytes_is_refused(void **state)
{
	(void)state;
	AUTO_DONE(tree) tree;
	struct err err = { 0 };
	char name[256];
	memset(name, 'n', sizeof(name));
	assert_int_equal(tree_init(&tree, NULL), 0);
	struct view view = { name, 255 };
	assert_int_equal(tree_set(&tree, tree.root, view, tree.root, NULL), 0);
	view.len = 256;
	assert_true(tree_set(&tree, tree.root, view, tree.root, &err) < 0);
	assert_int_equal(err.kind, ERR_LIMIT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_found_in_their_directory_only),
		cmocka_unit_test(a_hundred_thousand_names_in_one_directory_are_found),
		cmocka_unit_test(order_is_by_name_and_leaves_out_what_was_removed),
		cmocka_unit_test(a_name_of_256_bytes_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
