/* The whole wall, from inside: real containers on a busybox root.  Needs root. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "box.h"
#include "container/cgroup_driver.h"

struct fixture {
	struct box box;
	struct text out;
	struct err err;
};

static int set_up(void **state)
{
	struct fixture *f = NEW(fixture);
	box_init(&f->box);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	box_done(&f->box);
	text_done(&f->out);
	free(f);
	return 0;
}

static int run(struct fixture *f, const char *script)
{
	int status = box_run(&f->box, script, &f->out, &f->err);
	if (status < 0)
		print_message("run: %s\n", f->err.message);
	else if (status > 0)
		print_message("output: %s\n", text_string(&f->out));
	return status;
}

static json *process(struct fixture *f)
{
	return json_get_object(f->box.document, "process");
}

static void symlink_in_root(struct fixture *f, const char *target, const char *name)
{
	AUTO_FREE char *path = text_format("%s/%s", f->box.root, name);
	assert_int_equal(symlink(target, path), 0);
}

#define assert_output_has(f, part) assert_non_null(strstr(text_string(&(f)->out), (part)))

static void init_is_process_1_and_has_its_own_hostname(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(run(f, "echo pid $$; hostname; ls -d /proc/[0-9]* | head -n 1"), 0);
	assert_string_equal(text_string(&f->out), "pid 1\nbox\n/proc/1\n");
}

static void workload_is_filtered_and_has_only_the_default_capabilities(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(run(f, "cat /proc/self/status"), 0);
	assert_output_has(f, "Seccomp:\t2\n");
	assert_output_has(f, "CapEff:\t00000000a80425fb\n");
	assert_output_has(f, "CapPrm:\t00000000a80425fb\n");
	assert_output_has(f, "CapBnd:\t00000000a80425fb\n");
	assert_output_has(f, "NoNewPrivs:\t0\n");
}

static void inheritable_set_is_empty(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(run(f, "cat /proc/self/status"), 0);
	assert_output_has(f, "CapInh:\t0000000000000000\n");
	assert_output_has(f, "CapAmb:\t0000000000000000\n");
}

static void no_new_privileges_is_set_when_asked_for(void **state)
{
	struct fixture *f = *state;
	json_set_bool(process(f), "noNewPrivileges", true);
	assert_int_equal(run(f, "cat /proc/self/status"), 0);
	assert_output_has(f, "NoNewPrivs:\t1\n");
	assert_output_has(f, "Seccomp:\t2\n");
}

static void workload_is_in_its_cgroup_and_sees_it_as_the_root(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(run(f, "cat /proc/self/cgroup; cat "
				"/sys/fs/cgroup/memory/memory.limit_in_bytes "
				"/sys/fs/cgroup/memory.max 2>/dev/null; true"),
		0);
	assert_output_has(f, "67108864\n");
	assert_null(strstr(text_string(&f->out), "moat-unit"));
}

static void release_agent_cannot_be_written(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(run(f, "for d in /sys/fs/cgroup /sys/fs/cgroup/*; do "
				"test -e $d/release_agent && echo $d; "
				"mkdir $d/x 2>/dev/null && echo made in $d; "
				"echo 1 2>/dev/null > $d/notify_on_release && echo wrote $d; done; "
				"true"),
		0);
	assert_null(strstr(text_string(&f->out), "made in"));
	assert_null(strstr(text_string(&f->out), "wrote"));
	assert_null(strstr(text_string(&f->out), "/sys/fs/cgroup/memory\n"));
}

static void masked_paths_read_empty(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(run(f, "cat /proc/keys /proc/interrupts /proc/timer_list | wc -c; "
				"ls /sys/firmware | wc -l"),
		0);
	assert_string_equal(text_string(&f->out), "0\n0\n");
}

static void readonly_paths_cannot_be_written(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(run(f, "echo 1 > /proc/sys/kernel/panic && echo panic; "
				"echo h > /proc/sysrq-trigger && echo sysrq; "
				"touch /sys/x && echo sys; true"),
		0);
	assert_null(strstr(text_string(&f->out), "panic\n"));
	assert_null(strstr(text_string(&f->out), "sysrq\n"));
	assert_null(strstr(text_string(&f->out), "sys\n"));
}

static void devices_are_there_and_work(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(run(f, "echo x > /dev/null && head -c 4 /dev/zero | wc -c && "
				"head -c 4 /dev/urandom | wc -c && readlink /dev/fd && readlink "
				"/dev/ptmx"),
		0);
	assert_string_equal(text_string(&f->out), "4\n4\n/proc/self/fd\npts/ptmx\n");
}

static void mknod_of_root_disk_cannot_be_opened(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(run(f, "mknod /tmp/disk b 254 0 && mknod /tmp/mem c 1 1 && "
				"! head -c 1 /tmp/disk && ! head -c 1 /tmp/mem"),
		0);
	assert_output_has(f, "Operation not permitted");
}

static void dev_as_symlink_in_image_is_refused(void **state)
{
	struct fixture *f = *state;
	symlink_in_root(f, "tmp", "dev");
	assert_int_equal(run(f, "true"), -EACCES);
	assert_int_equal(f->err.kind, ERR_DENIED);
	assert_non_null(strstr(f->err.message, "/dev"));
}

static void proc_as_symlink_in_image_is_refused(void **state)
{
	struct fixture *f = *state;
	symlink_in_root(f, "tmp", "proc");
	assert_int_equal(run(f, "true"), -EACCES);
}

static void volume_over_proc_is_refused(void **state)
{
	struct fixture *f = *state;
	box_add_mount(&f->box, "/proc/sys", "tmpfs", "tmpfs", "rw");
	assert_int_equal(run(f, "true"), -EACCES);
	assert_int_equal(f->err.kind, ERR_DENIED);
}

static void volume_over_proc_through_a_symlink_is_refused(void **state)
{
	struct fixture *f = *state;
	symlink_in_root(f, "../../proc/self/../sys", "innocent");
	box_add_mount(&f->box, "/innocent", "tmpfs", "tmpfs", "rw");
	assert_int_equal(run(f, "true"), -EACCES);
	assert_int_equal(f->err.kind, ERR_DENIED);
}

static void volume_before_proc_is_refused_by_its_name(void **state)
{
	struct fixture *f = *state;
	json_set(f->box.document, "mounts", json_new_array());
	box_add_mount(&f->box, "/proc", "tmpfs", "tmpfs", "rw");
	assert_int_equal(run(f, "true"), -EACCES);
}

static void mount_target_stays_inside_the_root(void **state)
{
	struct fixture *f = *state;
	symlink_in_root(f, "../../../../../../tmp", "way-out");
	box_add_mount(&f->box, "/way-out/moat-box-escape", "tmpfs", "tmpfs", "rw");
	assert_int_equal(run(f, "test -d /tmp/moat-box-escape"), 0);
	assert_int_equal(access("/tmp/moat-box-escape", F_OK), -1);
}

static void bind_mounts_are_read_only_when_asked_for(void **state)
{
	struct fixture *f = *state;
	AUTO_FREE char *source = text_format("%s/volume", f->box.dir);
	assert_int_equal(mkdir(source, 0755), 0);
	box_add_mount(&f->box, "/data/ro", "bind", source, "rbind,ro");
	box_add_mount(&f->box, "/data/rw", "bind", source, "rbind");
	assert_int_equal(run(f, "touch /data/rw/new && test -e /data/ro/new && ! touch /data/ro/x"),
		0);
}

static void file_is_bound_onto_a_file_that_is_made_for_it(void **state)
{
	struct fixture *f = *state;
	AUTO_FREE char *source = text_format("%s/hosts", f->box.dir);
	assert_int_equal(file_write_at(AT_FDCWD, source, 0644, view_of("1.2.3.4 x\n"), NULL), 0);
	box_add_mount(&f->box, "/etc/hosts", "bind", source, "bind");
	assert_int_equal(run(f, "cat /etc/hosts"), 0);
	assert_string_equal(text_string(&f->out), "1.2.3.4 x\n");
}

static void missing_bind_source_is_named(void **state)
{
	struct fixture *f = *state;
	box_add_mount(&f->box, "/data", "bind", "/nowhere/at/all", "bind");
	assert_int_equal(run(f, "true"), -ENOENT);
	assert_int_equal(f->err.kind, ERR_NOT_FOUND);
	assert_non_null(strstr(f->err.message, "/nowhere/at/all"));
}

static void tmpfs_takes_its_options(void **state)
{
	struct fixture *f = *state;
	box_add_mount(&f->box, "/run", "tmpfs", "tmpfs", "noexec,nosuid,size=1m,mode=1770");
	assert_int_equal(run(f, "grep ' /run ' /proc/mounts; stat -c %a /run"), 0);
	assert_output_has(f, "noexec");
	assert_output_has(f, "size=1024k");
	assert_output_has(f, "1770\n");
}

static void workdir_is_made_and_entered(void **state)
{
	struct fixture *f = *state;
	json_set_string(process(f), "cwd", "/srv/app");
	f->box.user = "web";
	assert_int_equal(run(f, "pwd; stat -c %u:%g ."), 0);
	assert_string_equal(text_string(&f->out), "/srv/app\n33:34\n");
}

static void workdir_through_fd_table_is_refused(void **state)
{
	struct fixture *f = *state;
	f->box.fd_leak = open("/", O_RDONLY | O_DIRECTORY);
	AUTO_FREE char *cwd = text_format("/proc/self/fd/%d", f->box.fd_leak);
	json_set_string(process(f), "cwd", cwd);
	assert_true(run(f, "pwd; ls") < 0);
}

static void only_listed_fds_reach_the_workload(void **state)
{
	struct fixture *f = *state;
	f->box.fd_leak = open("/etc", O_RDONLY | O_DIRECTORY);
	assert_int_equal(run(f, "cd /proc/self/fd; echo *"), 0);
	/* sh itself holds none beyond stdio while it expands but the directory it reads. */
	assert_true(strcmp(text_string(&f->out), "0 1 2\n") == 0 ||
		    strcmp(text_string(&f->out), "0 1 2 3\n") == 0);
}

static void host_file_systems_are_gone(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(run(f, "ls -a /; cat /proc/mounts"), 0);
	assert_null(strstr(text_string(&f->out), "/tmp/moat-box"));
	assert_null(strstr(text_string(&f->out), "lib64"));
}

static void default_profile_denies_fsopen_and_userns(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(run(f, "! unshare -U true && ! unshare -m true && "
				"! mount -t tmpfs none /tmp"),
		0);
	assert_output_has(f, "Operation not permitted");
}

static void missing_command_is_127(void **state)
{
	struct fixture *f = *state;
	box_set_args(&f->box, (const char *const[]){ "nonesuch", NULL });
	assert_int_equal(box_start(&f->box, &f->err), -ENOENT);
	assert_int_equal(f->err.kind, ERR_NO_COMMAND);
	assert_string_equal(f->err.message,
		"exec: \"nonesuch\": executable file not found in $PATH");
	assert_int_equal(box_wait(&f->box), 127);
}

static void missing_path_is_127(void **state)
{
	struct fixture *f = *state;
	box_set_args(&f->box, (const char *const[]){ "/no/such", NULL });
	assert_int_equal(box_start(&f->box, &f->err), -ENOENT);
	assert_string_equal(f->err.message, "exec: \"/no/such\": no such file or directory");
	assert_int_equal(box_wait(&f->box), 127);
}

static void file_without_permission_is_126(void **state)
{
	struct fixture *f = *state;
	box_set_args(&f->box, (const char *const[]){ "/etc/passwd", NULL });
	assert_int_equal(box_start(&f->box, &f->err), -ENOEXEC);
	assert_string_equal(f->err.message, "exec: \"/etc/passwd\": permission denied");
	assert_int_equal(box_wait(&f->box), 126);
}

static void file_of_no_known_format_is_126(void **state)
{
	struct fixture *f = *state;
	AUTO_FREE char *path = text_format("%s/bin/garbage", f->box.root);
	assert_int_equal(file_write_at(AT_FDCWD, path, 0755, view_of("\x7fnothing"), NULL), 0);
	box_set_args(&f->box, (const char *const[]){ "garbage", NULL });
	assert_int_equal(box_start(&f->box, &f->err), -ENOEXEC);
	assert_non_null(strstr(f->err.message, "exec format error"));
	assert_int_equal(box_wait(&f->box), 126);
}

static void user_has_his_groups_home_and_no_capabilities(void **state)
{
	struct fixture *f = *state;
	f->box.user = "web";
	assert_int_equal(run(f, "id -u; id -g; grep ^Groups /proc/self/status; "
				"grep ^CapEff /proc/self/status; echo $HOME"),
		0);
	assert_output_has(f, "33\n34\n");
	assert_output_has(f, "Groups:\t29 34 50");
	assert_output_has(f, "CapEff:\t0000000000000000\n");
	assert_output_has(f, "/var/www\n");
}

static void unknown_user_is_refused(void **state)
{
	struct fixture *f = *state;
	f->box.user = "nobody-here";
	assert_int_equal(run(f, "true"), -ENOENT);
	assert_int_equal(f->err.kind, ERR_NOT_FOUND);
}

static void rlimits_are_set_and_clamped(void **state)
{
	struct fixture *f = *state;
	json *limits = json_new_array();
	json *limit = json_new_object();
	json_set_string(limit, "type", "RLIMIT_NOFILE");
	json_set_uint(limit, "soft", 256);
	json_set_uint(limit, "hard", 512);
	json_push(limits, limit);
	json *huge = json_new_object();
	json_set_string(huge, "type", "RLIMIT_NPROC");
	json_set_uint(huge, "soft", UINT64_MAX);
	json_set_uint(huge, "hard", UINT64_MAX);
	json_push(limits, huge);
	json_set(process(f), "rlimits", limits);
	assert_int_equal(run(f, "ulimit -n; ulimit -Hn"), 0);
	assert_string_equal(text_string(&f->out), "256\n512\n");
}

static void sysctl_reaches_the_own_namespace(void **state)
{
	struct fixture *f = *state;
	json_set_string(json_get_object(json_get_object(f->box.document, "linux"), "sysctl"),
		"net.ipv4.ip_default_ttl", "33");
	assert_int_equal(run(f, "cat /proc/sys/net/ipv4/ip_default_ttl"), 0);
	assert_string_equal(text_string(&f->out), "33\n");
}

static void loopback_is_up(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(run(f, "ip addr show lo"), 0);
	assert_output_has(f, "127.0.0.1");
	assert_output_has(f, "LOOPBACK,UP");
}

static void root_is_read_only_when_asked_for(void **state)
{
	struct fixture *f = *state;
	json_set_bool(json_get_object(f->box.document, "root"), "readonly", true);
	assert_int_equal(run(f, "! touch /x && touch /dev/shm/x"), 0);
	assert_output_has(f, "Read-only file system");
}

static void empty_command_is_127(void **state)
{
	struct fixture *f = *state;
	box_set_args(&f->box, (const char *const[]){ "", NULL });
	assert_int_equal(box_start(&f->box, &f->err), -ENOENT);
	assert_int_equal(box_wait(&f->box), 127);
}

static void terminal_is_the_containers_own(void **state)
{
	struct fixture *f = *state;
	json_set_bool(process(f), "terminal", true);
	json *size = json_new_object();
	json_set_int(size, "height", 33);
	json_set_int(size, "width", 77);
	json_set(process(f), "consoleSize", size);
	const char *const args[] = { "sh", "-c", "tty; stty size; stat -c %t:%T /dev/console",
		NULL };
	box_set_args(&f->box, args);
	f->box.user = "web";
	assert_int_equal(box_start(&f->box, &f->err), 0);
	char byte;
	int master = -1;
	size_t fds = 0;
	assert_int_equal(fd_receive(f->box.console_fd, &byte, 1, &master, 1, &fds), 1);
	assert_int_equal(fds, 1);
	char bytes[512];
	size_t len = 0;
	ssize_t n;
	while ((n = read(master, bytes + len, sizeof(bytes) - 1 - len)) > 0)
		len += (size_t)n;
	bytes[len] = '\0';
	(void)close(master);
	assert_int_equal(box_wait(&f->box), 0);
	assert_string_equal(bytes, "/dev/pts/0\r\n33 77\r\n88:0\r\n");
}

static void cpu_quota_is_taken(void **state)
{
	struct fixture *f = *state;
	f->box.limits.cpu_quota_us = 50000;
	assert_int_equal(run(f, "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max "
				"2>/dev/null; true"),
		0);
	assert_output_has(f, "50000");
}

/* ---- exec ---- */

static void start_sleeper(struct fixture *f)
{
	box_set_args(&f->box, (const char *const[]){ "sleep", "1000", NULL });
	assert_int_equal(box_start(&f->box, &f->err), 0);
}

static void exec_runs_in_the_container(void **state)
{
	struct fixture *f = *state;
	start_sleeper(f);
	assert_int_equal(box_exec(&f->box,
				 "hostname; cat /proc/1/comm; cat /proc/self/cgroup; "
				 "grep -E 'Seccomp:|CapEff' /proc/self/status; ps",
				 NULL, &f->out, &f->err),
		0);
	assert_output_has(f, "box\nsleep\n");
	assert_output_has(f, "Seccomp:\t2\n");
	assert_output_has(f, "CapEff:\t00000000a80425fb\n");
	assert_null(strstr(text_string(&f->out), "moat-unit"));
	assert_null(strstr(text_string(&f->out), ":/..")); /* joined before the namespace */
}

static void exec_resolves_its_user_in_the_container(void **state)
{
	struct fixture *f = *state;
	start_sleeper(f);
	assert_int_equal(box_exec(&f->box, "id -u", "web", &f->out, &f->err), 0);
	assert_string_equal(text_string(&f->out), "33\n");
	assert_int_equal(box_exec(&f->box, "id -u", "nobody-here", &f->out, &f->err), -ENOENT);
	assert_int_equal(f->err.kind, ERR_NOT_FOUND);
}

static void exec_leaks_no_descriptor(void **state)
{
	struct fixture *f = *state;
	start_sleeper(f);
	f->box.fd_leak = open("/etc", O_RDONLY | O_DIRECTORY);
	assert_int_equal(box_exec(&f->box, "cd /proc/self/fd; echo *", NULL, &f->out, &f->err), 0);
	assert_true(strcmp(text_string(&f->out), "0 1 2\n") == 0 ||
		    strcmp(text_string(&f->out), "0 1 2 3\n") == 0);
}

static void exec_leaves_the_caller_in_its_own_pid_namespace(void **state)
{
	struct fixture *f = *state;
	start_sleeper(f);
	char before[64] = { 0 };
	char after[64] = { 0 };
	assert_true(readlink("/proc/self/ns/pid_for_children", before, sizeof(before) - 1) > 0);
	assert_int_equal(box_exec(&f->box, "true", NULL, &f->out, &f->err), 0);
	assert_true(readlink("/proc/self/ns/pid_for_children", after, sizeof(after) - 1) > 0);
	assert_string_equal(before, after);
}

static void exec_in_an_ended_container_is_an_error(void **state)
{
	struct fixture *f = *state;
	start_sleeper(f);
	assert_int_equal(container_signal(f->box.pidfd, SIGKILL, &f->err), 0);
	assert_int_equal(box_wait(&f->box), 137);
	assert_true(box_exec(&f->box, "true", NULL, &f->out, &f->err) < 0);
	assert_int_equal(container_signal(f->box.pidfd, SIGKILL, &f->err), -ESRCH);
}

/* ---- cgroups ---- */

static void stats_count_the_workload(void **state)
{
	struct fixture *f = *state;
	start_sleeper(f);
	struct cgroup_stats stats;
	assert_int_equal(cgroup_stats_read(f->box.cgroup, &stats), 0);
	assert_int_equal(stats.pids, 1);
	assert_true(stats.memory_bytes > 0);
	assert_true(stats.cpu_ns > 0);
	assert_int_equal(stats.oom_kills, 0);
}

static void kill_ends_every_member(void **state)
{
	struct fixture *f = *state;
	const char *const args[] = { "sh", "-c", "sleep 100 & sleep 100 & sleep 100", NULL };
	box_set_args(&f->box, args);
	assert_int_equal(box_start(&f->box, &f->err), 0);
	/* The zombie init is ours to reap; the group counts it no more. */
	int r = cgroup_kill(f->box.cgroup, 5000, &f->err);
	if (r < 0)
		print_message("%s\n", f->err.message);
	assert_int_equal(r, 0);
	assert_int_equal(box_wait(&f->box), 137);
}

static void frozen_container_stands_still_and_goes_on(void **state)
{
	struct fixture *f = *state;
	const char *const args[] = { "sh", "-c", "while true; do :; done", NULL };
	box_set_args(&f->box, args);
	assert_int_equal(box_start(&f->box, &f->err), 0);
	assert_int_equal(cgroup_freeze(f->box.cgroup, true, &f->err), 0);
	struct cgroup_stats first;
	struct cgroup_stats second;
	assert_int_equal(cgroup_stats_read(f->box.cgroup, &first), 0);
	(void)usleep(20000);
	assert_int_equal(cgroup_stats_read(f->box.cgroup, &second), 0);
	assert_true(second.cpu_ns - first.cpu_ns < 1000000);
	assert_int_equal(cgroup_freeze(f->box.cgroup, false, &f->err), 0);
}

static void v2_group_confines_devices_freezes_and_dies(void **state)
{
	struct fixture *f = *state;
	f->box.only_v2 = true;
	f->box.limits = (struct cgroup_limits){ 0 }; /* its controllers may be with v1 */
	struct cgroup_host host;
	assert_int_equal(box_cgroup_host(&f->box, &host, &f->err), 0);
	size_t len = host.len;
	cgroup_host_done(&host);
	if (len == 0)
		skip();
	const char *const args[] = { "sh", "-c",
		"mknod /tmp/disk b 254 0; head -c 1 /tmp/disk; head -c 4 /dev/zero | wc -c; "
		"ls /sys/fs/cgroup; touch /tmp/done; while true; do :; done",
		NULL };
	box_set_args(&f->box, args);
	assert_int_equal(box_start(&f->box, &f->err), 0);
	AUTO_FREE char *done = text_format("%s/tmp/done", f->box.root);
	for (int i = 0; i < 1000 && access(done, F_OK) < 0; i++)
		(void)usleep(10000);
	assert_int_equal(cgroup_freeze(f->box.cgroup, true, &f->err), 0);
	assert_int_equal(cgroup_freeze(f->box.cgroup, false, &f->err), 0);
	assert_int_equal(cgroup_kill(f->box.cgroup, 5000, &f->err), 0);
	assert_int_equal(box_wait(&f->box), 137);
	assert_int_equal(lseek(f->box.out_fd, 0, SEEK_SET), 0);
	assert_int_equal(fd_read_text(f->box.out_fd, 65536, "output", &f->out, NULL), 0);
	assert_output_has(f, "head: /tmp/disk: Operation not permitted\n4\n");
	assert_output_has(f, "cgroup.procs\n");
}

#define BOX_TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	if (!box_is_possible())
		return 77;
	const struct CMUnitTest tests[] = {
		BOX_TEST(init_is_process_1_and_has_its_own_hostname),
		BOX_TEST(workload_is_filtered_and_has_only_the_default_capabilities),
		BOX_TEST(inheritable_set_is_empty),
		BOX_TEST(no_new_privileges_is_set_when_asked_for),
		BOX_TEST(workload_is_in_its_cgroup_and_sees_it_as_the_root),
		BOX_TEST(release_agent_cannot_be_written),
		BOX_TEST(masked_paths_read_empty),
		BOX_TEST(readonly_paths_cannot_be_written),
		BOX_TEST(devices_are_there_and_work),
		BOX_TEST(mknod_of_root_disk_cannot_be_opened),
		BOX_TEST(dev_as_symlink_in_image_is_refused),
		BOX_TEST(proc_as_symlink_in_image_is_refused),
		BOX_TEST(volume_over_proc_is_refused),
		BOX_TEST(volume_over_proc_through_a_symlink_is_refused),
		BOX_TEST(volume_before_proc_is_refused_by_its_name),
		BOX_TEST(mount_target_stays_inside_the_root),
		BOX_TEST(bind_mounts_are_read_only_when_asked_for),
		BOX_TEST(file_is_bound_onto_a_file_that_is_made_for_it),
		BOX_TEST(missing_bind_source_is_named),
		BOX_TEST(tmpfs_takes_its_options),
		BOX_TEST(workdir_is_made_and_entered),
		BOX_TEST(workdir_through_fd_table_is_refused),
		BOX_TEST(only_listed_fds_reach_the_workload),
		BOX_TEST(host_file_systems_are_gone),
		BOX_TEST(default_profile_denies_fsopen_and_userns),
		BOX_TEST(missing_command_is_127),
		BOX_TEST(missing_path_is_127),
		BOX_TEST(file_without_permission_is_126),
		BOX_TEST(file_of_no_known_format_is_126),
		BOX_TEST(user_has_his_groups_home_and_no_capabilities),
		BOX_TEST(unknown_user_is_refused),
		BOX_TEST(rlimits_are_set_and_clamped),
		BOX_TEST(sysctl_reaches_the_own_namespace),
		BOX_TEST(loopback_is_up),
		BOX_TEST(root_is_read_only_when_asked_for),
		BOX_TEST(empty_command_is_127),
		BOX_TEST(terminal_is_the_containers_own),
		BOX_TEST(cpu_quota_is_taken),
		BOX_TEST(exec_runs_in_the_container),
		BOX_TEST(exec_resolves_its_user_in_the_container),
		BOX_TEST(exec_leaks_no_descriptor),
		BOX_TEST(exec_leaves_the_caller_in_its_own_pid_namespace),
		BOX_TEST(exec_in_an_ended_container_is_an_error),
		BOX_TEST(stats_count_the_workload),
		BOX_TEST(kill_ends_every_member),
		BOX_TEST(frozen_container_stands_still_and_goes_on),
		BOX_TEST(v2_group_confines_devices_freezes_and_dies),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
