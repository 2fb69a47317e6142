/* cmd_lifecycle - start, stop, kill, wait, rm, attach. */
#include <stdio.h>
#include <unistd.h>

#include "base/proc.h"
#include "base/quote.h"
#include "cli/command.h"

int command_each(struct cli *cli, int count, char **names, name_fn *fn, void *context, bool quiet,
	struct err *err)
{
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);
	if (r < 0)
		return r;
	int status = 0;
	for (int i = 0; i < count; i++) {
		struct err one = { 0 };
		if (fn(engine, names[i], context, &one) < 0) {
			(void)cli_report(&one);
			status = 1;
		} else if (!quiet) {
			AUTO_FREE char *quoted = quote_string(names[i]);
			(void)printf("%s\n", quoted);
		}
	}
	return status;
}

/* ---- start ---- */

struct start_options {
	bool attach, interactive;
	char *detach_keys;
	int status;
};

static int start_one(struct engine *engine, const char *name, void *context, struct err *err)
{
	struct start_options *options = context;
	const struct engine_stdio stdio = {
		.in = options->interactive ? STDIN_FILENO : -1,
		.out = STDOUT_FILENO,
		.err = STDERR_FILENO,
		.sig_proxy = true,
		.detach_keys = options->detach_keys,
	};
	bool attach = options->attach || options->interactive;
	return engine_start(engine, name, attach ? &stdio : NULL, &options->status, err);
}

int cmd_start(struct cli *cli, int argc, char **argv, struct err *err)
{
	static const struct option_row rows[] = {
		{ "attach", 'a', OPTION_FLAG, offsetof(struct start_options, attach), NULL,
			"Attach, and exit with the workload's status", NULL },
		{ "detach-keys", 0, OPTION_STRING, offsetof(struct start_options, detach_keys),
			"KEYS", "Keys that detach", NULL },
		{ "interactive", 'i', OPTION_FLAG, offsetof(struct start_options, interactive),
			NULL, "Attach standard input too", NULL },
	};
	struct start_options options = { 0 };
	int first;
	bool help;
	int r = option_parse(cli, argc, argv, rows, ARRAY_LEN(rows), &options, &first, &help, err);
	AUTO_FREE char *keys = options.detach_keys;
	if (r < 0 || help)
		return r;
	bool attach = options.attach || options.interactive;
	r = option_count(cli, argc - first, 1, attach ? 1 : -1, err);
	if (r == 0)
		r = command_each(cli, argc - first, argv + first, start_one, &options, attach, err);
	return r != 0 ? r : options.status;
}

/* ---- stop, kill ---- */

struct stop_options {
	int64_t time_s;
	char *signal;
	int signal_number;
};

static int stop_one(struct engine *engine, const char *name, void *context, struct err *err)
{
	const struct stop_options *options = context;
	int timeout_ms = options->time_s < 0 ? -1 : (int)options->time_s * 1000;
	return engine_stop(engine, name, options->signal_number, timeout_ms, err);
}

static int kill_one(struct engine *engine, const char *name, void *context, struct err *err)
{
	const struct stop_options *options = context;
	return engine_signal(engine, name, options->signal_number, err);
}

#define TIME_MAX_S 1000000

static int stop_or_kill(struct cli *cli, int argc, char **argv, const struct option_row *rows,
	size_t len, name_fn *fn, const char *default_signal, struct err *err)
{
	struct stop_options options = { .time_s = -1 };
	int first;
	bool help;
	int r = option_parse(cli, argc, argv, rows, len, &options, &first, &help, err);
	AUTO_FREE char *named = options.signal;
	if (r < 0 || help)
		return r;
	const char *signal = named != NULL ? named : default_signal;
	if (signal != NULL && proc_signal_parse(signal, &options.signal_number) < 0)
		return err_set(err, ERR_INVALID, "invalid signal: %s", signal);
	if (options.time_s > TIME_MAX_S)
		return err_set(err, ERR_INVALID, "--time %jd is more than %d seconds",
			(intmax_t)options.time_s, TIME_MAX_S);
	r = option_count(cli, argc - first, 1, -1, err);
	return r < 0 ? r : command_each(cli, argc - first, argv + first, fn, &options, false, err);
}

int cmd_stop(struct cli *cli, int argc, char **argv, struct err *err)
{
	static const struct option_row rows[] = {
		{ "signal", 's', OPTION_STRING, offsetof(struct stop_options, signal), "SIGNAL",
			"Signal to send first", NULL },
		{ "time", 't', OPTION_INT, offsetof(struct stop_options, time_s), "SECONDS",
			"Seconds before SIGKILL (10)", NULL },
	};
	return stop_or_kill(cli, argc, argv, rows, ARRAY_LEN(rows), stop_one, NULL, err);
}

int cmd_kill(struct cli *cli, int argc, char **argv, struct err *err)
{
	static const struct option_row rows[] = {
		{ "signal", 's', OPTION_STRING, offsetof(struct stop_options, signal), "SIGNAL",
			"Signal to send (KILL)", NULL },
	};
	return stop_or_kill(cli, argc, argv, rows, ARRAY_LEN(rows), kill_one, "KILL", err);
}

/* ---- wait, rm, attach ---- */

static int wait_one(struct engine *engine, const char *name, void *context, struct err *err)
{
	(void)context;
	int status;
	int r = engine_wait(engine, name, &status, err);
	if (r == 0)
		(void)printf("%d\n", status);
	return r;
}

int cmd_wait(struct cli *cli, int argc, char **argv, struct err *err)
{
	int first;
	bool help;
	int r = option_parse(cli, argc, argv, NULL, 0, NULL, &first, &help, err);
	if (r < 0 || help)
		return r;
	r = option_count(cli, argc - first, 1, -1, err);
	return r < 0 ? r : command_each(cli, argc - first, argv + first, wait_one, NULL, true, err);
}

struct remove_options {
	bool force, volumes;
};

static int remove_one(struct engine *engine, const char *name, void *context, struct err *err)
{
	const struct remove_options *options = context;
	int r = engine_remove(engine, name, options->force, err);
	/* docker rm -f is content with what is gone already. */
	return r < 0 && options->force && err->kind == ERR_NOT_FOUND ? 0 : r;
}

int cmd_rm(struct cli *cli, int argc, char **argv, struct err *err)
{
	static const struct option_row rows[] = {
		{ "force", 'f', OPTION_FLAG, offsetof(struct remove_options, force), NULL,
			"Kill it first where it runs", NULL },
		{ "volumes", 'v', OPTION_FLAG, offsetof(struct remove_options, volumes), NULL,
			"Remove its anonymous volumes too (there are none)", NULL },
	};
	struct remove_options options = { 0 };
	int first;
	bool help;
	int r = option_parse(cli, argc, argv, rows, ARRAY_LEN(rows), &options, &first, &help, err);
	if (r < 0 || help)
		return r;
	r = option_count(cli, argc - first, 1, -1, err);
	return r < 0 ? r
		     : command_each(cli, argc - first, argv + first, remove_one, &options, false,
			       err);
}

struct attach_options {
	bool no_stdin, no_sig_proxy;
	char *detach_keys;
};

int cmd_attach(struct cli *cli, int argc, char **argv, struct err *err)
{
	static const struct option_row rows[] = {
		{ "detach-keys", 0, OPTION_STRING, offsetof(struct attach_options, detach_keys),
			"KEYS", "Keys that detach (ctrl-p,ctrl-q)", NULL },
		{ "no-sig-proxy", 0, OPTION_FLAG, offsetof(struct attach_options, no_sig_proxy),
			NULL, "Do not pass signals on", NULL },
		{ "no-stdin", 0, OPTION_FLAG, offsetof(struct attach_options, no_stdin), NULL,
			"Do not attach standard input", NULL },
	};
	struct attach_options options = { 0 };
	int first, status = 0;
	bool help;
	int r = option_parse(cli, argc, argv, rows, ARRAY_LEN(rows), &options, &first, &help, err);
	AUTO_FREE char *keys = options.detach_keys;
	if (r < 0 || help)
		return r;
	struct engine *engine;
	r = option_count(cli, argc - first, 1, 1, err);
	if (r == 0)
		r = cli_engine(cli, &engine, err);
	if (r != 0)
		return r;
	const struct engine_stdio stdio = {
		.in = options.no_stdin ? -1 : STDIN_FILENO,
		.out = STDOUT_FILENO,
		.err = STDERR_FILENO,
		.sig_proxy = !options.no_sig_proxy,
		.detach_keys = keys,
	};
	r = engine_attach(engine, argv[first], &stdio, &status, err);
	return r < 0 ? r : status;
}
