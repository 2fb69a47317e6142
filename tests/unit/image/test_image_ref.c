/* image_ref - the cases of distribution/reference's own tests. */
#include "fixture.h"

static void references_read_as_docker_reads_them(void **context)
{
	(void)context;
	static const struct {
		const char *text, *full, *familiar;
	} cases[] = {
		{ "busybox", "docker.io/library/busybox:latest", "busybox:latest" },
		{ "busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36" },
		{ "docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest" },
		{ "index.docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest" },
		{ "docker.io/library/busybox", "docker.io/library/busybox:latest",
			"busybox:latest" },
		{ "library/busybox", "docker.io/library/busybox:latest", "busybox:latest" },
		{ "user/app:v1", "docker.io/user/app:v1", "user/app:v1" },
		{ "library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest" },
		{ "localhost/app", "localhost/app:latest", "localhost/app:latest" },
		{ "localhost:5000", "docker.io/library/localhost:5000", "localhost:5000" },
		{ "localhost:5000/app:x", "localhost:5000/app:x", "localhost:5000/app:x" },
		{ "reg.example.com/a/b/c:T_1.2-3", "reg.example.com/a/b/c:T_1.2-3",
			"reg.example.com/a/b/c:T_1.2-3" },
		{ "Reg.Example.COM:443/a", "Reg.Example.COM:443/a:latest",
			"Reg.Example.COM:443/a:latest" },
		{ "FOO/bar", "FOO/bar:latest", "FOO/bar:latest" },
		{ "[::1]:5000/app", "[::1]:5000/app:latest", "[::1]:5000/app:latest" },
		{ "[fc00::1]/app", "[fc00::1]/app:latest", "[fc00::1]/app:latest" },
		{ "a__b/c.d-e--f_g", "docker.io/a__b/c.d-e--f_g:latest", "a__b/c.d-e--f_g:latest" },
		{ "foo_bar.com:8080", "docker.io/library/foo_bar.com:8080", "foo_bar.com:8080" },
		{ "xn--7o8h.com/myimage:xn--7o8h.com", "xn--7o8h.com/myimage:xn--7o8h.com",
			"xn--7o8h.com/myimage:xn--7o8h.com" },
		{ "busybox@sha256:" HEX_A, "docker.io/library/busybox@sha256:" HEX_A,
			"busybox@sha256:" HEX_A },
		{ "busybox:x@sha256:" HEX_A, "docker.io/library/busybox@sha256:" HEX_A,
			"busybox@sha256:" HEX_A },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err err = { 0 };
		struct image_ref ref = { 0 };
		if (image_ref_parse(cases[i].text, &ref, &err) < 0)
			fail_msg("%s", err.message);
		AUTO_FREE char *full = image_ref_full(&ref);
		AUTO_FREE char *familiar = image_ref_familiar(&ref);
		assert_string_equal(full, cases[i].full);
		assert_string_equal(familiar, cases[i].familiar);
		assert_true((ref.tag == NULL) == digest_is_set(&ref.digest));
		image_ref_done(&ref);

		/* The full and the familiar form mean the same again. */
		assert_int_equal(image_ref_parse(familiar, &ref, &err), 0);
		AUTO_FREE char *again = image_ref_full(&ref);
		assert_string_equal(again, full);
		image_ref_done(&ref);
	}
}

static void what_is_no_reference_is_refused(void **context)
{
	(void)context;
	static const char *const wrong[] = { "", " ", ":tag", "/", "a/", "/a", "a//b", "Busybox",
		"user/App", "a:", "a:-x", "a:.x", "a b", "a:b c", "a@", "a@sha256:", "a@sha256:ab",
		"a@sha256:" HEX_A "a", "a@sha512:" HEX_A, "a@SHA256:" HEX_A, "-a", "a-", "_a", "a_",
		"a..b", "a___b", "a._b", ".a", "a/.b", "../a", "a/../b", "x.com:/a", "x.com:p/a",
		"-x.com/a", "x-.com/a", "x..com/a", "[::1/a", "[]/a", "[::1]:/a", "[gg]/a", HEX_A,
		"a\nb", "a\x1b[31m", "caf\xc3\xa9", "a:b:c", "a/b:c/d", "docker.io/",
		"docker.io//a", "a@sha256:" HEX_A "@sha256:" HEX_A, "a:tag@", "https://a.com/b" };
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct err err = { 0 };
		struct image_ref ref = { 0 };
		if (image_ref_parse(wrong[i], &ref, &err) != -EINVAL)
			fail_msg("accepted: %s", wrong[i]);
		assert_int_equal(err.kind, ERR_INVALID);
		assert_null(ref.repository);
		assert_null(strchr(err.message, '\x1b'));
		assert_null(strchr(err.message, '\n'));
	}
}

static void a_long_path_and_a_long_tag_are_refused(void **context)
{
	(void)context;
	static const struct {
		const char *domain;
		size_t path, tag;
		int expected;
	} cases[] = {
		{ "x.com/", 255, 128, 0 },
		{ "x.com/", 256, 1, -EINVAL },
		{ "x.com/", 10, 129, -EINVAL },
		{ "", 247, 1, 0 }, /* "library/" counts */
		{ "", 248, 1, -EINVAL },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO_DONE(text) text = { 0 };
		text_puts(&text, cases[i].domain);
		for (size_t n = 0; n < cases[i].path; n++)
			text_puts(&text, "a");
		text_puts(&text, ":");
		for (size_t n = 0; n < cases[i].tag; n++)
			text_puts(&text, "t");
		struct err err = { 0 };
		AUTO_DONE(image_ref) ref = { 0 };
		assert_int_equal(image_ref_parse(text_string(&text), &ref, &err),
			cases[i].expected);
	}
}

static void a_repository_has_a_familiar_form(void **context)
{
	(void)context;
	static const char *const cases[][2] = {
		{ "docker.io/library/busybox", "busybox" },
		{ "docker.io/user/app", "user/app" },
		{ "docker.io/library/a/b", "library/a/b" },
		{ "quay.io/library/a", "quay.io/library/a" },
		{ "docker.io/a.b/c", "docker.io/a.b/c" },
		{ "docker.io/localhost/c", "docker.io/localhost/c" },
		{ "docker.io/library/a.b", "a.b" },
		{ "plain", "plain" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO_FREE char *familiar = image_repository_familiar(cases[i][0]);
		assert_string_equal(familiar, cases[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(references_read_as_docker_reads_them),
		cmocka_unit_test(what_is_no_reference_is_refused),
		cmocka_unit_test(a_long_path_and_a_long_tag_are_refused),
		cmocka_unit_test(a_repository_has_a_familiar_form),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
