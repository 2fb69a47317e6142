#include "test.h"

#include <signal.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/proc.h"

/* A child that waits for a signal; the caller reaps it. */
static pid_t start_waiting(void)
{
	pid_t pid = fork();
	if (pid == 0) {
		for (;;)
			(void)pause();
	}
	assert_true(pid > 0);
	return pid;
}

static void the_procfs_is_found_again_after_it_was_closed(void **state)
{
	(void)state;
	struct err err = { 0 };
	int root = proc_root(&err);
	assert_true(root > 2);
	assert_int_equal(proc_root(&err), root);
	AUTO_DONE(text) text = { 0 };
	assert_int_equal(file_read_at(root, "self/comm", 100, &text, &err), 0);
	/* Another file under its number must not be taken for it. */
	int other = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_int_equal(dup3(other, root, O_CLOEXEC), root);
	int again = proc_root(&err);
	assert_true(again >= 0 && again != root);
	assert_int_equal(faccessat(again, "self/comm", F_OK, 0), 0);
	(void)close(other);
	(void)close(root);
}

static void a_process_is_told_from_its_number(void **state)
{
	(void)state;
	/* A name made to break the parser of /proc/PID/stat. */
	assert_int_equal(prctl(PR_SET_NAME, ") R 1 (1 1 1"), 0);
	pid_t pid = start_waiting();
	struct proc_id id;
	int pidfd = -1;
	assert_int_equal(proc_identify(pid, &id), 0);
	assert_int_equal(id.pid, pid);
	assert_true(id.start_ticks > 0);
	assert_int_equal(proc_open(&id, &pidfd), 0);
	struct proc_id reused = { .pid = pid, .start_ticks = id.start_ticks + 1 };
	int none = -1;
	assert_int_equal(proc_open(&reused, &none), -ESRCH);
	assert_int_equal(proc_open(&(struct proc_id){ 0 }, &none), -ESRCH);
	assert_int_equal(none, -1);

	assert_int_equal(proc_wait_end(pidfd, 0), -ETIMEDOUT);
	assert_int_equal(proc_wait_end(pidfd, 5), -ETIMEDOUT);
	assert_int_equal(proc_signal(pidfd, SIGTERM), 0);
	assert_int_equal(proc_wait_end(pidfd, -1), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(proc_signal(pidfd, SIGTERM), -ESRCH);
	assert_int_equal(proc_open(&id, &none), -ESRCH);
	assert_int_equal(proc_identify(pid, &id), -ESRCH);
	assert_int_equal(proc_identify(0, &id), -EINVAL);
	assert_int_equal(close(pidfd), 0);
	assert_int_equal(proc_wait_end(-1, 1), -ETIMEDOUT);
	assert_int_equal(proc_wait_end(pidfd, 1), -EBADF);
}

static void a_strangers_exit_status_is_told_or_unknown(void **state)
{
	(void)state;
	pid_t pid = fork();
	if (pid == 0)
		_exit(7);
	int pidfd = pidfd_open(pid, 0);
	int status = -1;
	assert_int_equal(proc_wait_end(pidfd, -1), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	int r = proc_exit_status(pidfd, &status);
	if (r == 0)
		assert_int_equal(status, 7 << 8);
	else
		assert_int_equal(r, -ENODATA);
	assert_int_equal(close(pidfd), 0);
	int self = pidfd_open(getpid(), 0);
	assert_int_equal(proc_exit_status(self, &status), -ENODATA);
	assert_int_equal(close(self), 0);
	int not_a_pidfd = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_int_equal(proc_exit_status(not_a_pidfd, &status), -ENODATA);
	assert_int_equal(close(not_a_pidfd), 0);
	assert_int_equal(proc_exit_status(-1, &status), -EBADF);
}

static void files_of_a_process_are_opened(void **state)
{
	(void)state;
	AUTO_CLOSE int net = proc_open_file(getpid(), "ns/net", O_RDONLY);
	assert_true(net >= 0);
	assert_int_equal(fcntl(net, F_GETFD), FD_CLOEXEC);
	struct stat a, b;
	assert_int_equal(fstat(net, &a), 0);
	assert_int_equal(stat("/proc/self/ns/net", &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	assert_int_equal(proc_open_file(getpid(), "none", O_RDONLY), -ENOENT);
	assert_int_equal(proc_open_file(-1, "stat", O_RDONLY), -EINVAL);
}

static void signals_are_parsed_and_named(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int number;
	} good[] = { { "15", 15 }, { "TERM", 15 }, { "SIGTERM", 15 }, { "sigterm", 15 },
		{ "kill", 9 }, { "SIGCLD", SIGCHLD }, { "IOT", SIGABRT }, { "SIGPOLL", SIGIO },
		{ "RTMIN", 34 }, { "SIGRTMIN+1", 35 }, { "RTMAX", 64 }, { "SIGRTMAX-14", 50 },
		{ "SIGWINCH", 28 }, { "64", 64 } };
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		int number = 0;
		assert_int_equal(proc_signal_parse(good[i].text, &number), 0);
		assert_int_equal(number, good[i].number);
	}
	static const char *const bad[] = { "", "0", "65", "-1", "SIG", "SIG15", "TERMX", "RTMIN+31",
		"RTMAX-31", "32X" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		int number = 77;
		assert_int_equal(proc_signal_parse(bad[i], &number), -EINVAL);
		assert_int_equal(number, 77);
	}
	for (int i = 1; i <= 64; i++) {
		char buffer[16];
		int number = 0;
		assert_int_equal(proc_signal_parse(proc_signal_name(i, buffer), &number), 0);
		assert_int_equal(number, i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_procfs_is_found_again_after_it_was_closed),
		cmocka_unit_test(a_process_is_told_from_its_number),
		cmocka_unit_test(a_strangers_exit_status_is_told_or_unknown),
		cmocka_unit_test(files_of_a_process_are_opened),
		cmocka_unit_test(signals_are_parsed_and_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
