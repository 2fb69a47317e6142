#include "rig.h"

#include "test.h"

#include <poll.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/num.h"
#include "base/proc.h"

#define DEADLINE_MS 10000
#define FILE_MAX (UINT64_C(1) << 31)

/* What the rig needs to have; cmocka's asserts jump out of a child into its parent's tests. */
#define MUST(condition)                                                                   \
	do {                                                                              \
		if (!(condition)) {                                                       \
			fprintf(stderr, "rig: %s (line %d): %m\n", #condition, __LINE__); \
			abort();                                                          \
		}                                                                         \
	} while (0)

static int open_dir(const char *parent, const char *name)
{
	AUTO_FREE char *path = text_format("%s/%s", parent, name);
	int fd;

	MUST(mkdir(path, 0700) == 0);
	MUST((fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0);
	return fd;
}

int rig_make(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	MUST(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	rig->path = text_format("/tmp/moat-rig-XXXXXX");
	MUST(mkdtemp(rig->path) != NULL);
	rig->run_dir = open_dir(rig->path, "run");
	rig->data_dir = open_dir(rig->path, "data");
	rig->client = rig->monitor_pidfd = rig->init_pidfd = -1;
	rig->message = calloc(1, sizeof(*rig->message));
	*state = rig;
	return 0;
}

static void kill_and_reap(pid_t pid, int pidfd)
{
	if (pid <= 0)
		return;
	/* Its children too, unless it has gone: then the group's number may be another's. */
	if (proc_signal(pidfd, SIGKILL) == 0)
		(void)kill(-pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	(void)close(pidfd);
}

int rig_remove(void **state)
{
	struct rig *rig = *state;

	kill_and_reap(rig->monitor, rig->monitor_pidfd);
	kill_and_reap(rig->init, rig->init_pidfd);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	if (rig->client >= 0)
		(void)close(rig->client);
	(void)close(rig->run_dir);
	(void)close(rig->data_dir);
	AUTO_FREE char *data = text_format("%s/data", rig->path);
	(void)umount2(data, MNT_DETACH);
	int r = path_remove_tree(AT_FDCWD, rig->path, NULL);
	free(rig->path);
	free(rig->message);
	free(rig);
	return r;
}

static int make_fifo(const struct rig *rig, const char *name)
{
	int fd;

	MUST(mkfifoat(rig->run_dir, name, 0600) == 0);
	MUST((fd = openat(rig->run_dir, name, O_RDWR | O_NONBLOCK)) >= 0);
	return fd;
}

/* In the init: its own descriptors, as the container's init has them. */
static void take_stdio(const struct rig *rig, const struct rig_options *o)
{
	int in = o->stdin_fifo ? openat(rig->run_dir, "stdin", O_RDONLY)
			       : open("/dev/null", O_RDONLY);

	MUST(in >= 0 && dup2(in, 0) == 0);
	MUST(dup2(openat(rig->run_dir, "stdout", O_RDWR), 1) == 1);
	MUST(dup2(openat(rig->run_dir, "stderr", O_RDWR), 2) == 2);
}

static void take_terminal(int console)
{
	int master, slave;
	char byte = 0;

	MUST(openpty(&master, &slave, NULL, NULL, NULL) == 0);
	MUST(fd_send(console, &byte, 1, &master, 1) == 0);
	(void)close(master);
	MUST(setsid() > 0 && ioctl(slave, TIOCSCTTY, 0) == 0);
	for (int fd = 0; fd < 3; fd++)
		MUST(dup2(slave, fd) == fd);
	(void)close(slave);
}

static void run_init(const struct rig *rig, const struct rig_options *o, int console)
{
	struct sigaction by_default = { .sa_handler = SIG_DFL };
	AUTO_FREE char *run = text_format("RUN=%s/run", rig->path);
	AUTO_FREE char *data = text_format("DATA=%s/data", rig->path);
	char *env[] = { run, data, NULL };
	char byte;

	(void)sigaction(SIGPIPE, &by_default, NULL);
	if (o->terminal)
		take_terminal(console);
	else
		take_stdio(rig, o);
	(void)setsid(); /* a group of its own, for the end; a terminal's init has one */
	int go = openat(rig->run_dir, "go", O_RDONLY | O_CLOEXEC);
	MUST(go >= 0 && read(go, &byte, 1) >= 0);
	(void)execle("/bin/busybox", "sh", "-c", o->script, NULL, env);
	_exit(127);
}

static int file_of(const struct rig *rig, const char *name, const char *content)
{
	int fd;

	MUST(file_write_at(rig->run_dir, name, 0600, view_of(content), NULL) == 0);
	MUST((fd = openat(rig->run_dir, name, O_RDWR)) >= 0);
	return fd;
}

static int lock_of(const struct rig *rig)
{
	int fd = openat(rig->run_dir, MONITOR_LOCK, O_RDWR | O_CREAT, 0600);

	MUST(fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0);
	return fd;
}

static void become_monitor(struct monitor_args *args)
{
	struct strv argv = { 0 };

	strv_add(&argv, MONITOR_PROGRAM);
	monitor_args_format(args, &argv);
	/* Returns only when it cannot be executed. */
	MUST(execv(argv.items[0], argv.items) == 0);
}

/* What both ways to start have; in S. */
static void common_args(struct rig *rig, const struct rig_options *o, struct monitor_args *args)
{
	monitor_args_init(args, "0123456789abcdef");
	args->run_dir = dup(rig->run_dir);
	args->data_dir = dup(rig->data_dir);
	args->lock = lock_of(rig);
	MUST(monitor_socket_listen(rig->run_dir, &args->listener, NULL) == 0);
	MUST(fd_set_cloexec(args->listener, false) == 0);
	if (o->oom_events != NULL)
		args->oom_events = file_of(rig, "oom", o->oom_events);
	if (o->log_limit_kib > 0)
		args->log_limit_kib = o->log_limit_kib;
	args->stdin_once = o->stdin_once;
	args->terminal = o->terminal;
	args->exit_command = o->exit_command;
}

static void run_monitor(struct rig *rig, const struct rig_options *o, int client, int report)
{
	struct monitor_args args;
	int console[2] = { -1, -1 };

	common_args(rig, o, &args);
	args.first_client = client;
	if (o->terminal) {
		MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, console) == 0);
		args.console = console[0];
	} else {
		args.stdout_fifo = make_fifo(rig, "stdout");
		args.stderr_fifo = make_fifo(rig, "stderr");
	}
	/* The init opens its end before it waits, so there is a reader for this one. */
	if (o->stdin_fifo)
		args.stdin_fifo = make_fifo(rig, "stdin");
	pid_t init = fork();
	MUST(init >= 0);
	if (init == 0) {
		MUST(fd_close_others((int[]){ rig->run_dir, console[1] }, 2) == 0);
		run_init(rig, o, console[1]);
	}
	if (console[1] >= 0)
		(void)close(console[1]);
	args.init_pid = init;
	MUST((args.init_pidfd = pidfd_open(init, 0)) >= 0 &&
		fd_set_cloexec(args.init_pidfd, false) == 0);
	MUST(write(report, &init, sizeof(init)) == sizeof(init));
	become_monitor(&args);
}

static void make_tiny(const struct rig *rig)
{
	AUTO_FREE char *data = text_format("%s/data", rig->path);

	MUST(unshare(CLONE_NEWNS) == 0);
	MUST(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	MUST(mount("tmpfs", data, "tmpfs", 0, "size=256k,mode=700") == 0);
	int fd = open(data, O_RDONLY | O_DIRECTORY);
	MUST(fd >= 0 && dup2(fd, rig->data_dir) == rig->data_dir);
	(void)close(fd);
}

void rig_start(struct rig *rig, const struct rig_options *options)
{
	int pair[2], report[2];

	if (options->data_is_tiny)
		make_tiny(rig);
	MUST(mkfifoat(rig->run_dir, "go", 0600) == 0);
	MUST(pipe(report) == 0);
	MUST(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
	if (options->attach != 0)
		rig_send(pair[0], MONITOR_ATTACH, options->attach, NULL, 0);
	rig->monitor = fork();
	MUST(rig->monitor >= 0);
	if (rig->monitor == 0) {
		(void)close(pair[0]);
		run_monitor(rig, options, options->attach != 0 ? pair[1] : -1, report[1]);
	}
	(void)close(pair[1]);
	(void)close(report[1]);
	rig->client = pair[0];
	rig->monitor_pidfd = pidfd_open(rig->monitor, 0);
	MUST(read(report[0], &rig->init, sizeof(rig->init)) == sizeof(rig->init));
	MUST((rig->init_pidfd = pidfd_open(rig->init, 0)) >= 0);
	(void)close(report[0]);
	if (options->attach != 0)
		assert_int_equal(rig_receive(rig, rig->client), MONITOR_ATTACHED);
}

void rig_go(struct rig *rig)
{
	int fd = openat(rig->run_dir, "go", O_WRONLY | O_CLOEXEC);

	MUST(fd >= 0 && write(fd, "g", 1) == 1);
	(void)close(fd);
}

void rig_adopt(struct rig *rig, const struct rig_options *options)
{
	int pidfd = pidfd_open(rig->init, 0);

	if (rig->client >= 0)
		(void)close(TAKE_FD(rig->client));
	rig->monitor = fork();
	MUST(rig->monitor >= 0);
	if (rig->monitor == 0) {
		struct monitor_args args;
		common_args(rig, options, &args);
		args.adopt = 1;
		args.init_pid = rig->init;
		args.init_pidfd = pidfd;
		MUST(pidfd < 0 || fd_set_cloexec(pidfd, false) == 0);
		become_monitor(&args);
	}
	rig->monitor_pidfd = pidfd_open(rig->monitor, 0);
	if (pidfd >= 0)
		(void)close(pidfd);
}

void rig_kill_monitor(struct rig *rig)
{
	MUST(proc_signal(rig->monitor_pidfd, SIGKILL) == 0);
	MUST(waitpid(rig->monitor, NULL, 0) == rig->monitor);
	(void)close(rig->monitor_pidfd);
	rig->monitor = 0;
}

int rig_connect(struct rig *rig, uint32_t wanted)
{
	int fd;
	uint64_t end_ns = clock_monotonic_ns() + DEADLINE_MS * UINT64_C(1000000);

	/* The monitor's start is not waited for otherwise when it adopts. */
	while (monitor_socket_connect(rig->run_dir, &fd, NULL) < 0)
		MUST(clock_monotonic_ns() < end_ns && sched_yield() == 0);
	if (wanted != 0) {
		rig_send(fd, MONITOR_ATTACH, wanted, NULL, 0);
		assert_int_equal(rig_receive(rig, fd), MONITOR_ATTACHED);
	}
	return fd;
}

int rig_receive(struct rig *rig, int client)
{
	struct pollfd ready = { .fd = client, .events = POLLIN };

	MUST(poll(&ready, 1, DEADLINE_MS) >= 0);
	if (ready.revents == 0)
		return -ETIMEDOUT;
	rig->message_len = monitor_receive(client, rig->message);
	return rig->message_len < 0 ? (int)rig->message_len : (int)rig->message->type;
}

uint32_t rig_collect(struct rig *rig, int client, enum monitor_stream stream, struct text *output)
{
	for (;;) {
		int type = rig_receive(rig, client);

		if (type == MONITOR_EXIT)
			return rig->message->value;
		assert_int_equal(type, MONITOR_OUTPUT);
		if (output != NULL && rig->message->value == (uint32_t)stream)
			text_add(output, (const char *)rig->message->data,
				(size_t)rig->message_len);
	}
}

void rig_send(int client, enum monitor_msg_type type, uint32_t value, const void *data, size_t len)
{
	assert_int_equal(monitor_send(client, type, value, data, len), 0);
}

char *rig_await_file(int dir, const char *name, const char *words)
{
	uint64_t end_ns = clock_monotonic_ns() + DEADLINE_MS * UINT64_C(1000000);

	for (;;) {
		struct text text = { 0 };
		if (file_read_at(dir, name, FILE_MAX, &text, NULL) == 0 &&
			strstr(text_string(&text), words) != NULL)
			return text_take(&text);
		text_done(&text);
		if (clock_monotonic_ns() > end_ns)
			fail_msg("%s does not come to hold \"%s\"", name, words);
		(void)poll(NULL, 0, 1);
	}
}

void rig_await_end(struct rig *rig)
{
	int status = -1;

	assert_int_equal(proc_wait_end(rig->monitor_pidfd, DEADLINE_MS), 0);
	MUST(waitpid(rig->monitor, &status, 0) == rig->monitor);
	(void)close(rig->monitor_pidfd);
	rig->monitor = 0;
	assert_int_equal(status, 0);
}

char *rig_log(struct rig *rig, const char *name)
{
	struct text text = { 0 };

	assert_int_equal(file_read_at(rig->data_dir, name, FILE_MAX, &text, NULL), 0);
	return text_take(&text);
}

char *rig_log_text(struct rig *rig, const char *name, const char *stream, size_t *ret_len)
{
	AUTO_FREE char *log = rig_log(rig, name);
	struct view rest = view_of(log);
	struct text text = { 0 };

	while (rest.len > 0) {
		struct view record = view_cut(&rest, '\n');
		struct view time = view_cut(&record, ' ');
		struct view from = view_cut(&record, ' ');
		struct view tag = view_cut(&record, ' ');
		int64_t wall_ns;

		assert_int_equal(time.len, 30);
		assert_int_equal(clock_parse(time, 0, &wall_ns), 0);
		assert_true(view_is(from, "stdout") || view_is(from, "stderr"));
		assert_true(view_is(tag, "F") || view_is(tag, "P"));
		assert_true(record.len <= MONITOR_LOG_LINE_MAX);
		if (!view_is(from, stream))
			continue;
		text_add(&text, record.data, record.len);
		if (view_is(tag, "F"))
			text_add(&text, "\n", 1);
	}
	if (ret_len != NULL)
		*ret_len = text.len;
	return text_take(&text);
}

unsigned rig_memory_kib(const struct rig *rig, const char *field)
{
	AUTO_FREE char *path = text_format("/proc/%d/smaps_rollup", (int)rig->monitor);
	AUTO_DONE(text) text = { 0 };
	uint64_t kib = 0;

#ifdef __SANITIZE_ADDRESS__
	return 0; /* the sanitizer's memory is nobody's figure */
#endif
	MUST(file_read_at(AT_FDCWD, path, FILE_MAX, &text, NULL) == 0);
	for (struct view rest = view_of_text(&text); rest.len > 0;) {
		struct view value = view_cut(&rest, '\n');
		if (!view_is(view_cut(&value, ':'), field))
			continue;
		value = view_trim(value);
		MUST(num_parse_u64(view_cut(&value, ' '), UINT32_MAX, &kib) == 0);
	}
	return (unsigned)kib;
}
