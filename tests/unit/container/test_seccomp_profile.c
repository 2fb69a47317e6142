#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/path.h"
#include "container/container_spec.h"
#include "container/seccomp_filter.h"

static json *profile_of(const char *text)
{
	json *profile = NULL;
	struct err err = { 0 };
	if (json_parse(view_of(text), "test", &profile, &err) < 0)
		fail_msg("%s", err.message);
	return profile;
}

static void profile_decides_in_a_real_process(void **state)
{
	(void)state;
	AUTO_JSON profile = profile_of(
		"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":[\"SCMP_ARCH_X86_64\","
		"\"SCMP_ARCH_AARCH64\",\"SCMP_ARCH_X86\"],\"syscalls\":["
		"{\"names\":[\"mkdir\",\"no_such_call\"],\"action\":\"SCMP_ACT_ERRNO\","
		"\"errnoRet\":22},"
		"{\"names\":[\"chdir\"],\"action\":\"SCMP_ACT_ALLOW\"},"
		"{\"names\":[\"dup\"],\"action\":\"SCMP_ACT_ERRNO\",\"args\":[{\"index\":0,"
		"\"value\":1,\"op\":\"SCMP_CMP_EQ\"},{\"index\":0,\"value\":2,\"op\":"
		"\"SCMP_CMP_EQ\"}]}]}");
	struct container_spec spec = { .seccomp = SECCOMP_CUSTOM, .seccomp_profile = profile };
	struct seccomp_filter filter = { 0 };
	struct err err = { 0 };
	assert_int_equal(seccomp_filter_get(&spec, NULL, &filter, &err), 0);
	pid_t pid = fork();
	if (pid == 0) {
		if (seccomp_filter_load(&filter, &err) < 0)
			_exit(1);
		if (mkdir("/nowhere/x", 0755) == 0 || errno != EINVAL)
			_exit(2);
		if (dup(1) >= 0 || errno != EPERM || dup(2) >= 0)
			_exit(3);
		_exit(dup(0) < 0 && errno == EPERM ? 4 : 0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	seccomp_filter_done(&filter);
}

static void flags_are_honoured_or_refused(void **state)
{
	(void)state;
	AUTO_JSON fine = profile_of("{\"flags\":[\"SECCOMP_FILTER_FLAG_LOG\","
				    "\"SECCOMP_FILTER_FLAG_TSYNC\"]}");
	AUTO_JSON unknown = profile_of("{\"flags\":[\"SECCOMP_FILTER_FLAG_X\"]}");
	AUTO_JSON listener = profile_of("{\"listenerPath\":\"/x\"}");
	unsigned flags = 0;
	assert_int_equal(seccomp_profile_flags(fine, &flags, NULL), 0);
	assert_int_equal(flags, SECCOMP_FILTER_FLAG_LOG);
	assert_int_equal(seccomp_profile_flags(unknown, &flags, NULL), -EOPNOTSUPP);
	assert_int_equal(seccomp_profile_flags(listener, &flags, NULL), -EOPNOTSUPP);
}

static void broken_profiles_are_refused(void **state)
{
	(void)state;
#pragma GCC diagnostic push
#ifdef __clang__
#pragma GCC diagnostic ignored "-Wstring-concatenation" /* long strings, on purpose */
#endif
	static const char *const broken[] = { "{}", "{\"defaultAction\":\"SCMP_ACT_NOTIFY\"}",
		"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"dup\"]}]}",
		"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"dup\"],"
		"\"action\":"
		"\"SCMP_ACT_ERRNO\",\"args\":[{\"index\":9,\"op\":\"SCMP_CMP_EQ\"}]}]}",
		"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"dup\"],"
		"\"action\":"
		"\"SCMP_ACT_ERRNO\",\"errnoRet\":5000}]}",
		"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[7],\"action\":"
		"\"SCMP_ACT_ERRNO\"}]}" };
#pragma GCC diagnostic pop
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		AUTO_JSON profile = profile_of(broken[i]);
		AUTO_DONE(text) bpf = { 0 };
		assert_true(seccomp_compile_profile(profile, &bpf, NULL) < 0);
	}
}

static void compiled_filter_is_kept_and_a_damaged_one_is_not_used(void **state)
{
	(void)state;
	char dir[] = "/tmp/moat-scmp-XXXXXX";
	assert_non_null(mkdtemp(dir));
	struct container_spec spec = { .seccomp = SECCOMP_DEFAULT };
	struct seccomp_filter first = { 0 };
	struct seccomp_filter second = { 0 };
	assert_int_equal(seccomp_filter_get(&spec, dir, &first, NULL), 0);
	AUTO_FREE char *truncate = text_format("for f in %s/*; do echo x > $f; done", dir);
	pid_t pid = fork();
	if (pid == 0) {
		(void)execl("/bin/sh", "sh", "-c", truncate, NULL);
		_exit(127);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(seccomp_filter_get(&spec, dir, &second, NULL), 0);
	assert_int_equal(first.len, second.len);
	assert_memory_equal(first.insns, second.insns, first.len * sizeof(first.insns[0]));
	seccomp_filter_done(&first);
	seccomp_filter_done(&second);
	assert_int_equal(path_remove_tree(AT_FDCWD, dir, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(profile_decides_in_a_real_process),
		cmocka_unit_test(flags_are_honoured_or_refused),
		cmocka_unit_test(broken_profiles_are_refused),
		cmocka_unit_test(compiled_filter_is_kept_and_a_damaged_one_is_not_used),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
