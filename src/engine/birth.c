#include "engine/birth.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/report.h"
#include "base/spawn.h"
#include "engine/live.h"

#define START_DEADLINE_MS 30000 /* from go to exec, on a machine that is busy */

/* S's work and what became of it. */
struct stage {
	struct launch *launch;
	struct birth *birth;
	birth_make_fn *make;
	void *context;
	pid_t init_pid; /* -1: there is none */
	struct err err; /* why S could not go on */
};

static void close_pair(int pair[2])
{
	for (int i = 0; i < 2; i++) {
		if (pair[i] >= 0)
			(void)close(pair[i]);
		pair[i] = -1;
	}
}

void birth_init(struct birth *birth)
{
	*birth = (struct birth){ .go = { -1, -1 }, .report = { -1, -1 } };
	monitor_link_init(&birth->link);
}

void birth_done(struct birth *birth)
{
	monitor_link_done(&birth->link);
	close_pair(birth->go);
	close_pair(birth->report);
}

int birth_prepare(const struct launch *launch, struct birth *birth, struct err *err)
{
	if (pipe2(birth->go, O_CLOEXEC) < 0 || pipe2(birth->report, O_CLOEXEC) < 0)
		return err_sys(err, errno, "prepare the start of the workload");
	return monitor_link_open(launch, &birth->link, err);
}

static void run_stage(void *context)
{
	struct stage *stage = context;
	struct birth *birth = stage->birth;
	int init_pidfd = -1;
	sigset_t none;
	/* Only P may hold the end that lets the init go, else its death would not end the init. */
	(void)close(birth->go[1]);
	(void)close(birth->report[0]);
	(void)setsid();
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	int r = stage->make(stage->context, &stage->init_pid, &init_pidfd, &stage->err);
	if (r == 0)
		(void)!monitor_link_exec(stage->launch, &birth->link, stage->init_pid, init_pidfd,
			&stage->err);
}

int birth_begin(struct launch *launch, struct birth *birth, birth_make_fn *make, void *context,
	const char *who, struct err *err)
{
	struct stage stage = { .launch = launch,
		.birth = birth,
		.make = make,
		.context = context,
		.init_pid = -1 };
	launch->monitor_pid = spawn_shared(run_stage, &stage, NULL);
	if (launch->monitor_pid < 0)
		return err_sys(err, -launch->monitor_pid, "make the monitor");
	(void)close(TAKE_FD(birth->report[1]));
	if (stage.err.kind != ERR_NONE)
		return err_copy(err, &stage.err);
	if (stage.init_pid < 0)
		return err_set(err, ERR_SYSTEM, "the monitor ended while it was starting");
	int r = proc_identify(stage.init_pid, &launch->init);
	if (r == 0)
		r = proc_open(&launch->init, &launch->init_pidfd);
	if (r < 0) {
		/* It has ended already, and may have said why. */
		int said =
			report_wait(birth->report[0], REPORT_IS_READY, START_DEADLINE_MS, who, err);
		return said < 0 ? said : err_sys(err, -r, "find the workload's init");
	}
	launch->client_fd = TAKE_FD(birth->link.client[0]);
	launch->go_fd = TAKE_FD(birth->go[1]);
	launch->report_fd = TAKE_FD(birth->report[0]);
	return live_write_init(launch->dirs.run_fd, &launch->init, err);
}

void birth_end_monitor(struct launch *launch)
{
	if (launch->monitor_pid <= 0)
		return;
	/* Our child, and not waited for yet: the number is still its own. */
	(void)kill(launch->monitor_pid, SIGKILL);
	while (waitpid(launch->monitor_pid, NULL, 0) < 0 && errno == EINTR)
		;
	launch->monitor_pid = 0;
}

int birth_go(struct launch *launch, const char *who, int ready_ms, struct err *err)
{
	int r = report_wait(launch->report_fd, REPORT_IS_READY, ready_ms, who, err);
	if (r != 0)
		return r;
	if (write(launch->go_fd, "", 1) != 1)
		return err_sys(err, errno, "let the workload go");
	return report_wait(launch->report_fd, REPORT_IS_STARTED, START_DEADLINE_MS, who, err);
}
