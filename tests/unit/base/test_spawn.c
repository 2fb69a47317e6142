#include "test.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/proc.h"
#include "base/spawn.h"

#define SHELL(script) ((const char *const[]){ "/bin/sh", "-c", (script), NULL })

static int collect(const char *script, struct view input, int timeout_ms, struct text *out,
	struct err *err)
{
	const struct spawn spawn = { .argv = SHELL(script), .stdio = { -1, -1, -1 } };
	return spawn_collect(&spawn, input, timeout_ms, out, err);
}

static void output_is_collected_and_input_fed(void **state)
{
	(void)state;
	struct err err = { 0 };
	AUTO_DONE(text) out = { 0 };
	assert_int_equal(collect("cat; cat /dev/stdin; echo done", V("in\n"), 5000, &out, &err), 0);
	assert_string_equal(out.data, "in\nin\ndone\n");
	text_clear(&out);
	assert_int_equal(collect("cat", (struct view){ 0 }, -1, &out, &err), 0);
	assert_int_equal(out.len, 0);
}

static void failures_carry_the_last_line_of_stderr(void **state)
{
	(void)state;
	struct err err = { 0 };
	AUTO_DONE(text) out = { 0 };
	assert_error(collect("echo x; echo first >&2; printf 'last\\n\\n' >&2; exit 3", V(""), 5000,
			     &out, &err),
		ERR_SYSTEM, "/bin/sh failed with status 3: last");
	assert_error(collect("exit 1", V(""), 5000, &out, &err), ERR_SYSTEM, "it said nothing");
	assert_error(collect("kill -KILL $$", V(""), 5000, &out, &err), ERR_SYSTEM,
		"ended by SIGKILL");
	assert_int_equal(out.len, 0);
}

static void time_and_output_have_limits(void **state)
{
	(void)state;
	struct err err = { 0 };
	AUTO_DONE(text) out = { 0 };
	assert_error(collect("exec sleep 100", V(""), 30, &out, &err), ERR_TIMEOUT, "within 30 ms");
	assert_error(collect("exec sleep 100 >&- 2>&-", V(""), 30, &out, &err), ERR_TIMEOUT,
		"did not end within");
	assert_error(collect("exec cat /dev/zero", V(""), 5000, &out, &err), ERR_LIMIT, "65536");
	assert_int_equal(collect("head -c 65536 /dev/zero; head -c 100000 /dev/zero >&2", V(""),
				 5000, &out, &err),
		0);
	assert_int_equal(out.len, 65536);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void a_grandchild_that_keeps_the_pipe_does_not_hold_us(void **state)
{
	(void)state;
	struct err err = { 0 };
	AUTO_DONE(text) out = { 0 };
	uint64_t start = clock_monotonic_ns();
	assert_int_equal(collect("sleep 3 & echo x", V(""), 60000, &out, &err), 0);
	assert_string_equal(out.data, "x\n");
	assert_true(clock_monotonic_ns() - start < 2000000000);
}

static void a_program_that_cannot_be_executed_is_an_error(void **state)
{
	(void)state;
	struct err err = { 0 };
	static const char *const argv[] = { "/none", NULL };
	struct spawn spawn = { .argv = argv, .stdio = { -1, -1, -1 } };
	pid_t pid = 77;
	int pidfd = 77;
	assert_error(spawn_start(&spawn, &pid, &pidfd, &err), ERR_SYSTEM,
		"execute /none: No such file or directory");
	static const char *const directory[] = { "/", NULL };
	spawn.argv = directory;
	assert_error(spawn_start(&spawn, &pid, &pidfd, &err), ERR_DENIED, "execute /: Permission");
	spawn.argv = SHELL("true");
	spawn.stdio[1] = 999;
	assert_error(spawn_start(&spawn, &pid, &pidfd, &err), ERR_SYSTEM, "Bad file descriptor");
	static const int keep[] = { 998 };
	spawn.stdio[1] = -1;
	spawn.keep = keep;
	spawn.keep_len = 1;
	assert_error(spawn_start(&spawn, &pid, &pidfd, &err), ERR_SYSTEM, "Bad file descriptor");
	assert_int_equal(pid, 77);
	assert_int_equal(pidfd, 77);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void the_child_gets_what_is_listed_and_nothing_else(void **state)
{
	(void)state;
	struct err err = { 0 };
	AUTO_DONE(text) out = { 0 };
	int kept = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 40);
	int leaked = fcntl(STDERR_FILENO, F_DUPFD, 50);
	static const char *const envp[] = { "A=b", NULL };
	const int keep[] = { kept };
	/* ls itself has one more open, for the directory. */
	struct spawn spawn = { .argv = SHELL("echo $A; env | grep -c =; ls /proc/self/fd; "
					     "grep -E 'Sig(Blk|Ign)' /proc/self/status"),
		.envp = envp,
		.stdio = { -1, -1, -1 },
		.keep = keep,
		.keep_len = 1,
		.new_session = true };
	sigset_t set, before;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGUSR1);
	(void)sigprocmask(SIG_BLOCK, &set, &before);
	(void)signal(SIGUSR2, SIG_IGN);
	assert_int_equal(spawn_collect(&spawn, V(""), 5000, &out, &err), 0);
	(void)signal(SIGUSR2, SIG_DFL);
	sigset_t after;
	(void)sigprocmask(SIG_SETMASK, &before, &after);
	assert_int_equal(sigismember(&after, SIGUSR1), 1);
	assert_int_equal(sigismember(&after, SIGTERM), 0);
	/* The shell sets PWD itself. */
	AUTO_FREE char *expected = text_format("b\n2\n0\n1\n2\n3\n%d\nSigBlk:\t0000000000000000\n"
					       "SigIgn:\t0000000000000000\n",
		kept);
	assert_string_equal(out.data, expected);
	(void)close(kept);
	(void)close(leaked);
}

static void stdio_may_be_any_permutation(void **state)
{
	(void)state;
	struct err err = { 0 };
	pid_t outer = fork();
	if (outer == 0) {
		int pipes[2];
		char got[5] = "";
		pid_t pid;
		int pidfd, status = -1;
		if (pipe2(pipes, O_CLOEXEC) < 0 || dup2(pipes[1], 0) < 0)
			_exit(1);
		/* Our descriptor 0 is the pipe, and becomes the child's 1. */
		const struct spawn spawn = { .argv = SHELL("echo text"), .stdio = { 1, 0, 2 } };
		if (spawn_start(&spawn, &pid, &pidfd, &err) < 0 ||
			spawn_wait(pid, pidfd, 5000, &status, &err) < 0 || status != 0)
			_exit(2);
		_exit(fd_read_exact(pipes[0], got, 4) == 0 && strcmp(got, "text") == 0 ? 0 : 3);
	}
	int status;
	assert_int_equal(waitpid(outer, &status, 0), outer);
	assert_int_equal(status, 0);
}

static void waiting_has_a_deadline(void **state)
{
	(void)state;
	struct err err = { 0 };
	const struct spawn spawn = { .argv = SHELL("exec sleep 100"), .stdio = { -1, -1, -1 } };
	pid_t pid;
	int pidfd = -1, status = 77;
	assert_int_equal(spawn_start(&spawn, &pid, &pidfd, &err), 0);
	assert_int_equal(fcntl(pidfd, F_GETFD), FD_CLOEXEC);
	assert_error(spawn_wait(pid, pidfd, 5, &status, &err), ERR_TIMEOUT, "within 5 ms");
	assert_int_equal(status, 77);
	assert_int_equal(close(pidfd), 0);
	assert_error(spawn_wait(pid, -1, -1, &status, &err), ERR_SYSTEM, "No child");
}

static void a_fork_has_a_pidfd(void **state)
{
	(void)state;
	int pidfd = -1, status = 0;
	struct err err = { 0 };
	pid_t pid = spawn_fork(0, &pidfd);
	if (pid == 0)
		_exit(5);
	assert_int_equal(spawn_wait(pid, pidfd, 5000, &status, &err), 0);
	assert_int_equal(WEXITSTATUS(status), 5);
	assert_int_equal(close(pidfd), 0);
	assert_int_equal(spawn_fork(CLONE_SIGHAND, &pidfd), -EINVAL);
	pid = spawn_fork(0, NULL);
	if (pid == 0)
		_exit(0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

struct shared_words {
	bool are_signals_blocked;
	char *text; /* the child's, for the parent to free */
	bool ends_itself;
};

static void say_in_shared_memory(void *context)
{
	struct shared_words *words = context;
	sigset_t blocked;
	(void)sigprocmask(SIG_SETMASK, NULL, &blocked);
	words->are_signals_blocked =
		sigismember(&blocked, SIGINT) == 1 && sigismember(&blocked, SIGTERM) == 1;
	words->text = text_format("said by %s", "the child");
	(void)close(0);
	(void)chdir("/");
	if (words->ends_itself)
		_exit(7);
}

static void a_child_may_share_memory_and_nothing_else(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		struct shared_words words = { .ends_itself = i == 1 };
		sigset_t before, after;
		char cwd[256], cwd_after[256];
		(void)sigprocmask(SIG_SETMASK, NULL, &before);
		assert_non_null(getcwd(cwd, sizeof(cwd)));
		AUTO_CLOSE int pidfd = -1;
		pid_t pid = spawn_shared(say_in_shared_memory, &words, &pidfd);
		assert_true(pid > 0 && pidfd >= 0);
		AUTO_FREE char *text = words.text;
		assert_string_equal(text, "said by the child");
		assert_true(words.are_signals_blocked);
		int status = 0;
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), i == 1 ? 7 : 127);
		(void)sigprocmask(SIG_SETMASK, NULL, &after);
		/* The kernel's set is shorter than the library's. */
		assert_memory_equal(&before, &after, _NSIG / 8);
		assert_non_null(getcwd(cwd_after, sizeof(cwd_after)));
		assert_string_equal(cwd, cwd_after);
		assert_true(fcntl(0, F_GETFD) >= 0);
	}
}

static void siblings_stand_beside_this_program(void **state)
{
	(void)state;
	struct err err = { 0 };
	AUTO_FREE char *self = NULL;
	AUTO_FREE char *sibling = NULL;
	assert_int_equal(path_read_link(AT_FDCWD, "/proc/self/exe", &self), 0);
	assert_int_equal(spawn_sibling("test_base_spawn", &sibling, &err), 0);
	assert_string_equal(sibling, self);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(output_is_collected_and_input_fed),
		cmocka_unit_test(failures_carry_the_last_line_of_stderr),
		cmocka_unit_test(time_and_output_have_limits),
		cmocka_unit_test(a_grandchild_that_keeps_the_pipe_does_not_hold_us),
		cmocka_unit_test(a_program_that_cannot_be_executed_is_an_error),
		cmocka_unit_test(the_child_gets_what_is_listed_and_nothing_else),
		cmocka_unit_test(stdio_may_be_any_permutation),
		cmocka_unit_test(waiting_has_a_deadline),
		cmocka_unit_test(a_fork_has_a_pidfd),
		cmocka_unit_test(a_child_may_share_memory_and_nothing_else),
		cmocka_unit_test(siblings_stand_beside_this_program),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
