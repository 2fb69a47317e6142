/* option - options by table, through getopt_long(3). */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/quote.h"
#include "cli/command.h"
#include "cli/help.h"

#define ROWS_MAX 64
#define HELP_VALUE 1

static int set_flag(bool *flag, const struct option_row *row, const char *value, struct err *err)
{
	/* Docker's flags take an optional value: --rm=false. */
	if (value == NULL || strcmp(value, "true") == 0 || strcmp(value, "1") == 0)
		*flag = true;
	else if (strcmp(value, "false") == 0 || strcmp(value, "0") == 0)
		*flag = false;
	else
		return err_set(err, ERR_INVALID,
			"invalid value \"%s\" for flag --%s: use true or false", value, row->name);
	return 0;
}

static int apply(const struct option_row *row, void *target, const char *value, struct err *err)
{
	void *field = (char *)target + row->offset;
	int r = 0;
	switch (row->type) {
	case OPTION_FLAG: return set_flag(field, row, value, err);
	case OPTION_STRING:
		free(*(char **)field);
		*(char **)field = mem_strdup(value);
		return 0;
	case OPTION_LIST: strv_add(field, value); return 0;
	case OPTION_SIZE: r = num_parse_size(view_of(value), field); break;
	case OPTION_INT: r = num_parse(view_of(value), INT64_MIN, INT64_MAX, field); break;
	case OPTION_CUSTOM: return row->fn(target, value, err);
	}
	if (r < 0)
		return err_set(err, ERR_INVALID, "invalid value \"%s\" for flag --%s: it wants %s",
			value, row->name, row->argument);
	return 0;
}

/* Where the arguments end with a command's own, its options are not ours. */
static bool ends_at_first_argument(const struct cli *cli)
{
	return cli->command == NULL || strstr(cli->command->arguments, "[ARG...]") != NULL;
}

/* getopt's own tables from ours. */
static void build(const struct cli *cli, const struct option_row *rows, size_t len,
	struct option *longs, char *shorts)
{
	size_t at = 0;
	if (ends_at_first_argument(cli))
		shorts[at++] = '+';
	shorts[at++] = ':'; /* a missing value is told apart from an unknown flag */
	for (size_t i = 0; i < len; i++) {
		bool is_flag = rows[i].type == OPTION_FLAG;
		longs[i] = (struct option){
			.name = rows[i].name,
			.has_arg = is_flag ? optional_argument : required_argument,
			.val = (int)(256 + i),
		};
		if (rows[i].letter == 0)
			continue;
		shorts[at++] = rows[i].letter;
		if (!is_flag)
			shorts[at++] = ':';
	}
	longs[len] = (struct option){ .name = "help", .val = HELP_VALUE };
	longs[len + 1] = (struct option){ 0 };
	shorts[at] = 0;
}

static const struct option_row *row_of(const struct option_row *rows, size_t len, int value)
{
	if (value >= 256)
		return &rows[value - 256];
	for (size_t i = 0; i < len; i++) {
		if (rows[i].letter == value)
			return &rows[i];
	}
	return NULL;
}

static int refuse(const struct cli *cli, int value, char **argv, struct err *err)
{
	const char *command = cli->command == NULL ? "" : cli->command->words;
	const char *space = command[0] == 0 ? "" : " ";
	const char *problem = value == ':' ? "flag needs an argument" : "unknown flag";
	AUTO_FREE char *quoted = quote_string(argv[optind > 1 ? optind - 1 : 1]);
	if (optopt > 0 && optopt < 256)
		return err_set(err, ERR_INVALID, "%s: -%c (see \"moat help%s%s\")", problem, optopt,
			space, command);
	return err_set(err, ERR_INVALID, "%s: %s (see \"moat help%s%s\")", problem, quoted, space,
		command);
}

int option_parse(struct cli *cli, int argc, char **argv, const struct option_row *rows, size_t len,
	void *target, int *ret_first, bool *ret_help, struct err *err)
{
	CHECK(len <= ROWS_MAX);
	struct option longs[ROWS_MAX + 2];
	char shorts[2 * ROWS_MAX + 3];
	build(cli, rows, len, longs, shorts);
	*ret_help = false;
	optind = 0; /* glibc: start over */
	opterr = 0;
	for (;;) {
		int value = getopt_long(argc, argv, shorts, longs, NULL);
		if (value == -1)
			break;
		if (value == HELP_VALUE) {
			help_print(cli->command, rows, len);
			*ret_help = true;
			break;
		}
		const struct option_row *row =
			value == '?' || value == ':' ? NULL : row_of(rows, len, value);
		if (row == NULL)
			return refuse(cli, value, argv, err);
		int r = apply(row, target, optarg, err);
		if (r < 0)
			return r;
	}
	*ret_first = optind;
	return 0;
}

int option_count(const struct cli *cli, int count, int min, int max, struct err *err)
{
	if (count >= min && (max < 0 || count <= max))
		return 0;
	return err_set(err, ERR_INVALID, "\"moat %s\" requires %s %d argument%s: moat %s %s",
		cli->command->words,
		min == max    ? "exactly"
		: count < min ? "at least"
			      : "at most",
		count < min ? min : max, (count < min ? min : max) == 1 ? "" : "s",
		cli->command->words, cli->command->arguments);
}
