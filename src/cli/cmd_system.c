/* cmd_system - system check, prune, reap. */
#include <stdio.h>

#include "cli/command.h"

static int simple(struct cli *cli, int argc, char **argv, int count,
	int (*fn)(struct engine *engine, const char *argument, struct err *err), struct err *err)
{
	int first;
	bool help;
	int r = option_parse(cli, argc, argv, NULL, 0, NULL, &first, &help, err);
	if (r < 0 || help)
		return r;
	struct engine *engine;
	r = option_count(cli, argc - first, count, count, err);
	if (r == 0)
		r = cli_engine(cli, &engine, err);
	return r != 0 ? r : fn(engine, argv[first], err);
}

static int check(struct engine *engine, const char *argument, struct err *err)
{
	(void)argument;
	return engine_repair(engine, err);
}

static int prune(struct engine *engine, const char *argument, struct err *err)
{
	(void)argument;
	return engine_prune(engine, err);
}

int cmd_system_check(struct cli *cli, int argc, char **argv, struct err *err)
{
	return simple(cli, argc, argv, 0, check, err);
}

int cmd_system_prune(struct cli *cli, int argc, char **argv, struct err *err)
{
	return simple(cli, argc, argv, 0, prune, err);
}

int cmd_system_reap(struct cli *cli, int argc, char **argv, struct err *err)
{
	return simple(cli, argc, argv, 1, engine_reap, err);
}
