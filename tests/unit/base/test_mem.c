#include "test.h"

#include <sys/wait.h>

#include "base/mem.h"

/* The address sanitizer, where it is built in, would rather abort than say no. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}

struct pair {
	int a, b;
};

static void new_memory_is_zero(void **state)
{
	(void)state;
	AUTO_FREE struct pair *one = NEW(pair);
	assert_int_equal(one->a + one->b, 0);
	AUTO_FREE struct pair *none = NEW_ARRAY(pair, 0);
	assert_non_null(none);
	AUTO_FREE char *grown = mem_grow(mem_strdup("abc"), 100, 1);
	assert_string_equal(grown, "abc");
}

static void new_pages_start_at_a_page(void **state)
{
	(void)state;
	AUTO_FREE char *one = mem_new_pages(1);
	AUTO_FREE char *more = mem_new_pages(MEM_PAGE + 1);
	assert_int_equal((uintptr_t)one % MEM_PAGE, 0);
	assert_int_equal((uintptr_t)more % MEM_PAGE, 0);
	memset(more, 1, MEM_PAGE + 1);
}

static void mem_try_has_a_limit(void **state)
{
	(void)state;
	struct err err = { 0 };
	void *memory = NULL;
	assert_error(mem_try(101, 100, &memory, &err), ERR_LIMIT, "limit of 100");
	assert_error(mem_try(UINT64_MAX / 2, UINT64_MAX, &memory, &err), ERR_SYSTEM, "no memory");
	assert_null(memory);
	assert_int_equal(mem_try(100, 100, &memory, &err), 0);
	assert_int_equal(((char *)memory)[99], 0);
	free(memory);
	assert_int_equal(mem_try(0, 0, &memory, &err), 0);
	assert_non_null(memory);
	free(memory);
}

/* Runs it in a child without its last words; true if that was aborted. */
static bool aborts(void (*function)(void))
{
	pid_t pid = fork();
	if (pid == 0) {
		(void)close(STDERR_FILENO);
		(void)signal(SIGABRT, SIG_DFL);
		function();
		_exit(0);
	}
	int status = 0;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void break_a_check(void)
{
	CHECK(getpid() == 0);
}

static void allocate_too_much(void)
{
	free(mem_new(SIZE_MAX / 2, 4));
}

static void grow_too_much(void)
{
	free(mem_grow(NULL, SIZE_MAX / 2, 4));
}

static void bugs_and_overflows_abort(void **state)
{
	(void)state;
	assert_true(aborts(break_a_check));
	assert_true(aborts(allocate_too_much));
	assert_true(aborts(grow_too_much));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(new_memory_is_zero),
		cmocka_unit_test(new_pages_start_at_a_page),
		cmocka_unit_test(mem_try_has_a_limit),
		cmocka_unit_test(bugs_and_overflows_abort),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
