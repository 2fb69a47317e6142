/* cmd_exec - `moat exec`. */
#include <unistd.h>

#include "base/mem.h"
#include "cli/command.h"

#define AT(field) offsetof(struct engine_exec, field)
static const struct option_row rows[] = {
	{ "detach", 'd', OPTION_FLAG, AT(detach), NULL, "Leave it running in the background",
		NULL },
	{ "env", 'e', OPTION_LIST, AT(env), "KEY=VALUE", "Environment", NULL },
	{ "interactive", 'i', OPTION_FLAG, AT(interactive), NULL, "Keep standard input open",
		NULL },
	{ "tty", 't', OPTION_FLAG, AT(tty), NULL, "Give it a terminal", NULL },
	{ "user", 'u', OPTION_STRING, AT(user), "USER[:GROUP]", "User, by name or number", NULL },
	{ "workdir", 'w', OPTION_STRING, AT(workdir), "DIR", "Working directory inside", NULL },
};
#undef AT

int cmd_exec(struct cli *cli, int argc, char **argv, struct err *err)
{
	AUTO_DONE(engine_exec) exec = { 0 };
	int first, status = 0;
	bool help;
	int r = option_parse(cli, argc, argv, rows, ARRAY_LEN(rows), &exec, &first, &help, err);
	if (r < 0 || help)
		return r;
	r = option_count(cli, argc - first, 2, -1, err);
	if (r < 0)
		return r;
	if (exec.tty && exec.interactive && !exec.detach && !isatty(STDIN_FILENO))
		return err_set(err, ERR_INVALID,
			"the input device is not a terminal: leave out -t, or run it from a "
			"terminal");
	for (int i = first + 1; i < argc; i++)
		strv_add(&exec.args, argv[i]);
	const struct engine_stdio stdio = { .in = STDIN_FILENO,
		.out = STDOUT_FILENO,
		.err = STDERR_FILENO };
	struct engine *engine;
	r = cli_engine(cli, &engine, err);
	if (r == 0)
		r = engine_exec(engine, argv[first], &exec, &stdio, &status, err);
	return r < 0 ? r : status;
}
