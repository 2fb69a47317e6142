/* killpoints - kills a program with SIGKILL at the entry of its n-th system call.
 *   killpoints count COMMAND ...   runs it to its end and says on standard error how many
 *                                  calls its first process made
 *   killpoints N COMMAND ...       exit status 0: it was killed there; 3: it ended before
 * Only the first process is stopped and counted (all its calls until it ends, by the main thread);
 * what it started goes on, as it does when somebody types kill -9. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static int fail(const char *what)
{
	fprintf(stderr, "killpoints: %s: %s\n", what, strerror(errno));
	return 2;
}

static uintmax_t number(const char *text)
{
	uintmax_t n = 0;
	for (; *text >= '0' && *text <= '9'; text++)
		n = n * 10 + (uintmax_t)(*text - '0');
	return n;
}

/* Runs pid until it has made kill_at calls (then kills it) or has ended. */
static int follow(pid_t pid, uintmax_t kill_at, uintmax_t *ret_calls)
{
	uintmax_t stops = 0;
	int signal_number = 0;
	for (;;) {
		int status;
		if (ptrace(PTRACE_SYSCALL, pid, NULL, (long)signal_number) < 0 && errno != ESRCH)
			return fail("continue");
		if (waitpid(pid, &status, 0) < 0)
			return fail("wait");
		*ret_calls = (stops + 1) / 2;
		if (WIFEXITED(status) || WIFSIGNALED(status))
			return 3;
		signal_number = WSTOPSIG(status);
		if (signal_number == SIGTRAP) /* execve reports itself so, once */
			signal_number = 0;
		if (signal_number != (SIGTRAP | 0x80))
			continue;
		signal_number = 0;
		stops++;
		/* Odd stops are entries, even ones returns. */
		if (kill_at == 0 || stops != 2 * kill_at - 1)
			continue;
		if (kill(pid, SIGKILL) < 0 || waitpid(pid, &status, 0) < 0)
			return fail("kill");
		return 0;
	}
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "usage: killpoints count|N COMMAND ...\n");
		return 2;
	}
	uintmax_t kill_at = strcmp(argv[1], "count") == 0 ? 0 : number(argv[1]);
	pid_t pid = fork();
	if (pid < 0)
		return fail("fork");
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(2);
		execvp(argv[2], argv + 2);
		_exit(127);
	}

	int status;
	if (waitpid(pid, &status, 0) < 0 || !WIFSTOPPED(status))
		return fail("start");
	if (ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) < 0)
		return fail("options");
	uintmax_t calls = 0;
	int r = follow(pid, kill_at, &calls);
	if (kill_at == 0 && r == 3) {
		fprintf(stderr, "%ju\n", calls);
		return 0;
	}
	return r;
}
