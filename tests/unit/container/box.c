#include "box.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/path.h"
#include "container/cgroup_driver.h"

#define TIMEOUT_MS 20000

static const char *const applets[] = { "sh", "cat", "chmod", "echo", "env", "grep", "head",
	"hostname", "id", "ip", "kill", "ls", "mkdir", "mknod", "mount", "ps", "readlink", "sleep",
	"stat", "stty", "test", "touch", "true", "tty", "unshare", "wc" };

bool box_is_possible(void)
{
	return geteuid() == 0 && access("/bin/busybox", X_OK) == 0 && unshare(CLONE_NEWNS) == 0 &&
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static void write_file(const char *dir, const char *name, const char *text)
{
	AUTO_FREE char *path = text_format("%s/%s", dir, name);
	CHECK(file_write_at(AT_FDCWD, path, 0644, view_of(text), NULL) == 0);
}

static void root_fill(const char *root)
{
	static const char *const dirs[] = { "bin", "etc", "tmp" };
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		AUTO_FREE char *path = text_format("%s/%s", root, dirs[i]);
		CHECK(mkdir(path, 0755) == 0);
	}
	AUTO_DONE(text) busybox = { 0 };
	CHECK(file_read_at(AT_FDCWD, "/bin/busybox", 16 << 20, &busybox, NULL) == 0);
	AUTO_FREE char *path = text_format("%s/bin/busybox", root);
	CHECK(file_write_at(AT_FDCWD, path, 0755, view_of_text(&busybox), NULL) == 0);
	for (size_t i = 0; i < ARRAY_LEN(applets); i++) {
		AUTO_FREE char *link = text_format("%s/bin/%s", root, applets[i]);
		CHECK(symlink("busybox", link) == 0);
	}
	write_file(root, "etc/passwd",
		"root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/var/www:/bin/sh\n");
	write_file(root, "etc/group",
		"root:x:0:\nweb:x:34:\nlogs:x:50:daemon,web\naudio:x:29:web\n");
}

void box_init(struct box *box)
{
	*box = (struct box){ .pid = -1,
		.pidfd = -1,
		.report_fd = -1,
		.go_fd = -1,
		.out_fd = -1,
		.console_fd = -1,
		.fd_leak = -1 };
	char id[ID_LEN + 1];
	id_new(id);
	box->dir = text_format("/tmp/moat-box-%.16s", id);
	box->root = text_format("%s/root", box->dir);
	box->cgroup_path = text_format("moat-unit-%.16s", id);
	AUTO_FREE char *mnt = text_format("%s/mnt", box->dir);
	AUTO_FREE char *cache = text_format("%s/cache", box->dir);
	CHECK(mkdir(box->dir, 0755) == 0 && mkdir(box->root, 0755) == 0 && mkdir(mnt, 0755) == 0 &&
		mkdir(cache, 0700) == 0);
	root_fill(box->root);
	box->document = container_spec_defaults();
	json *process = json_get_object(box->document, "process");
	json *env = json_new_array();
	json_push_string(env, "PATH=/usr/bin:/bin");
	json_set(process, "env", env);
	json_set_string(box->document, "hostname", "box");
	box->limits = (struct cgroup_limits){ .memory_bytes = 64 << 20, .pids = 100 };
}

int box_cgroup_host(const struct box *box, struct cgroup_host *ret_host, struct err *err)
{
	struct cgroup_host all;
	int r = cgroup_host_read(&all, err);
	if (r < 0 || !box->only_v2) {
		*ret_host = all;
		return r;
	}
	*ret_host = (struct cgroup_host){ 0 };
	for (size_t i = 0; i < all.len; i++) {
		if (!all.hierarchies[i].is_v2)
			continue;
		ret_host->hierarchies[ret_host->len++] = all.hierarchies[i];
		all.hierarchies[i] = (struct cgroup_hierarchy){ 0 };
	}
	cgroup_host_done(&all);
	return 0;
}

void box_done(struct box *box)
{
	if (box->pid > 0) {
		(void)kill(box->pid, SIGKILL);
		(void)box_wait(box);
	}
	cleanup_close(&box->pidfd);
	cleanup_close(&box->report_fd);
	cleanup_close(&box->go_fd);
	cleanup_close(&box->out_fd);
	cleanup_close(&box->console_fd);
	cleanup_close(&box->fd_leak);
	cgroup_free(box->cgroup);
	struct err err = { 0 };
	AUTO_DONE(cgroup_host) host = { 0 };
	if (box_cgroup_host(box, &host, &err) < 0 ||
		(host.len > 0 && cgroup_remove_on(&host, box->cgroup_path, 5000, &err) < 0))
		(void)fprintf(stderr, "box: %s\n", err.message);
	container_spec_free(box->spec);
	json_object_put(box->document);
	if (path_remove_tree(AT_FDCWD, box->dir, &err) < 0)
		(void)fprintf(stderr, "box: %s\n", err.message);
	free(box->dir);
	free(box->root);
	free(box->cgroup_path);
}

void box_set_args(struct box *box, const char *const *args)
{
	json *list = json_new_array();
	for (size_t i = 0; args[i] != NULL; i++)
		json_push_string(list, args[i]);
	json_set(json_get_object(box->document, "process"), "args", list);
}

void box_add_mount(struct box *box, const char *destination, const char *type, const char *source,
	const char *options)
{
	json *mount = json_new_object();
	json_set_string(mount, "destination", destination);
	json_set_string(mount, "type", type);
	json_set_string(mount, "source", source);
	json *list = json_new_array();
	for (struct view rest = view_of(options); rest.data != NULL;) {
		AUTO_FREE char *option = view_dup(view_cut(&rest, ','));
		json_push_string(list, option);
	}
	json_set(mount, "options", list);
	json_push(json_get_array(box->document, "mounts"), mount);
}

static int mount_root(void *context, int *ret_mount_fd, struct err *err)
{
	const struct box *box = context;
	int fd = open_tree(AT_FDCWD, box->root, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "clone %s", box->root);
	*ret_mount_fd = fd;
	return 0;
}

static int above_stdio(int take_fd)
{
	int fd = fcntl(take_fd, F_DUPFD_CLOEXEC, 3);
	(void)close(take_fd);
	return fd;
}

int box_start(struct box *box, struct err *err)
{
	AUTO_DONE(cgroup_host) host = { 0 };
	int r = container_spec_parse(box->document, &box->spec, err);
	if (r == 0)
		r = box_cgroup_host(box, &host, err);
	if (r == 0)
		r = cgroup_create_on(&host, box->cgroup_path, &box->limits, box->spec, &box->cgroup,
			err);
	if (r < 0)
		return r;
	int report[2];
	int go[2];
	int console[2];
	CHECK(pipe2(report, O_CLOEXEC) == 0 && pipe2(go, O_CLOEXEC) == 0);
	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, console) == 0);
	box->report_fd = above_stdio(report[0]);
	box->go_fd = above_stdio(go[1]);
	box->console_fd = above_stdio(console[0]);
	box->out_fd = memfd_create("out", MFD_CLOEXEC);
	AUTO_CLOSE int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	AUTO_CLOSE int report_out = above_stdio(report[1]);
	AUTO_CLOSE int go_in = above_stdio(go[0]);
	AUTO_CLOSE int console_peer = above_stdio(console[1]);
	AUTO_FREE char *mnt = text_format("%s/mnt", box->dir);
	AUTO_FREE char *cache = text_format("%s/cache", box->dir);
	const struct container_create create = { .spec = box->spec,
		.cgroup = box->cgroup,
		.mount_root = mount_root,
		.context = box,
		.root_dir = mnt,
		.cache_dir = cache,
		.user = box->user,
		.stdio = { null, box->out_fd, box->out_fd },
		.console_socket = console_peer,
		.go_fd = go_in,
		.report_fd = report_out };
	r = container_create(&create, &box->pid, &box->pidfd, err);
	if (r < 0)
		return r;
	(void)close(TAKE_FD(report_out));
	r = container_report_wait(box->report_fd, CONTAINER_READY, TIMEOUT_MS, err);
	if (r < 0)
		return r;
	CHECK(fd_write_all(box->go_fd, "g", 1) == 0);
	return container_report_wait(box->report_fd, CONTAINER_STARTED, TIMEOUT_MS, err);
}

static int status_of(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int box_wait(struct box *box)
{
	int status = 0;
	CHECK(waitpid(box->pid, &status, 0) == box->pid);
	box->pid = -1;
	return status_of(status);
}

static void read_all(int fd, struct text *out)
{
	CHECK(lseek(fd, 0, SEEK_SET) == 0);
	text_clear(out);
	CHECK(fd_read_text(fd, 1 << 20, "output", out, NULL) == 0);
}

int box_run(struct box *box, const char *script, struct text *out, struct err *err)
{
	const char *const args[] = { "sh", "-c", script, NULL };
	box_set_args(box, args);
	int r = box_start(box, err);
	if (r < 0)
		return r;
	int status = box_wait(box);
	read_all(box->out_fd, out);
	return status;
}

int box_exec(struct box *box, const char *script, const char *user, struct text *out,
	struct err *err)
{
	const char *const args[] = { "sh", "-c", script, NULL };
	box_set_args(box, args);
	AUTO(container_spec) spec = NULL;
	int r = container_spec_parse(box->document, &spec, err);
	if (r < 0)
		return r;
	AUTO_CLOSE int output = memfd_create("out", MFD_CLOEXEC);
	AUTO_CLOSE int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	AUTO_FREE char *cache = text_format("%s/cache", box->dir);
	const struct container_exec exec = { .pidfd = box->pidfd,
		.pid = box->pid,
		.spec = spec,
		.cgroup = box->cgroup,
		.cache_dir = cache,
		.stdio = { null, output, output },
		.console_socket = -1,
		.user = user };
	pid_t pid;
	AUTO_CLOSE int pidfd = -1;
	r = container_exec(&exec, &pid, &pidfd, err);
	if (r < 0)
		return r;
	int status = 0;
	CHECK(waitpid(pid, &status, 0) == pid);
	read_all(output, out);
	return status_of(status);
}
