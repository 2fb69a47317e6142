/* guest_workload - a container in the guest, by the code that makes them on a host, in the steps of
 * create_steps[].
 *
 * Its streams are pipes, not the vsock connections they end in: a program may open /dev/stdout
 * again, which a socket refuses.  The network card moves into the container's own network
 * namespace, so "lo", net.* settings and what is seen of interfaces are as on a host.  Files of the
 * machine's owner (/etc/hosts ...) are bound over the image's, as on a host too. */
#include "guest/guest_workload.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/proc.h"
#include "base/step.h"

#define READY_TIMEOUT_MS 30000

struct creation {
	const struct guest_platform *platform;
	struct guest_order *order;
	struct guest_root *root;
	struct guest_workload *workload;
	char *root_dir;
	int *mounts;
	size_t mounts_len;
	int stdio[3];   /* the process's ends */
	int console[2]; /* ours, the process's */
	int go, report; /* the init's ends */
};

int guest_stream_open(int stream, int *ret_process, int *ret_ours, struct err *err)
{
	int pair[2];
	if (pipe2(pair, O_CLOEXEC) < 0)
		return err_sys(err, errno, "make a pipe");
	bool is_input = stream == STDIN_FILENO;
	*ret_process = pair[is_input ? 0 : 1];
	*ret_ours = pair[is_input ? 1 : 0];
	return 0;
}

int guest_terminal_receive(int socket, int *ret_master, struct err *err)
{
	char byte;
	int master = -1;
	size_t fds_len = 0;
	/* It was sent before we were told that all went well. */
	if (fd_set_nonblocking(socket, true) < 0 ||
		fd_receive(socket, &byte, 1, &master, 1, &fds_len) < 0 || fds_len != 1)
		return err_set(err, ERR_SYSTEM, "the process sent no terminal");
	if (fd_set_nonblocking(master, true) < 0) {
		(void)close(master);
		return err_set(err, ERR_SYSTEM, "the terminal cannot be used");
	}
	*ret_master = master;
	return 0;
}

void guest_terminal_resize(int master, uint32_t rows_and_columns)
{
	const struct winsize size = { .ws_row = (unsigned short)(rows_and_columns >> 16),
		.ws_col = (unsigned short)(rows_and_columns & 0xffff) };
	if (master >= 0)
		(void)ioctl(master, TIOCSWINSZ, &size);
}

/* ---- steps ---- */

static int write_files(void *context, struct err *err)
{
	struct creation *c = context;
	AUTO_FREE char *dir = text_format("%s/files", c->platform->run_dir);
	int r = path_make_dir(AT_FDCWD, dir, 0700);
	if (r < 0)
		return err_sys(err, -r, "make %s", dir);
	if (c->order->files == NULL)
		return 0;
	int number = 0;
	json_object_object_foreach (c->order->files, path, value) {
		if (path[0] != '/' || !json_object_is_type(value, json_type_string))
			return err_set(err, ERR_INVALID, "files: \"%.200s\" is no path and text",
				path);
		AUTO_FREE char *name = text_format("%s/%d", dir, number++);
		const struct view bytes = { json_object_get_string(value),
			(size_t)json_object_get_string_len(value) };
		r = file_write_at(AT_FDCWD, name, 0644, bytes, err);
		if (r < 0)
			return err_wrap(err, r, "files: %.200s", path);
		guest_order_bind(c->order, name, path);
	}
	return 0;
}

static int read_document(void *context, struct err *err)
{
	struct creation *c = context;
	struct guest_workload *w = c->workload;
	int r = container_spec_parse(c->order->document, &w->spec, err);
	if (r == 0)
		r = container_mounts_open(w->spec, &c->mounts, &c->mounts_len, err);
	return r < 0 ? r : cgroup_create(c->platform->cgroup, NULL, w->spec, &w->cgroup, err);
}

static int make_dirs(void *context, struct err *err)
{
	struct creation *c = context;
	c->root_dir = text_format("%s/root", c->platform->run_dir);
	int r = path_make_dir(AT_FDCWD, c->root_dir, 0700);
	/* A filter of the owner's own is known by its digest, for which the library is not here. */
	if (r == 0 &&
		json_get_object(json_get_object(c->order->document, "linux"), "seccomp") == NULL) {
		c->workload->cache_dir = text_format("%s/cache", c->platform->run_dir);
		r = path_make_dir(AT_FDCWD, c->workload->cache_dir, 0700);
	}
	return r < 0 ? err_sys(err, -r, "make directories in %s", c->platform->run_dir) : 0;
}

static int open_streams(void *context, struct err *err)
{
	struct creation *c = context;
	if (c->order->has_terminal) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, c->console) < 0)
			return err_sys(err, errno, "make a socket for the terminal");
		return 0;
	}
	for (int i = 0; i < 3; i++) {
		if (i == STDIN_FILENO && !c->order->is_interactive) {
			c->stdio[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
			if (c->stdio[i] < 0)
				return err_sys(err, errno, "open /dev/null");
			continue;
		}
		int r = guest_stream_open(i, &c->stdio[i], &c->workload->streams[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int open_pipe(int *ret_read, int *ret_write, struct err *err)
{
	int pair[2];
	if (pipe2(pair, O_CLOEXEC) < 0)
		return err_sys(err, errno, "make a pipe");
	*ret_read = pair[0];
	*ret_write = pair[1];
	return 0;
}

/* In the init. */
static int mount_root(void *context, int *ret_mount_fd, struct err *err)
{
	struct creation *c = context;
	(void)err;
	*ret_mount_fd = TAKE_FD(c->root->mount_fd);
	return 0;
}

static int clone_init(void *context, struct err *err)
{
	struct creation *c = context;
	struct guest_workload *w = c->workload;
	int r = open_pipe(&c->go, &w->go_fd, err);
	if (r == 0)
		r = open_pipe(&w->report_fd, &c->report, err);
	if (r < 0)
		return r;
	const struct container_create create = {
		.spec = w->spec,
		.cgroup = w->cgroup,
		.mount_root = mount_root,
		.context = c,
		.root_dir = c->root_dir,
		.cache_dir = w->cache_dir,
		.user = c->order->user,
		.stdio = { c->stdio[0], c->stdio[1], c->stdio[2] },
		.console_socket = c->console[1],
		.go_fd = c->go,
		.report_fd = c->report,
		.ready_mounts = c->mounts,
	};
	r = container_create(&create, &w->pid, &w->pidfd, err);
	/* Else its end would not be the end of the pipe. */
	(void)close(TAKE_FD(c->report));
	return r;
}

static int connect_network(void *context, struct err *err)
{
	struct creation *c = context;
	if (!c->order->has_network)
		return 0;
	AUTO_CLOSE int netns = proc_open_file(c->workload->pid, "ns/net", O_RDONLY);
	if (netns < 0)
		return err_sys(err, -netns, "open the workload's network");
	return net_card_connect(&c->order->card, netns, err);
}

static int wait_ready(void *context, struct err *err)
{
	struct creation *c = context;
	struct guest_workload *w = c->workload;
	int r = container_report_wait(w->report_fd, CONTAINER_READY, READY_TIMEOUT_MS, err);
	if (r < 0 || !c->order->has_terminal)
		return r;
	r = guest_terminal_receive(c->console[0], &w->master, err);
	if (r < 0)
		return r;
	w->peer = ioctl(w->master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	return w->peer < 0 ? err_sys(err, errno, "open the terminal") : 0;
}

static const struct step create_steps[] = {
	{ "files", write_files, NULL },
	{ "document", read_document, NULL },
	{ "directories", make_dirs, NULL },
	{ "streams", open_streams, NULL },
	{ "clone", clone_init, NULL },
	{ "network", connect_network, NULL },
	{ "ready", wait_ready, NULL },
};

static void creation_done(struct creation *c)
{
	for (size_t i = 0; i < c->mounts_len; i++)
		cleanup_close(&c->mounts[i]);
	free(c->mounts);
	free(c->root_dir);
	const int fds[] = { c->stdio[0], c->stdio[1], c->stdio[2], c->console[0], c->console[1],
		c->go, c->report };
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		cleanup_close(&fds[i]);
}

int guest_workload_create(const struct guest_platform *platform, struct guest_order *order,
	struct guest_root *root, struct guest_workload *ret_workload, struct err *err)
{
	*ret_workload = (struct guest_workload){ .pidfd = -1,
		.go_fd = -1,
		.report_fd = -1,
		.streams = { -1, -1, -1 },
		.master = -1,
		.peer = -1 };
	struct creation creation = { .platform = platform,
		.order = order,
		.root = root,
		.workload = ret_workload,
		.stdio = { -1, -1, -1 },
		.console = { -1, -1 },
		.go = -1,
		.report = -1 };
	int r = step_run("workload", create_steps, ARRAY_LEN(create_steps), &creation, err);
	creation_done(&creation);
	/* It is the workload's now: our descriptor would keep it alive. */
	if (root->mount_fd >= 0)
		(void)close(TAKE_FD(root->mount_fd));
	return r;
}

int guest_workload_go(struct guest_workload *workload, struct err *err)
{
	ssize_t n = write(workload->go_fd, "", 1);
	(void)close(TAKE_FD(workload->go_fd));
	return n != 1 ? err_sys(err, errno, "let the workload go") : 0;
}

void guest_workload_done(struct guest_workload *workload)
{
	container_spec_free(workload->spec);
	cgroup_free(workload->cgroup);
	free(workload->cache_dir);
	const int fds[] = { workload->pidfd, workload->go_fd, workload->report_fd,
		workload->streams[0], workload->streams[1], workload->streams[2], workload->master,
		workload->peer };
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		cleanup_close(&fds[i]);
	*workload = (struct guest_workload){ .pidfd = -1,
		.go_fd = -1,
		.report_fd = -1,
		.streams = { -1, -1, -1 },
		.master = -1,
		.peer = -1 };
}
