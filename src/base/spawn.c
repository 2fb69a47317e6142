/* spawn - see spawn.h.
 *
 * spawn_shared() runs the child on a stack of its own in the parent's memory until it executes
 * (CLONE_VM | CLONE_VFORK, as posix_spawn does): no page tables are copied, no page is copied when
 * it is written, and the child tells what became of it by storing it.  All signals are blocked when
 * it begins, so that no handler of the parent's runs in it. */
#include "base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/proc.h"

enum {
	STACK_BYTES = 1024 * 1024, /* what is not touched costs nothing */
	STACK_GUARD_BYTES = 4096,
	COLLECT_MAX_BYTES = 64 * 1024,
};

struct child {
	const struct spawn *spawn;
	int errnum; /* why it failed; 0: it executes */
};

static int install_stdio(const int stdio[3])
{
	int source[3];
	/* What stands in the way of another is moved up first: { 1, 0, 2 } is legal. */
	for (int i = 0; i < 3; i++) {
		source[i] =
			stdio[i] >= 0 ? stdio[i] : open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY);
		if (source[i] >= 0 && source[i] < 3 && source[i] != i)
			source[i] = fcntl(source[i], F_DUPFD_CLOEXEC, 3);
		if (source[i] < 0)
			return -errno;
	}
	for (int i = 0; i < 3; i++) {
		if (source[i] == i) {
			int r = fd_set_cloexec(i, false);
			if (r < 0)
				return r;
		} else if (dup2(source[i], i) < 0) {
			return -errno;
		}
	}
	return 0;
}

static int prepare_and_execute(const struct spawn *spawn)
{
	struct sigaction by_default = { .sa_handler = SIG_DFL };
	for (int i = 1; i < NSIG; i++)
		(void)sigaction(i, &by_default, NULL); /* SIGKILL and SIGSTOP refuse */
	int r = install_stdio(spawn->stdio);
	if (r < 0)
		return r;
	for (size_t i = 0; i < spawn->keep_len; i++) {
		r = fd_set_cloexec(spawn->keep[i], false);
		if (r < 0)
			return r;
	}
	r = fd_close_others(spawn->keep, spawn->keep_len);
	if (r < 0)
		return r;
	if (spawn->new_session && setsid() < 0)
		return -errno;
	sigset_t none;
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	static char *const empty[] = { NULL };
	(void)execve(spawn->argv[0], (char *const *)(uintptr_t)spawn->argv,
		spawn->envp != NULL ? (char *const *)(uintptr_t)spawn->envp : empty);
	return -errno;
}

static void execute_or_tell(void *context)
{
	struct child *child = context;
	child->errnum = -prepare_and_execute(child->spawn);
}

/* The first frame of a child that shares memory. */
struct shared {
	spawn_shared_fn *run;
	void *context;
};

static int shared_main(void *context)
{
	struct shared *shared = context;
	shared->run(shared->context);
	_exit(127);
}

/* The child left its frames without returning: under the address sanitizer what it marked on the
 * stack would stay marked, for whoever maps these pages next. */
static void unmap_stack(char *stack)
{
#ifdef __SANITIZE_ADDRESS__
	__asan_unpoison_memory_region(stack, STACK_BYTES);
#endif
	(void)munmap(stack, STACK_BYTES);
}

pid_t spawn_shared(spawn_shared_fn *run, void *context, int *ret_pidfd)
{
	char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (stack == MAP_FAILED)
		return -errno;
	if (mprotect(stack, STACK_GUARD_BYTES, PROT_NONE) < 0) {
		int errnum = errno;
		unmap_stack(stack);
		return -errnum;
	}
	struct shared shared = { .run = run, .context = context };
	sigset_t all, before;
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_BLOCK, &all, &before);
	int pidfd = -1;
	pid_t pid = clone(shared_main, stack + STACK_BYTES,
		CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &shared, &pidfd);
	int errnum = errno;
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	unmap_stack(stack);
	if (pid < 0)
		return -errnum;
	if (ret_pidfd != NULL)
		*ret_pidfd = pidfd;
	else
		(void)close(pidfd);
	return pid;
}

int spawn_start(const struct spawn *spawn, pid_t *ret_pid, int *ret_pidfd, struct err *err)
{
	struct child child = { .spawn = spawn };
	AUTO_CLOSE int pidfd = -1;
	pid_t pid = spawn_shared(execute_or_tell, &child, &pidfd);
	if (pid < 0)
		return err_sys(err, -pid, "start %s", spawn->argv[0]);
	if (child.errnum != 0) {
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		return err_sys(err, child.errnum, "execute %s", spawn->argv[0]);
	}
	*ret_pid = pid;
	if (ret_pidfd != NULL)
		*ret_pidfd = TAKE_FD(pidfd);
	return 0;
}

int spawn_wait(pid_t pid, int pidfd, int timeout_ms, int *ret_status, struct err *err)
{
	int r = timeout_ms >= 0 ? proc_wait_end(pidfd, timeout_ms) : 0;
	/* Whatever went wrong with waiting, it is not left running. */
	if (r < 0)
		(void)!proc_signal(pidfd, SIGKILL);
	int status;
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return err_sys(err, errno, "wait for process %d", (int)pid);
	}
	if (r == -ETIMEDOUT)
		return err_set(err, ERR_TIMEOUT, "process %d did not end within %d ms", (int)pid,
			timeout_ms);
	if (r < 0)
		return err_sys(err, -r, "wait for process %d", (int)pid);
	*ret_status = status;
	return 0;
}

/* A program that is being collected from. */
struct collection {
	const char *program;
	int timeout_ms;
	uint64_t end_ns;
	int pidfd;
	struct pollfd pipes[2]; /* its stdout and stderr; fd is -1 after the end */
	struct text texts[2];
};

static int left_ms(const struct collection *c)
{
	if (c->timeout_ms < 0)
		return -1;
	uint64_t now_ns = clock_monotonic_ns();
	return now_ns < c->end_ns ? (int)((c->end_ns - now_ns + 999999) / 1000000) : 0;
}

/* Takes what is there.  Of stderr only its beginning is kept, since a person reads it; a stdout cut
 * short would be parsed wrongly. */
static int take_output(struct collection *c, int which, struct err *err)
{
	struct text *text = &c->texts[which];
	char chunk[4096];
	for (;;) {
		ssize_t n = read(c->pipes[which].fd, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0)
			return err_sys(err, errno, "read the output of %s", c->program);
		if (n == 0) {
			c->pipes[which].fd = -1; /* poll() passes over it */
			return 0;
		}
		size_t room = COLLECT_MAX_BYTES - text->len;
		if ((size_t)n > room && which == 0)
			return err_set(err, ERR_LIMIT, "%s wrote more than %d bytes", c->program,
				COLLECT_MAX_BYTES);
		text_add(text, chunk, (size_t)n < room ? (size_t)n : room);
	}
}

/* Until both pipes have ended, or the program has: its own children may keep the pipes. */
static int take_all_output(struct collection *c, struct err *err)
{
	bool ended = false;
	while (!ended && (c->pipes[0].fd >= 0 || c->pipes[1].fd >= 0)) {
		struct pollfd all[3] = { c->pipes[0], c->pipes[1],
			{ .fd = c->pidfd, .events = POLLIN } };
		int n = poll(all, ARRAY_LEN(all), left_ms(c));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, errno, "wait for %s", c->program);
		if (n == 0)
			return err_set(err, ERR_TIMEOUT, "%s did not end within %d ms", c->program,
				c->timeout_ms);
		ended = all[2].revents != 0;
		for (int i = 0; i < 2; i++) {
			int r = c->pipes[i].fd >= 0 ? take_output(c, i, err) : 0;
			if (r < 0)
				return r;
		}
	}
	return 0;
}

static int judge(const struct collection *c, int status, struct err *err)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	struct view line = view_trim(view_of_text(&c->texts[1]));
	for (struct view rest = line; rest.data != NULL;)
		line = view_cut(&rest, '\n');
	int len = line.len < 256 ? (int)line.len : 256;
	const char *text = line.len > 0 ? line.data : "it said nothing";
	if (line.len == 0)
		len = (int)strlen(text);
	char name[16];
	if (WIFSIGNALED(status))
		return err_set(err, ERR_SYSTEM, "%s was ended by %s: %.*s", c->program,
			proc_signal_name(WTERMSIG(status), name), len, text);
	return err_set(err, ERR_SYSTEM, "%s failed with status %d: %.*s", c->program,
		WEXITSTATUS(status), len, text);
}

/* The input as a file: no pipe to feed, no SIGPIPE, and programs may open /dev/stdin. */
static int open_input(struct view input, int *ret_fd)
{
	if (input.len == 0)
		return 0;
	AUTO_CLOSE int fd = memfd_create("input", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	int r = fd_pwrite_all(fd, input.data, input.len, 0);
	if (r == 0)
		*ret_fd = TAKE_FD(fd);
	return r;
}

int spawn_collect(const struct spawn *spawn, struct view input, int timeout_ms,
	struct text *ret_stdout, struct err *err)
{
	AUTO_CLOSE int input_fd = -1;
	int r = open_input(input, &input_fd);
	if (r < 0)
		return err_sys(err, -r, "keep the input of %s", spawn->argv[0]);
	int out[2], errors[2];
	if (pipe2(out, O_CLOEXEC) < 0)
		return err_sys(err, errno, "make a pipe");
	AUTO_CLOSE int out_read = out[0];
	AUTO_CLOSE int out_write = out[1];
	if (pipe2(errors, O_CLOEXEC) < 0)
		return err_sys(err, errno, "make a pipe");
	AUTO_CLOSE int errors_read = errors[0];
	AUTO_CLOSE int errors_write = errors[1];
	if ((r = fd_set_nonblocking(out_read, true)) < 0 ||
		(r = fd_set_nonblocking(errors_read, true)) < 0)
		return err_sys(err, -r, "make a pipe");

	struct spawn with_pipes = *spawn;
	with_pipes.stdio[0] = input_fd;
	with_pipes.stdio[1] = out_write;
	with_pipes.stdio[2] = errors_write;
	struct collection c = { .program = spawn->argv[0],
		.timeout_ms = timeout_ms,
		.end_ns = clock_monotonic_ns() + (uint64_t)timeout_ms * 1000000,
		.pipes = { { .fd = out_read, .events = POLLIN },
			{ .fd = errors_read, .events = POLLIN } } };
	pid_t pid = 0;
	AUTO_CLOSE int pidfd = -1;
	r = spawn_start(&with_pipes, &pid, &pidfd, err);
	if (r < 0)
		return r;
	c.pidfd = pidfd;
	(void)close(TAKE_FD(out_write));
	(void)close(TAKE_FD(errors_write));

	int status = 0;
	r = take_all_output(&c, err);
	if (r < 0)
		(void)!proc_signal(pidfd, SIGKILL);
	/* The first failure is the one that is told. */
	int waited = spawn_wait(pid, pidfd, r < 0 ? -1 : left_ms(&c), &status, r < 0 ? NULL : err);
	if (r == 0)
		r = waited;
	if (r == 0)
		r = judge(&c, status, err);
	if (r == 0)
		text_add(ret_stdout, text_string(&c.texts[0]), c.texts[0].len);
	text_done(&c.texts[0]);
	text_done(&c.texts[1]);
	return r;
}

pid_t spawn_fork(uint64_t clone_flags, int *ret_pidfd)
{
	int pidfd = -1;
	struct clone_args args = { .flags = clone_flags | CLONE_PIDFD,
		.pidfd = (uintptr_t)&pidfd,
		.exit_signal = SIGCHLD };
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid < 0)
		return -errno;
	if (pid > 0 && ret_pidfd != NULL)
		*ret_pidfd = pidfd;
	else if (pid > 0)
		(void)close(pidfd);
	return pid;
}

int spawn_sibling(const char *name, char **ret_path, struct err *err)
{
	int root = proc_root(err);
	if (root < 0)
		return root;
	AUTO_FREE char *self = NULL;
	int r = path_read_link(root, "self/exe", &self);
	if (r < 0)
		return err_sys(err, -r, "find the directory of this program");
	const char *slash = strrchr(self, '/');
	if (slash == NULL)
		return err_set(err, ERR_SYSTEM, "this program has no path, only \"%s\"", self);
	*ret_path = text_format("%.*s/%s", (int)(slash - self), self, name);
	return 0;
}
