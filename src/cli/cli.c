/* cli - from argv to a row of commands.def. */
#include "cli/cli.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/quote.h"
#include "cli/command.h"

static const struct command commands[] = {
#define COMMAND(words, function, arguments, summary) { words, function, arguments, summary },
#include "cli/commands.def"
#undef COMMAND
};

const struct command *command_all(size_t *ret_len)
{
	*ret_len = ARRAY_LEN(commands);
	return commands;
}

/* The row whose words argv starts with; two words before one. */
static const struct command *find(int argc, char **argv, int *ret_words)
{
	for (int words = 2; words >= 1; words--) {
		if (argc < words)
			continue;
		AUTO_FREE char *name =
			words == 2 ? text_format("%s %s", argv[0], argv[1]) : mem_strdup(argv[0]);
		for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
			if (strcmp(commands[i].words, name) == 0) {
				*ret_words = words;
				return &commands[i];
			}
		}
	}
	return NULL;
}

int cli_report(const struct err *err)
{
	AUTO_FREE char *quoted = quote_string(err->message);
	(void)fflush(stdout);
	(void)fprintf(stderr, "moat: %s\n", quoted);
	return err_exit_status(err->kind);
}

int cli_engine(struct cli *cli, struct engine **ret_engine, struct err *err)
{
	if (cli->engine == NULL) {
		if (geteuid() != 0)
			return err_set(err, ERR_DENIED,
				"moat needs root for its store \"%s\": run it with sudo",
				cli->root);
		int r = engine_open(cli->root, cli->run, cli->config, &cli->engine, err);
		if (r < 0)
			return r;
	}
	*ret_engine = cli->engine;
	return 0;
}

struct global_options {
	char *config, *root, *run;
	bool trace, debug, version;
};

#define AT(field) offsetof(struct global_options, field)
static const struct option_row global_rows[] = {
	{ "config", 0, OPTION_STRING, AT(config), "FILE",
		"What the owner of this host has decided (MOAT_CONFIG)", NULL },
	{ "debug", 'D', OPTION_FLAG, AT(debug), NULL, "Say what is done", NULL },
	{ "root", 0, OPTION_STRING, AT(root), "DIR",
		"Where images and workloads are kept (MOAT_ROOT)", NULL },
	{ "run", 0, OPTION_STRING, AT(run), "DIR", "Where running workloads are kept (MOAT_RUN)",
		NULL },
	{ "trace", 0, OPTION_FLAG, AT(trace), NULL, "Print each step with its time", NULL },
	{ "version", 'v', OPTION_FLAG, AT(version), NULL, "Print the version", NULL },
};
#undef AT

const struct option_row *cli_global_options(size_t *ret_len)
{
	*ret_len = ARRAY_LEN(global_rows);
	return global_rows;
}

/* The flag, else the environment, else the default; made absolute, since the monitor and repair use
 * it from elsewhere. */
static char *global_path(char *take_flag, const char *variable, const char *fallback)
{
	AUTO_FREE char *flag = take_flag;
	const char *path = flag;
	if (path == NULL || path[0] == 0)
		path = getenv(variable);
	if (path == NULL || path[0] == 0)
		path = fallback;
	if (path[0] == '/')
		return mem_strdup(path);
	AUTO_FREE char *here = getcwd(NULL, 0);
	return here == NULL ? mem_strdup(path) : text_format("%s/%s", here, path);
}

static int run_command(struct cli *cli, int argc, char **argv, struct err *err)
{
	if (argc == 0)
		return cmd_help(cli, 1, (char *[]){ (char[]){ "help" }, NULL }, err);
	int words;
	cli->command = find(argc, argv, &words);
	if (cli->command == NULL) {
		AUTO_FREE char *quoted = quote_string(argv[0]);
		return err_set(err, ERR_INVALID, "\"%s\" is not a moat command: see \"moat help\"",
			quoted);
	}
	return cli->command->run(cli, argc - words + 1, argv + words - 1, err);
}

int cli_main(int argc, char **argv)
{
	struct err err = { 0 };
	struct global_options global = { 0 };
	struct cli cli = { 0 };
	int first = 1;
	bool help = false;
	int r = option_parse(&cli, argc, argv, global_rows, ARRAY_LEN(global_rows), &global, &first,
		&help, &err);
	cli.config = global_path(global.config, "MOAT_CONFIG", ENGINE_CONFIG_DEFAULT);
	cli.root = global_path(global.root, "MOAT_ROOT", ENGINE_ROOT_DEFAULT);
	cli.run = global_path(global.run, "MOAT_RUN", ENGINE_RUN_DEFAULT);
	if (global.debug)
		log_set_level(LOG_DEBUG);
	log_set_trace(global.trace);
	if (r == 0 && global.version)
		r = cmd_version(&cli, 1, argv, &err);
	else if (r == 0 && !help)
		r = run_command(&cli, argc - first, argv + first, &err);
	if (r < 0)
		r = cli_report(&err);
	if (fflush(stdout) != 0 && r == 0)
		r = 125;
	engine_free(cli.engine);
	free(cli.config);
	free(cli.root);
	free(cli.run);
	return r;
}
