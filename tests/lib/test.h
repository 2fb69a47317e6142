/* test - what every unit test includes: cmocka with the headers it wants, a directory to work in,
 * and checks of errors. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/path.h"
#include "base/text.h"

/* A directory of its own for one test: cmocka_unit_test_setup_teardown(f, scratch_make,
 * scratch_remove), and in the test  const struct scratch *scratch = *state;  */
struct scratch {
	char *path; /* owned */
	int fd;     /* owned */
};

static inline int scratch_make(void **state)
{
	struct scratch *scratch = calloc(1, sizeof(*scratch));
	const char *parent = getenv("TMPDIR");
	scratch->path = text_format("%s/moat-test-XXXXXX", parent != NULL ? parent : "/tmp");
	if (mkdtemp(scratch->path) == NULL)
		return -1;
	scratch->fd = open(scratch->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = scratch;
	return scratch->fd < 0 ? -1 : 0;
}

static inline int scratch_remove(void **state)
{
	struct scratch *scratch = *state;
	(void)close(scratch->fd);
	int r = path_remove_tree(AT_FDCWD, scratch->path, NULL);
	free(scratch->path);
	free(scratch);
	return r;
}

#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_make, scratch_remove)

/* The call failed with this errno, and err tells of this kind with these words in it. */
#define assert_error(call, kind_, words)                              \
	do {                                                          \
		int code_ = (call);                                   \
		assert_true(code_ < 0);                               \
		assert_int_equal(err.code, code_);                    \
		assert_string_equal(err_kind_name(err.kind), #kind_); \
		assert_non_null(strstr(err.message, words));          \
		assert_null(strchr(err.message, '\n'));               \
	} while (0)

#define V(literal) ((struct view){ (literal), sizeof(literal) - 1 })
