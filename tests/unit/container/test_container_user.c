#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/path.h"
#include "container/container.h"

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
			     "# a comment\n"
			     "broken line\n"
			     "minus:x:-1:-1::/:/bin/sh\n"
			     "huge:x:4294967296:0::/:/bin/sh\n"
			     "web:x:33:34:Web:/var/www:/bin/sh\n"
			     "bare:x:44:45\n"
			     "1000:x:77:77:a name of digits:/n:/bin/sh\n";
static const char group[] = "root:x:0:\n"
			    "adm:x:4:root,web\n"
			    "web:x:34:\n"
			    "logs:x:50:daemon,web\n"
			    "bad:x:99999999999:web\n"
			    "audio:x:29: web , other\n";

struct fixture {
	char dir[32];
	int root;
	struct container_user user;
	struct err err;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	memcpy(f->dir, "/tmp/moat-user-XXXXXX", 22);
	if (mkdtemp(f->dir) == NULL)
		return -1;
	f->root = open(f->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	*state = f;
	return mkdirat(f->root, "etc", 0755) < 0 ||
	       file_write_at(f->root, "etc/passwd", 0644, view_of(passwd), NULL) < 0 ||
	       file_write_at(f->root, "etc/group", 0644, view_of(group), NULL) < 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	container_user_done(&f->user);
	(void)close(f->root);
	int r = path_remove_tree(AT_FDCWD, f->dir, NULL);
	free(f);
	return r;
}

static int resolve(struct fixture *f, const char *name)
{
	container_user_done(&f->user);
	return container_user_resolve(f->root, name, &f->user, &f->err);
}

static void empty_user_is_root_with_his_groups(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(resolve(f, ""), 0);
	assert_int_equal(f->user.uid, 0);
	assert_string_equal(f->user.home, "/root");
	assert_int_equal(f->user.groups_len, 2);
	assert_int_equal(f->user.groups[0], 0);
	assert_int_equal(f->user.groups[1], 4);
}

static void supplementary_groups_match_the_image(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(resolve(f, "web"), 0);
	assert_int_equal(f->user.uid, 33);
	assert_int_equal(f->user.gid, 34);
	assert_string_equal(f->user.name, "web");
	assert_int_equal(f->user.groups_len, 4);
	static const gid_t wanted[] = { 34, 4, 50, 29 };
	assert_memory_equal(f->user.groups, wanted, sizeof(wanted));
}

static void explicit_group_replaces_all_others(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(resolve(f, "web:logs"), 0);
	assert_int_equal(f->user.gid, 50);
	assert_int_equal(f->user.groups_len, 1);
	assert_int_equal(resolve(f, "web:4242"), 0);
	assert_int_equal(f->user.gid, 4242);
}

static void number_of_a_known_user_gets_his_entry(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(resolve(f, "33"), 0);
	assert_int_equal(f->user.gid, 34);
	assert_string_equal(f->user.home, "/var/www");
}

static void number_is_never_a_name(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(resolve(f, "1000"), 0);
	assert_int_equal(f->user.uid, 1000);
	assert_int_equal(f->user.gid, 0);
	assert_null(f->user.name);
	assert_string_equal(f->user.home, "/");
}

static void short_line_still_counts(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(resolve(f, "bare"), 0);
	assert_int_equal(f->user.uid, 44);
	assert_string_equal(f->user.home, "/");
}

static void unknown_names_are_not_found(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(resolve(f, "nobody"), -ENOENT);
	assert_int_equal(f->err.kind, ERR_NOT_FOUND);
	assert_int_equal(resolve(f, "web:nobody"), -ENOENT);
	assert_int_equal(resolve(f, "-1"), -ENOENT);
	assert_int_equal(resolve(f, "minus"), -ENOENT);
	assert_int_equal(resolve(f, "huge"), -ENOENT);
}

static void user_4294967296_is_refused(void **state)
{
	struct fixture *f = *state;
	static const char *const too_big[] = { "4294967296", "2147483648", "4294967295",
		"99999999999999999999", "0:4294967296" };
	for (size_t i = 0; i < sizeof(too_big) / sizeof(too_big[0]); i++) {
		assert_int_equal(resolve(f, too_big[i]), -EINVAL);
		assert_int_equal(f->err.kind, ERR_INVALID);
	}
	assert_int_equal(resolve(f, "2147483647"), 0);
}

static void two_colons_are_refused(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(resolve(f, "web:logs:0"), -EINVAL);
}

static void image_without_files_knows_numbers_only(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(unlinkat(f->root, "etc/passwd", 0), 0);
	assert_int_equal(unlinkat(f->root, "etc/group", 0), 0);
	assert_int_equal(resolve(f, ""), 0);
	assert_int_equal(resolve(f, "12:13"), 0);
	assert_int_equal(f->user.gid, 13);
	assert_int_equal(resolve(f, "web"), -ENOENT);
}

static void passwd_of_the_host_is_out_of_reach(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(unlinkat(f->root, "etc/passwd", 0), 0);
	assert_int_equal(symlinkat("../../../../etc/passwd", f->root, "etc/passwd"), 0);
	assert_true(resolve(f, "root") < 0);
}

#define USER_TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		USER_TEST(empty_user_is_root_with_his_groups),
		USER_TEST(supplementary_groups_match_the_image),
		USER_TEST(explicit_group_replaces_all_others),
		USER_TEST(number_of_a_known_user_gets_his_entry),
		USER_TEST(number_is_never_a_name),
		USER_TEST(short_line_still_counts),
		USER_TEST(unknown_names_are_not_found),
		USER_TEST(user_4294967296_is_refused),
		USER_TEST(two_colons_are_refused),
		USER_TEST(image_without_files_knows_numbers_only),
		USER_TEST(passwd_of_the_host_is_out_of_reach),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
