#include "engine/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/proc.h"
#include "base/quote.h"
#include "base/spawn.h"

#define ANSWER_MAX (UINT64_C(256) << 20)

/* The program that runs now, also where its file was replaced meanwhile. */
#define SELF "/proc/self/exe"

int worker_collect(const char *role, const char *argument, struct view input, int timeout_ms,
	struct text *ret_output, struct err *err)
{
	const char *argv[] = { SELF, role, argument, NULL };
	struct spawn spawn = { .argv = argv, .stdio = { -1, -1, -1 } };
	AUTO_DONE(text) unwanted = { 0 };
	return spawn_collect(&spawn, input, timeout_ms, ret_output == NULL ? &unwanted : ret_output,
		err);
}

int worker_start(const char *role, const struct strv *arguments, const int *fds, size_t fds_len,
	struct worker *ret_worker, struct err *err)
{
	int answer[2];
	if (pipe2(answer, O_CLOEXEC) < 0)
		return err_sys(err, errno, "make a pipe to a worker");
	AUTO_CLOSE int read_end = answer[0];
	AUTO_CLOSE int write_end = answer[1];

	AUTO_DONE(strv) argv = { 0 };
	strv_add(&argv, SELF);
	strv_add(&argv, role);
	strv_extend(&argv, arguments);
	struct spawn spawn = {
		.argv = (const char *const *)argv.items,
		.stdio = { -1, write_end, 2 },
		.keep = fds,
		.keep_len = fds_len,
	};
	struct worker worker = { .pidfd = -1, .answer_fd = -1 };
	int r = spawn_start(&spawn, &worker.pid, &worker.pidfd, err);
	if (r < 0)
		return r;
	worker.answer_fd = TAKE_FD(read_end);
	*ret_worker = worker;
	return 0;
}

static int parse_answer(struct text *answer, struct text *ret_answer, struct err *err)
{
	struct view rest = view_of_text(answer);
	if (view_starts(rest, "ok ")) {
		if (ret_answer != NULL)
			text_add(ret_answer, rest.data + 3, rest.len - 3);
		return 0;
	}
	if (!view_starts(rest, "error "))
		return err_set(err, ERR_SYSTEM, "a worker ended without an answer");
	(void)view_cut(&rest, ' ');
	struct view kind = view_cut(&rest, ' ');
	int64_t number;
	if (num_parse(kind, ERR_NONE + 1, ERR_KIND_COUNT - 1, &number) < 0)
		return err_set(err, ERR_SYSTEM, "a worker gave an answer that cannot be read");
	/* What it says may quote the archive. */
	AUTO_DONE(text) quoted = { 0 };
	quote_add(&quoted, view_trim(rest));
	return err_set(err, (enum err_kind)number, "%s", text_string(&quoted));
}

int worker_finish(struct worker *worker, struct text *ret_answer, struct err *err)
{
	AUTO_DONE(text) answer = { 0 };
	int r = fd_read_text(worker->answer_fd, ANSWER_MAX, "a worker's answer", &answer, err);
	if (r < 0) {
		worker_abandon(worker);
		return r;
	}
	int status;
	r = spawn_wait(worker->pid, worker->pidfd, -1, &status, err);
	(void)close(worker->answer_fd);
	(void)close(worker->pidfd);
	*worker = (struct worker){ .pidfd = -1, .answer_fd = -1 };
	return r < 0 ? r : parse_answer(&answer, ret_answer, err);
}

void worker_abandon(struct worker *worker)
{
	if (worker->pid <= 0)
		return;
	int status;
	(void)!spawn_wait(worker->pid, worker->pidfd, 0, &status, NULL);
	(void)close(worker->answer_fd);
	(void)close(worker->pidfd);
	*worker = (struct worker){ .pidfd = -1, .answer_fd = -1 };
}

int worker_answer(int result, const struct err *err, struct view text)
{
	AUTO_DONE(text) answer = { 0 };
	if (result < 0)
		text_printf(&answer, "error %d %s\n", (int)err->kind, err->message);
	else
		text_puts(&answer, "ok ");
	if (result == 0)
		text_add(&answer, text.data, text.len);
	return fd_write_all(STDOUT_FILENO, answer.data, answer.len) < 0 ? 1 : 0;
}
