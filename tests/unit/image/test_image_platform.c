/* image_platform - this machine's images, and no others. */
#include "fixture.h"

#include "image/image_platform.h"

static bool is_host(const char *format, const char *architecture)
{
	AUTO_DONE(text) text = { 0 };
	for (const char *c = format; *c != 0; c++)
		if (*c == '%')
			text_puts(&text, architecture);
		else
			text_add(&text, c, 1);
	struct err err = { 0 };
	AUTO_JSON platform = NULL;
	assert_int_equal(json_parse(view_of_text(&text), "platform", &platform, &err), 0);
	return image_platform_is_host(platform);
}

static void only_this_operating_system_and_architecture_fit(void **context)
{
	(void)context;
	struct image_platform host = image_platform_host();
	assert_true(is_host("{\"os\":\"linux\",\"architecture\":\"%\"}", host.architecture));
	assert_true(is_host("{\"os\":\"linux\",\"architecture\":\"%\",\"variant\":\"\"}",
		host.architecture));
	static const char *const foreign[] = {
		"{}",
		"{\"os\":\"linux\"}",
		"{\"architecture\":\"%\"}",
		"{\"os\":\"windows\",\"architecture\":\"%\"}",
		"{\"os\":\"linux\",\"architecture\":\"z80\"}",
		"{\"os\":\"unknown\",\"architecture\":\"unknown\"}",
		"{\"os\":\"linux\",\"architecture\":\"%\",\"variant\":\"v99\"}",
		"{\"os\":[\"linux\"],\"architecture\":\"%\"}",
	};
	for (size_t i = 0; i < ARRAY_LEN(foreign); i++)
		assert_false(is_host(foreign[i], host.architecture));
	if (host.variant != NULL) {
		AUTO_FREE char *text =
			text_format("{\"os\":\"linux\",\"architecture\":\"%%\",\"variant\":\"%s\"}",
				host.variant);
		assert_true(is_host(text, host.architecture));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_this_operating_system_and_architecture_fit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
