/* cmd_run - `moat run` and `moat create`. */
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/command.h"

int cmd_create(struct cli *cli, int argc, char **argv, struct err *err)
{
	AUTO_DONE(run_options) options = { 0 };
	AUTO_FREE char *id = NULL;
	struct engine *engine;
	bool help;
	int r = run_options_parse(cli, argc, argv, &options, &help, err);
	if (r < 0 || help)
		return r;
	r = cli_engine(cli, &engine, err);
	if (r == 0)
		r = engine_create(engine, &options.spec, &id, err);
	if (r == 0)
		(void)printf("%s\n", id);
	return r;
}

int cmd_run(struct cli *cli, int argc, char **argv, struct err *err)
{
	AUTO_DONE(run_options) options = { 0 };
	AUTO_FREE char *id = NULL;
	struct engine *engine;
	bool help;
	int status = 0;
	int r = run_options_parse(cli, argc, argv, &options, &help, err);
	if (r < 0 || help)
		return r;
	bool detach = options.spec.detach;
	if (options.spec.tty && options.spec.interactive && !detach && !isatty(STDIN_FILENO))
		return err_set(err, ERR_INVALID,
			"the input device is not a terminal: leave out -t, or run it from a "
			"terminal");
	r = cli_engine(cli, &engine, err);
	if (r < 0)
		return r;
	const struct engine_stdio stdio = {
		.in = STDIN_FILENO,
		.out = STDOUT_FILENO,
		.err = STDERR_FILENO,
		.sig_proxy = !options.no_sig_proxy,
		.detach_keys = options.detach_keys,
	};
	r = engine_run(engine, &options.spec, &stdio, &id, &status, err);
	if (r < 0)
		return r;
	if (detach)
		(void)printf("%s\n", id);
	return status;
}
