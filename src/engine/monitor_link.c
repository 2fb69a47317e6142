#include "engine/monitor_link.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/spawn.h"
#include "wire/monitor_args.h"
#include "wire/monitor_client.h"

#define MONITOR_PROGRAM "moat-monitor"

void monitor_link_init(struct monitor_link *link)
{
	*link = (struct monitor_link){
		.workload = { -1, -1, -1 },
		.stdin_fd = -1,
		.stdout_fd = -1,
		.stderr_fd = -1,
		.console = { -1, -1 },
		.client = { -1, -1 },
		.lock_fd = -1,
		.listen_fd = -1,
		.oom_events = -1,
	};
}

void monitor_link_done(struct monitor_link *link)
{
	const int fds[] = { link->workload[0], link->workload[1], link->workload[2], link->stdin_fd,
		link->stdout_fd, link->stderr_fd, link->console[0], link->console[1],
		link->client[0], link->client[1], link->oom_events, link->lock_fd,
		link->listen_fd };
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		if (fds[i] >= 0)
			(void)close(fds[i]);
	}
	free(link->program);
	strv_done(&link->exit_command);
	strv_done(&link->argv);
	monitor_link_init(link);
}

/* Opened for reading and writing by the workload, so that it always has a reader, also while no
 * monitor lives; opened twice, so that the monitor's O_NONBLOCK is not the workload's. */
static int open_output(int run_fd, const char *name, int *ret_workload, int *ret_monitor)
{
	if (mkfifoat(run_fd, name, 0600) < 0)
		return -errno;
	*ret_workload = openat(run_fd, name, O_RDWR | O_CLOEXEC);
	*ret_monitor = openat(run_fd, name, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	return *ret_workload < 0 || *ret_monitor < 0 ? -errno : 0;
}

/* The workload's end is for reading only: its input ends when the monitor closes the other. */
static int open_input(int run_fd, int *ret_workload, int *ret_monitor)
{
	if (mkfifoat(run_fd, MONITOR_FIFO_STDIN, 0600) < 0)
		return -errno;
	/* With a writer there, opening for reading does not wait; with a reader, writing neither.
	 */
	AUTO_CLOSE int both = openat(run_fd, MONITOR_FIFO_STDIN, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (both < 0)
		return -errno;
	*ret_workload = openat(run_fd, MONITOR_FIFO_STDIN, O_RDONLY | O_CLOEXEC);
	*ret_monitor = openat(run_fd, MONITOR_FIFO_STDIN, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	return *ret_workload < 0 || *ret_monitor < 0 ? -errno : 0;
}

static int open_stdio(const struct launch *launch, struct monitor_link *link)
{
	int run_fd = launch->dirs.run_fd;
	if (launch->spec->tty)
		return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, link->console) < 0
			       ? -errno
			       : 0;
	int r = open_output(run_fd, MONITOR_FIFO_STDOUT, &link->workload[1], &link->stdout_fd);
	if (r == 0)
		r = open_output(run_fd, MONITOR_FIFO_STDERR, &link->workload[2], &link->stderr_fd);
	if (r != 0)
		return r;
	if (launch->spec->interactive)
		return open_input(run_fd, &link->workload[0], &link->stdin_fd);
	link->workload[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return link->workload[0] < 0 ? -errno : 0;
}

static int open_lock(int run_fd, int *ret_fd)
{
	AUTO_CLOSE int fd = openat(run_fd, MONITOR_LOCK, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* Attached before the monitor reads the first byte of output: the caller misses nothing. */
static int open_client(const struct launch *launch, struct monitor_link *link)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, link->client) < 0)
		return -errno;
	uint32_t wants = MONITOR_STDOUT | MONITOR_STDERR | MONITOR_WILL_CLEAN;
	if (launch->spec->interactive)
		wants |= MONITOR_STDIN_BIT;
	return monitor_send(link->client[0], MONITOR_ATTACH, wants, NULL, 0);
}

/* moat --root R --run R system reap ID: what is left to do when the workload has ended and no
 * command waits for it. */
static int exit_command(const struct engine *engine, const char *id, struct strv *command,
	struct err *err)
{
	char *moat;
	int r = spawn_sibling("moat", &moat, err);
	if (r != 0)
		return r;
	strv_take(command, moat);
	const char *const words[] = { "--root", engine->root, "--run", engine->run, "system",
		"reap", id };
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		strv_add(command, words[i]);
	return 0;
}

int monitor_link_open(const struct launch *launch, struct monitor_link *link, struct err *err)
{
	int run_fd = launch->dirs.run_fd;
	/* The log's presence says that the workload was started once (live.c). */
	AUTO_CLOSE int log_fd =
		openat(launch->dirs.data_fd, MONITOR_LOG, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	int r = log_fd < 0 ? -errno : 0;
	if (r == 0)
		r = open_stdio(launch, link);
	if (r == 0)
		r = open_lock(run_fd, &link->lock_fd);
	if (r == 0 && launch->wants_client)
		r = open_client(launch, link);
	if (r < 0)
		return err_sys(err, -r, "prepare the monitor in \"%s\"", launch->dirs.run_path);
	/* Here and not in monitor_link_exec: what a process remembers of /proc is a descriptor of
	 * its own (proc_root). */
	r = spawn_sibling(MONITOR_PROGRAM, &link->program, err);
	if (r == 0)
		r = exit_command(launch->engine, launch->id, &link->exit_command, err);
	return r == 0 ? monitor_socket_listen(run_fd, &link->listen_fd, err) : r;
}

static void format_argv(const char *program, const struct strv *command, struct monitor_args *args,
	struct strv *argv)
{
	args->exit_command = (const char *const *)command->items;
	strv_add(argv, program);
	monitor_args_format(args, argv);
}

int monitor_link_exec(const struct launch *launch, struct monitor_link *link, pid_t init_pid,
	int init_pidfd, struct err *err)
{
	struct monitor_args args;
	monitor_args_init(&args, launch->id);
	args.console = link->console[0];
	args.data_dir = launch->dirs.data_fd;
	args.first_client = link->client[1];
	args.init_pid = init_pid;
	args.init_pidfd = init_pidfd;
	args.listener = link->listen_fd;
	args.lock = link->lock_fd;
	args.oom_events = link->oom_events;
	args.run_dir = launch->dirs.run_fd;
	args.stderr_fifo = link->stderr_fd;
	args.stdin_fifo = link->stdin_fd;
	args.stdin_once = launch->wants_client; /* as docker run -i; not for a detached one */
	args.stdout_fifo = link->stdout_fd;
	args.terminal = launch->spec->tty;

	/* The data directory by a description of its own: ours carries the command's lock. */
	args.data_dir = openat(launch->dirs.data_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const int kept[] = { args.console, args.data_dir, args.first_client, args.init_pidfd,
		args.listener, args.lock, args.oom_events, args.run_dir, args.stderr_fifo,
		args.stdin_fifo, args.stdout_fifo };
	for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
		int r = kept[i] >= 0 ? fd_set_cloexec(kept[i], false) : 0;
		if (r < 0)
			return err_sys(err, -r, "hand descriptors over to the monitor");
	}
	format_argv(link->program, &link->exit_command, &args, &link->argv);
	char *const envp[] = { NULL };
	(void)execve(link->program, link->argv.items, envp);
	return err_sys(err, errno, "execute \"%s\"", link->program);
}

int monitor_link_adopt(struct engine *engine, const char *id, const struct dirs *dirs,
	const struct proc_id *init, bool tty, struct err *err)
{
	AUTO_CLOSE int pidfd = -1;
	int r = proc_open(init, &pidfd);
	if (r < 0 && r != -ESRCH)
		return err_sys(err, -r, "find the init of workload %.12s", id);
	AUTO_CLOSE int lock_fd = -1;
	AUTO_CLOSE int listen_fd = -1;
	r = open_lock(dirs->run_fd, &lock_fd);
	if (r == -EWOULDBLOCK)
		return 0; /* another command was faster */
	if (r < 0)
		return err_sys(err, -r, "lock the monitor of workload %.12s", id);
	if (unlinkat(dirs->run_fd, MONITOR_SOCKET, 0) < 0 && errno != ENOENT)
		return err_sys(err, errno, "remove the old monitor's socket");
	r = monitor_socket_listen(dirs->run_fd, &listen_fd, err);
	if (r != 0)
		return r;
	AUTO_CLOSE int data_fd = openat(dirs->data_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct monitor_args args;
	monitor_args_init(&args, id);
	args.adopt = 1;
	args.data_dir = data_fd;
	args.init_pid = init->pid;
	args.init_pidfd = pidfd;
	args.listener = listen_fd;
	args.lock = lock_fd;
	args.run_dir = dirs->run_fd;
	args.terminal = tty;
	AUTO_FREE char *program = NULL;
	AUTO_DONE(strv) command = { 0 };
	AUTO_DONE(strv) argv = { 0 };
	r = spawn_sibling(MONITOR_PROGRAM, &program, err);
	if (r == 0)
		r = exit_command(engine, id, &command, err);
	if (r != 0)
		return r;
	format_argv(program, &command, &args, &argv);
	const int keep[] = { data_fd, dirs->run_fd, lock_fd, listen_fd, pidfd };
	const struct spawn spawn = {
		.argv = (const char *const *)argv.items,
		.stdio = { -1, -1, -1 },
		.keep = keep,
		.keep_len = pidfd < 0 ? ARRAY_LEN(keep) - 1 : ARRAY_LEN(keep),
		.new_session = true,
	};
	pid_t pid;
	return spawn_start(&spawn, &pid, NULL, err);
}
