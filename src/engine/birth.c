#include "engine/birth.h"

#include <errno.h>
#include <fcntl.h>

#include "base/fd.h"
#include "base/spawn.h"
#include "container/container.h"
#include "engine/live.h"

#define START_DEADLINE_MS 30000 /* from go to exec, on a machine that is busy */

/* What S tells P: the init's pid, or why there is none. */
struct stage_message {
	pid_t pid;
	struct err err;
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
	*birth = (struct birth){ .go = { -1, -1 }, .report = { -1, -1 }, .stage = { -1, -1 } };
	monitor_link_init(&birth->link);
}

void birth_done(struct birth *birth)
{
	monitor_link_done(&birth->link);
	close_pair(birth->go);
	close_pair(birth->report);
	close_pair(birth->stage);
}

int birth_prepare(const struct launch *launch, struct birth *birth, struct err *err)
{
	if (pipe2(birth->go, O_CLOEXEC) < 0 || pipe2(birth->report, O_CLOEXEC) < 0 ||
		pipe2(birth->stage, O_CLOEXEC) < 0)
		return err_sys(err, errno, "prepare the start of the workload");
	return monitor_link_open(launch, &birth->link, err);
}

static _Noreturn void run_stage(struct launch *launch, struct birth *birth, birth_make_fn *make,
	void *context)
{
	struct stage_message message = { .pid = -1 };
	int init_pidfd = -1;
	/* Only P may hold the end that lets the init go, else its death would not end the init. */
	(void)close(TAKE_FD(birth->go[1]));
	(void)close(TAKE_FD(birth->report[0]));
	(void)setsid();
	int r = make(context, &message.pid, &init_pidfd, &message.err);
	(void)!fd_write_all(birth->stage[1], &message, sizeof(message));
	if (r == 0)
		monitor_link_exec(launch, &birth->link, message.pid, init_pidfd);
	_exit(125);
}

int birth_fork(struct launch *launch, struct birth *birth, birth_make_fn *make, void *context,
	struct err *err)
{
	launch->monitor_pid = spawn_fork(0, NULL);
	if (launch->monitor_pid < 0)
		return err_sys(err, -launch->monitor_pid, "fork the monitor");
	if (launch->monitor_pid == 0)
		run_stage(launch, birth, make, context);

	(void)close(TAKE_FD(birth->stage[1]));
	(void)close(TAKE_FD(birth->report[1]));
	struct stage_message message;
	if (fd_read_exact(birth->stage[0], &message, sizeof(message)) < 0)
		return err_set(err, ERR_SYSTEM, "the monitor ended while it was starting");
	if (message.pid < 0)
		return err_copy(err, &message.err);
	int r = proc_identify(message.pid, &launch->init);
	if (r == 0)
		r = proc_open(&launch->init, &launch->init_pidfd);
	if (r < 0)
		return err_sys(err, -r, "find the workload's init");
	launch->client_fd = TAKE_FD(birth->link.client[0]);
	launch->go_fd = TAKE_FD(birth->go[1]);
	launch->report_fd = TAKE_FD(birth->report[0]);
	return live_write_init(launch->dirs.run_fd, &launch->init, err);
}

int birth_go(struct launch *launch, int ready_ms, struct err *err)
{
	int r = container_report_wait(launch->report_fd, CONTAINER_READY, ready_ms, err);
	if (r != 0)
		return r;
	if (write(launch->go_fd, "", 1) != 1)
		return err_sys(err, errno, "let the workload go");
	return container_report_wait(launch->report_fd, CONTAINER_STARTED, START_DEADLINE_MS, err);
}
