/* Drivers on a double: hierarchies are plain directories, their files made beforehand. */
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
#include "container/cgroup_driver.h"
#include "container/container_spec.h"

static const char v1_mountinfo[] =
	"25 20 0:22 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n"
	"26 25 0:23 / /sys/fs/cgroup/systemd rw shared:9 - cgroup cgroup rw,xattr,name=systemd\n"
	"27 25 0:24 / /sys/fs/cgroup/cpu,cpuacct rw shared:10 - cgroup cgroup rw,cpu,cpuacct\n"
	"28 25 0:25 / /sys/fs/cgroup/mem\\040ory rw - cgroup cgroup rw,memory\n"
	"29 25 0:26 / /sys/fs/cgroup/net_cls rw - cgroup cgroup rw,net_cls\n"
	"broken line without fields\n";
static const char v1_self[] = "11:net_cls:/\n"
			      "4:memory:/user.slice\n"
			      "3:cpu,cpuacct:/\n"
			      "2:freezer:/\n" /* not mounted */
			      "1:name=systemd:/user.slice\n";
static const char hybrid_mountinfo[] =
	"28 25 0:25 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
	"29 25 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
static const char hybrid_self[] = "4:memory:/\n0::/\n";
static const char v2_mountinfo[] =
	"31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
static const char v2_self[] = "0::/user.slice/session-1.scope\n";

static struct cgroup_host host_of(const char *mountinfo, const char *self)
{
	struct cgroup_host host;
	struct err err = { 0 };
	assert_int_equal(cgroup_host_parse(view_of(mountinfo), view_of(self), &host, &err), 0);
	return host;
}

static void v1_host_has_its_mounted_controllers(void **state)
{
	(void)state;
	struct cgroup_host host = host_of(v1_mountinfo, v1_self);
	assert_int_equal(host.len, 3);
	assert_string_equal(host.hierarchies[1].mount_point, "/sys/fs/cgroup/mem ory");
	assert_string_equal(host.hierarchies[1].controllers, "memory");
	assert_string_equal(host.hierarchies[2].controllers, "cpu,cpuacct");
	assert_ptr_equal(cgroup_host_driver(&host), &cgroup_v1_ops);
	cgroup_host_done(&host);
}

static void hybrid_host_is_driven_as_v1(void **state)
{
	(void)state;
	struct cgroup_host host = host_of(hybrid_mountinfo, hybrid_self);
	assert_int_equal(host.len, 2);
	assert_true(host.hierarchies[1].is_v2);
	assert_ptr_equal(cgroup_host_driver(&host), &cgroup_v1_ops);
	cgroup_host_done(&host);
}

static void v2_host_is_driven_as_v2(void **state)
{
	(void)state;
	struct cgroup_host host = host_of(v2_mountinfo, v2_self);
	assert_int_equal(host.len, 1);
	assert_string_equal(host.hierarchies[0].mount_point, "/sys/fs/cgroup");
	assert_ptr_equal(cgroup_host_driver(&host), &cgroup_v2_ops);
	cgroup_host_done(&host);
}

static void host_without_cgroups_is_an_error(void **state)
{
	(void)state;
	struct cgroup_host host = host_of("", "");
	assert_null(cgroup_host_driver(&host));
	struct cgroup *cgroup;
	struct err err = { 0 };
	assert_int_equal(cgroup_open_on(&host, "moat/x", &cgroup, &err), -EOPNOTSUPP);
}

struct fixture {
	char dir[32];
	struct cgroup_host host;
	struct container_spec spec;
	struct cgroup *cgroup;
	struct err err;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	memcpy(f->dir, "/tmp/moat-cgrp-XXXXXX", 22);
	*state = f;
	return mkdtemp(f->dir) == NULL;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	cgroup_free(f->cgroup);
	cgroup_host_done(&f->host);
	int r = path_remove_tree(AT_FDCWD, f->dir, NULL);
	free(f);
	return r;
}

static void add_file(const struct fixture *f, const char *name, const char *content)
{
	AUTO_FREE char *path = text_format("%s/%s", f->dir, name);
	char *slash = strrchr(path, '/');
	*slash = '\0';
	assert_int_equal(path_make_dirs(path, 0755, NULL), 0);
	*slash = '/';
	assert_int_equal(file_write_at(AT_FDCWD, path, 0644, view_of(content), NULL), 0);
}

static void assert_file(const struct fixture *f, const char *name, const char *content)
{
	AUTO_FREE char *path = text_format("%s/%s", f->dir, name);
	AUTO_DONE(text) text = { 0 };
	assert_int_equal(file_read_at(AT_FDCWD, path, 4096, &text, NULL), 0);
	assert_string_equal(text_string(&text), content);
}

static void v1_double(struct fixture *f)
{
	AUTO_FREE char *mountinfo = text_format("1 1 0:1 / %s/memory rw - cgroup cgroup rw,memory\n"
						"1 1 0:2 / %s/cpu rw - cgroup cgroup rw,cpu\n",
		f->dir, f->dir);
	f->host = host_of(mountinfo, "2:memory:/\n1:cpu:/\n");
	add_file(f, "memory/moat/x/tasks", "");
	add_file(f, "memory/moat/x/memory.limit_in_bytes", "");
	add_file(f, "memory/moat/x/memory.usage_in_bytes", "4096\n");
	add_file(f, "memory/moat/x/memory.oom_control", "oom_kill_disable 0\noom_kill 3\n");
	add_file(f, "cpu/moat/x/tasks", "");
	add_file(f, "cpu/moat/x/cpu.cfs_period_us", "");
	add_file(f, "cpu/moat/x/cpu.cfs_quota_us", "");
	add_file(f, "cpu/moat/x/cpu.shares", "");
}

static void v2_double(struct fixture *f)
{
	AUTO_FREE char *mountinfo = text_format("1 1 0:1 / %s rw - cgroup2 cgroup2 rw\n", f->dir);
	f->host = host_of(mountinfo, "0::/\n");
	free(f->host.hierarchies[0].controllers);
	f->host.hierarchies[0].controllers = text_format("cpu,memory,pids");
	add_file(f, "cgroup.subtree_control", "cpu\n");
	add_file(f, "moat/cgroup.subtree_control", "");
	add_file(f, "moat/x/cgroup.procs", "");
	add_file(f, "moat/x/memory.max", "");
	add_file(f, "moat/x/memory.swap.max", "");
	add_file(f, "moat/x/cpu.max", "");
	add_file(f, "moat/x/cpu.weight", "");
	add_file(f, "moat/x/pids.max", "");
	add_file(f, "moat/x/memory.current", "8192\n");
	add_file(f, "moat/x/memory.events", "low 0\noom_kill 2\n");
	add_file(f, "moat/x/cpu.stat", "usage_usec 5\nuser_usec 4\n");
}

static const struct cgroup_limits limits = { .cpu_quota_us = 150000,
	.cpu_shares = 1024,
	.memory_bytes = 1048576 };

static void v1_limits_are_written(void **state)
{
	struct fixture *f = *state;
	v1_double(f);
	assert_int_equal(cgroup_create_on(&f->host, "moat/x", &limits, &f->spec, &f->cgroup,
				 &f->err),
		0);
	assert_file(f, "memory/moat/x/memory.limit_in_bytes", "1048576");
	assert_file(f, "cpu/moat/x/cpu.cfs_period_us", "100000");
	assert_file(f, "cpu/moat/x/cpu.cfs_quota_us", "150000");
	assert_file(f, "cpu/moat/x/cpu.shares", "1024");
	assert_int_equal(cgroup_v2_fd(f->cgroup), -1);
	assert_int_equal(cgroup_join_self(f->cgroup, &f->err), 0);
	assert_file(f, "memory/moat/x/tasks", "0");
	struct cgroup_stats stats;
	assert_int_equal(cgroup_stats_read(f->cgroup, &stats), 0);
	assert_int_equal(stats.memory_bytes, 4096);
	assert_int_equal(stats.oom_kills, 3);
}

static void v2_limits_are_written(void **state)
{
	struct fixture *f = *state;
	v2_double(f);
	struct cgroup_limits more = limits;
	more.pids = 10;
	assert_int_equal(cgroup_create_on(&f->host, "moat/x", &more, &f->spec, &f->cgroup, &f->err),
		0);
	assert_file(f, "cgroup.subtree_control", "+memory +pids ");
	assert_file(f, "moat/cgroup.subtree_control", "+cpu +memory +pids ");
	assert_file(f, "moat/x/memory.max", "1048576");
	assert_file(f, "moat/x/memory.swap.max", "1048576");
	assert_file(f, "moat/x/cpu.max", "150000 100000");
	assert_file(f, "moat/x/cpu.weight", "39");
	assert_file(f, "moat/x/pids.max", "10");
	assert_true(cgroup_v2_fd(f->cgroup) >= 0);
	struct cgroup_stats stats;
	assert_int_equal(cgroup_stats_read(f->cgroup, &stats), 0);
	assert_int_equal(stats.memory_bytes, 8192);
	assert_int_equal(stats.cpu_ns, 5000);
	assert_int_equal(stats.oom_kills, 2);
}

static void missing_controller_is_named_when_a_limit_needs_it(void **state)
{
	struct fixture *f = *state;
	v1_double(f);
	const struct cgroup_limits pids = { .pids = 5 };
	assert_int_equal(cgroup_create_on(&f->host, "moat/x", &pids, &f->spec, &f->cgroup, &f->err),
		-EOPNOTSUPP);
	assert_int_equal(f->err.kind, ERR_UNSUPPORTED);
	assert_non_null(strstr(f->err.message, "\"pids\""));
}

static void device_list_needs_its_controller(void **state)
{
	struct fixture *f = *state;
	v1_double(f);
	struct spec_device_rule rule = { .is_allowed = false,
		.type = 'a',
		.major = -1,
		.minor = -1,
		.access = DEVICE_ALL };
	f->spec.device_rules = &rule;
	f->spec.device_rules_len = 1;
	const struct cgroup_limits none = { 0 };
	assert_int_equal(cgroup_create_on(&f->host, "moat/x", &none, &f->spec, &f->cgroup, &f->err),
		-EOPNOTSUPP);
	assert_non_null(strstr(f->err.message, "\"devices\""));
}

static void path_that_leads_out_is_refused(void **state)
{
	struct fixture *f = *state;
	static const char *const bad[] = { "", "/x", "moat/../..", "moat//x", "./x", "moat/" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		v1_double(f);
		assert_int_equal(cgroup_open_on(&f->host, bad[i], &f->cgroup, &f->err), -EINVAL);
	}
}

static void removing_what_is_not_there_succeeds(void **state)
{
	struct fixture *f = *state;
	v1_double(f);
	assert_int_equal(cgroup_remove_on(&f->host, "moat/none", 0, &f->err), 0);
}

#define CGROUP_TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(v1_host_has_its_mounted_controllers),
		cmocka_unit_test(hybrid_host_is_driven_as_v1),
		cmocka_unit_test(v2_host_is_driven_as_v2),
		cmocka_unit_test(host_without_cgroups_is_an_error),
		CGROUP_TEST(v1_limits_are_written),
		CGROUP_TEST(v2_limits_are_written),
		CGROUP_TEST(missing_controller_is_named_when_a_limit_needs_it),
		CGROUP_TEST(device_list_needs_its_controller),
		CGROUP_TEST(path_that_leads_out_is_refused),
		CGROUP_TEST(removing_what_is_not_there_succeeds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
