#include "test.h"

#include "base/digest.h"

#define EMPTY_HEX "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ABC_HEX "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static void sums_are_sha256(void **state)
{
	(void)state;
	struct err err = { 0 };
	struct digest digest;
	char buffer[DIGEST_TEXT_LEN + 1];
	assert_int_equal(digest_init(&err), 0);
	assert_int_equal(digest_of((struct view){ 0 }, &digest, &err), 0);
	assert_string_equal(digest.hex, EMPTY_HEX);
	assert_int_equal(digest_of(V("abc"), &digest, &err), 0);
	assert_string_equal(digest_text(&digest, buffer), "sha256:" ABC_HEX);

	AUTO(digest_hash) hash = NULL;
	assert_int_equal(digest_hash_new(&hash, &err), 0);
	digest_hash_add(hash, "a", 1);
	digest_hash_add(hash, "", 0);
	digest_hash_add(hash, "bc", 2);
	struct digest streamed;
	digest_hash_end(hash, &streamed);
	assert_true(digest_is(&digest, &streamed));
	digest_hash_free(NULL);
}

static void only_one_form_of_digest_is_parsed(void **state)
{
	(void)state;
	struct err err = { 0 };
	struct digest digest = { "" };
	assert_false(digest_is_set(&digest));
	static const char *const bad[] = { "", "sha256:", ABC_HEX, "sha512:" ABC_HEX,
		"sha256:" ABC_HEX "0", "SHA256:" ABC_HEX, " sha256:" ABC_HEX,
		"sha256:BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		"sha256:../../../../etc/passwdde5dae2223b00361a396177a9cb410ff61f20015ad" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_error(digest_parse(view_of(bad[i]), &digest, &err), ERR_INVALID,
			"not a digest");
	assert_false(digest_is_set(&digest));
	assert_int_equal(digest_parse(V("sha256:" ABC_HEX), &digest, &err), 0);
	assert_string_equal(digest.hex, ABC_HEX);
	assert_true(digest_is_set(&digest));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sums_are_sha256),
		cmocka_unit_test(only_one_form_of_digest_is_parsed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
