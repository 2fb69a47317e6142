#include "cli/help.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/quote.h"

static void print_options(const struct option_row *rows, size_t len)
{
	if (len > 0)
		(void)printf("\nOptions:\n");
	for (size_t i = 0; i < len; i++) {
		AUTO_DONE(text) flag = { 0 };
		if (rows[i].letter != 0)
			text_printf(&flag, "  -%c, ", rows[i].letter);
		else
			text_puts(&flag, "      ");
		text_printf(&flag, "--%s %s", rows[i].name,
			rows[i].argument == NULL ? "" : rows[i].argument);
		(void)printf("%-32s %s\n", flag.data, rows[i].help);
	}
}

void help_print(const struct command *command, const struct option_row *rows, size_t len)
{
	if (command != NULL) {
		(void)printf("Usage:  moat %s %s\n\n%s\n", command->words, command->arguments,
			command->summary);
		print_options(rows, len);
		return;
	}
	(void)printf("Usage:  moat [OPTIONS] COMMAND\n\n"
		     "Runs every workload behind the wall its owner chooses.\n\nCommands:\n");
	size_t all;
	const struct command *commands = command_all(&all);
	for (size_t i = 0; i < all; i++)
		(void)printf("  %-15s %s\n", commands[i].words, commands[i].summary);
	print_options(rows, len);
	(void)printf("\n\"moat help COMMAND\" or \"moat COMMAND --help\" tells more.\n");
}

int cmd_help(struct cli *cli, int argc, char **argv, struct err *err)
{
	int first = argc;
	bool help = false;
	/* Without a command of its own it was "moat" alone. */
	int r = cli->command == NULL
			? 0
			: option_parse(cli, argc, argv, NULL, 0, NULL, &first, &help, err);
	if (r < 0 || help)
		return r;
	if (first == argc) {
		size_t len;
		const struct option_row *rows = cli_global_options(&len);
		help_print(NULL, rows, len);
		return 0;
	}
	AUTO_FREE char *words = argc - first > 1
					? text_format("%s %s", argv[first], argv[first + 1])
					: mem_strdup(argv[first]);
	size_t len;
	const struct command *commands = command_all(&len);
	for (size_t i = 0; i < len; i++) {
		if (strcmp(commands[i].words, words) != 0)
			continue;
		/* The command knows its options: it is asked as a user would. */
		AUTO_DONE(strv) asked = { 0 };
		strv_add(&asked, argv[argc - 1]);
		strv_add(&asked, "--help");
		cli->command = &commands[i];
		return commands[i].run(cli, (int)asked.len, asked.items, err);
	}
	AUTO_FREE char *quoted = quote_string(words);
	return err_set(err, ERR_INVALID, "\"%s\" is not a moat command: see \"moat help\"", quoted);
}

int cmd_completion(struct cli *cli, int argc, char **argv, struct err *err)
{
	int first;
	bool help;
	int r = option_parse(cli, argc, argv, NULL, 0, NULL, &first, &help, err);
	if (r < 0 || help)
		return r;
	r = option_count(cli, argc - first, 1, 1, err);
	if (r < 0)
		return r;
	if (strcmp(argv[first], "bash") != 0)
		return err_set(err, ERR_UNSUPPORTED, "no completion for \"%s\": use bash",
			argv[first]);
	size_t len;
	const struct command *commands = command_all(&len);
	(void)printf("_moat() {\n\tlocal words='");
	for (size_t i = 0; i < len; i++)
		(void)printf("%s%.*s", i > 0 ? " " : "", (int)strcspn(commands[i].words, " "),
			commands[i].words);
	(void)printf(
		"'\n\tlocal word=${COMP_WORDS[COMP_CWORD]}\n"
		"\tif [ \"$COMP_CWORD\" -eq 1 ]; then\n"
		"\t\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\" | sort -u)\n"
		"\telif [[ $word == -* ]]; then\n"
		"\t\tmapfile -t COMPREPLY < <(compgen -W \"$(moat \"${COMP_WORDS[1]}\" --help "
		"2>/dev/null | grep -oE -- '--[a-z-]+')\" -- \"$word\")\n"
		"\telse\n"
		"\t\tmapfile -t COMPREPLY < <(compgen -W \"$(moat ps -aq 2>/dev/null; moat ps -a "
		"--format '{{.Names}}' 2>/dev/null; moat images --format "
		"'{{.Repository}}:{{.Tag}}' 2>/dev/null)\" -- \"$word\")\n"
		"\tfi\n}\ncomplete -F _moat moat\n");
	return 0;
}
