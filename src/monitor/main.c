/* moat-monitor - the process that stays with a workload when the command that started it has gone.
 * It is the parent of the workload's init: the command forks, the child clones the init and becomes
 * this program with everything as inherited descriptors (wire/monitor_args.h).
 *
 * It gives up what it could be hurt or hurt others by: descriptors that are not its own, the
 * caller's session, directory and stdio, signals that mean the command and not the workload, being
 * traced and read by others of its user.  It stays root where it was: the exit command needs it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "monitor/monitor.h"

#define EXIT_MOAT 125 /* as err_kinds.def has it for our own failures */

/* What ends a command must not end the keeper of what it started; a full disk (SIGXFSZ) and a
 * client that went (SIGPIPE) are errors of the call. */
static const int ignored_signals[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGALRM, SIGUSR1,
	SIGUSR2, SIGTSTP, SIGTTIN, SIGTTOU, SIGXFSZ };

static int leave_caller(const struct monitor_args *args)
{
	const int keep[] = { args->console, args->data_dir, args->first_client, args->init_pidfd,
		args->listener, args->lock, args->oom_adjust, args->oom_events, args->run_dir,
		args->stderr_fifo, args->stdin_fifo, args->stdout_fifo };
	struct sigaction action = { .sa_handler = SIG_IGN };

	for (size_t i = 0; i < ARRAY_LEN(ignored_signals); i++)
		(void)sigaction(ignored_signals[i], &action, NULL);
	(void)setsid(); /* refused where the caller did it */
	(void)umask(077);
	(void)prctl(PR_SET_NAME, "moat-monitor");
	(void)prctl(PR_SET_DUMPABLE, 0);
	if (chdir("/") < 0)
		return -errno;
	int r = fd_close_others(keep, ARRAY_LEN(keep));
	if (r < 0)
		return r;
	if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
		return -errno;
	return 0;
}

static int leave_stdio(void)
{
	AUTO_CLOSE int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return -errno;
	for (int fd = 0; fd < 3; fd++)
		if (dup2(null, fd) < 0)
			return -errno;
	return 0;
}

static int run(int argc, char **argv, struct err *err)
{
	struct monitor_args args;
	int r = monitor_args_parse(argc, (const char *const *)(uintptr_t)argv, &args, err);

	if (r < 0)
		return r;
	AUTO(monitor) monitor = NULL;
	r = leave_caller(&args);
	if (r < 0)
		return err_sys(err, -r, "moat-monitor: leave the caller");
	r = monitor_new(&args, &monitor, err);
	if (r < 0)
		return err_wrap(err, r, "moat-monitor");
	/* Only now, so that whoever started it hears why it could not begin. */
	r = leave_stdio();
	if (r < 0)
		return err_sys(err, -r, "moat-monitor: open /dev/null");
	return monitor_keep(monitor, err);
}

int main(int argc, char **argv)
{
	struct err err = { 0 };

	if (run(argc, argv, &err) == 0)
		return 0;
	/* Not through stdio: a failure is rare, its buffer would not be.  Nobody may be there. */
	(void)!write(STDERR_FILENO, err.message, strlen(err.message));
	(void)!write(STDERR_FILENO, "\n", 1);
	return EXIT_MOAT;
}
