#include "test.h"

#include "base/id.h"

static void ids_are_hex_and_never_a_number(void **state)
{
	(void)state;
	char id[ID_LEN + 1], other[ID_LEN + 1];
	for (int i = 0; i < 20000; i++) {
		id_new(id);
		assert_true(id_is(id));
		assert_true(strspn(id, "0123456789") < ID_SHORT_LEN);
	}
	id_new(other);
	assert_string_not_equal(id, other);
	assert_false(id_is(""));
	id[0] = 'A';
	assert_false(id_is(id));
	assert_false(id_is(id + 1));
}

static void random_names_are_valid_and_differ(void **state)
{
	(void)state;
	char first[ID_NAME_MAX], name[ID_NAME_MAX];
	bool differ = false;
	id_random_name(first);
	for (int i = 0; i < 2000; i++) {
		id_random_name(name);
		assert_true(id_name_is_valid(name));
		assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz_"), strlen(name));
		differ = differ || strcmp(first, name) != 0;
	}
	assert_true(differ);
}

static void names_are_dockers(void **state)
{
	(void)state;
	static const char *const good[] = { "ab", "web.1", "A_b-c", "0x" };
	static const char *const bad[] = { "", "a", "-ab", ".ab", "_ab", "a b", "a/b", "ab\n",
		"\xc3\xa4x" };
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_true(id_name_is_valid(good[i]));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(id_name_is_valid(bad[i]));
	char name[ID_VALID_NAME_MAX + 2];
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_false(id_name_is_valid(name));
	assert_true(id_name_is_valid(name + 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_are_hex_and_never_a_number),
		cmocka_unit_test(random_names_are_valid_and_differ),
		cmocka_unit_test(names_are_dockers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
