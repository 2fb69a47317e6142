#include "test.h"

#include <sys/mman.h>

#include "base/fd.h"
#include "base/log.h"

/* What was logged since the last call. */
static void assert_logged(int fd, const char *expected)
{
	AUTO_DONE(text) text = { 0 };
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(fd_read_text(fd, 100000, "log", &text, NULL), 0);
	assert_string_equal(text_string(&text), expected);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
}

static void lines_have_a_level_and_no_escapes(void **state)
{
	int fd = *(int *)*state;
	log_warning("no IPv6 on %s", "eth0");
	log_debug("not shown");
	assert_logged(fd, "moat: warning: no IPv6 on eth0\n");
	log_set_level(LOG_DEBUG);
	log_debug("shown\nforged\x1b[0m");
	assert_logged(fd, "moat: debug: shown?forged?[0m\n");
	log_set_level(LOG_ERROR);
	log_info("not shown");
	log_error("e");
	assert_logged(fd, "moat: error: e\n");
}

static void a_long_line_is_cut(void **state)
{
	int fd = *(int *)*state;
	static char text[5000];
	memset(text, 'x', sizeof(text) - 1);
	log_error("%s", text);
	AUTO_FREE char *expected = text_format("moat: error: %.*s\n", 1023 - 14, text);
	assert_logged(fd, expected);
}

static void steps_are_traced_on_request(void **state)
{
	int fd = *(int *)*state;
	log_trace_step("run", "image", 12);
	assert_logged(fd, "");
	log_set_trace(true);
	log_trace_step("run", "image", 12);
	assert_logged(fd, "moat: trace: run image 12 us\n");
}

int main(void)
{
	int fd = memfd_create("log", MFD_CLOEXEC);
	log_set_fd(fd);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(lines_have_a_level_and_no_escapes, &fd),
		cmocka_unit_test_prestate(a_long_line_is_cut, &fd),
		cmocka_unit_test_prestate(steps_are_traced_on_request, &fd),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
