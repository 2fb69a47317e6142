/* command - what one command is made of: a row of commands.def, a table of options, a function. */
#pragma once

#include <stddef.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/text.h"
#include "engine/engine.h"

struct cli {
	char *root, *run, *config; /* owned; absolute */
	const struct command *command;
	struct engine *engine; /* owned; opened by cli_engine() */
};

struct command {
	const char *words;
	/* argv[0] is the command's last word.  Returns the exit status, or a negative errno with
	 * err told. */
	int (*run)(struct cli *cli, int argc, char **argv, struct err *err);
	const char *arguments;
	const char *summary;
};
const struct command *command_all(size_t *ret_len);

#define COMMAND(words, function, arguments, summary) \
	int function(struct cli *cli, int argc, char **argv, struct err *err);
#include "cli/commands.def"
#undef COMMAND

MUST_CHECK int cli_engine(struct cli *cli, struct engine **ret_engine, struct err *err);

/* ---- options ---- */

enum option_type {
	OPTION_FLAG,   /* bool */
	OPTION_STRING, /* char *, owned */
	OPTION_LIST,   /* struct strv */
	OPTION_SIZE,   /* uint64_t: "512m" */
	OPTION_INT,    /* int64_t */
	OPTION_CUSTOM  /* fn */
};
struct option_row {
	const char *name; /* "env" for --env */
	char letter;      /* 'e', or 0 */
	enum option_type type;
	size_t offset;        /* of the member in the command's own struct */
	const char *argument; /* "KEY=VALUE" for the help; NULL for flags */
	const char *help;
	int (*fn)(void *target, const char *value, struct err *err);
};

/* Reads options into target; *ret_first is the index of the first argument that is none.  Options
 * may stand behind arguments, which argv then has last; but of a command that takes another one
 * they end at the first argument (docker run IMAGE -x gives -x to it).  --help prints the command's
 * help and returns 1 in *ret_help. */
MUST_CHECK int option_parse(struct cli *cli, int argc, char **argv, const struct option_row *rows,
	size_t len, void *target, int *ret_first, bool *ret_help, struct err *err);

/* moat's own options, before the command. */
const struct option_row *cli_global_options(size_t *ret_len);

/* ERR_INVALID with docker's words unless min <= count <= max (max -1: no bound). */
MUST_CHECK int option_count(const struct cli *cli, int count, int min, int max, struct err *err);

/* The options that make a workload (run, create). */
struct run_options {
	struct workload_spec spec;
	char *entrypoint, *network, *cpus;
	struct strv volumes, mounts, tmpfs, env_files, env, labels;
	char *detach_keys;
	bool no_sig_proxy, vm;
};
void run_options_done(struct run_options *options);
/* Options and arguments of `run` and `create` into options->spec. */
MUST_CHECK int run_options_parse(struct cli *cli, int argc, char **argv,
	struct run_options *options, bool *ret_help, struct err *err);

/* For every name: calls fn and prints the name; an error is printed and the rest go on.  Returns
 * the exit status 0 or 1. */
typedef int name_fn(struct engine *engine, const char *name, void *context, struct err *err);
int command_each(struct cli *cli, int count, char **names, name_fn *fn, void *context, bool quiet,
	struct err *err);

/* ---- output ---- */

/* Prints an error as "moat: message" on stderr, quoted; returns the exit status of its kind. */
int cli_report(const struct err *err);

/* Columns, as docker's tables: rows, the header first, columns at least ten wide, at least three
 * spaces between. */
struct table;
struct table *table_new(size_t columns);
void table_free(struct table *table);
DEFINE_AUTO(table)
void table_add(struct table *table, const char *cell); /* left to right, row by row; quoted */
void table_print(const struct table *table);

/* Go templates as far as docker's users need them: {{.A.B}}, {{json .A}}, {{index .A "k"}},
 * {{range .A}}..{{end}}, {{if .A}}..{{else}}..{{end}}, {{len .A}}, {{join .A ","}}, {{upper .A}},
 * {{lower .A}}, {{println .A}}; "table " in front gives columns.  A row ends in a newline. */
struct template;
MUST_CHECK int template_parse(const char *text, struct template **ret_template, struct err *err);
void template_free(struct template *template);
DEFINE_AUTO(template)
MUST_CHECK int template_run(const struct template *template, json *value, struct text *out,
	struct err *err);
/* "table ..." and what the header line shows for it. */
bool template_is_table(const struct template *template);

/* Prints rows (objects) by the user's --format, or as the table of headers/keys; with quiet only
 * the first key. */
struct listing {
	const char *const *headers; /* NULL-terminated; as many as keys */
	const char *const *keys;
	const char *const *more_keys; /* NULL-terminated or NULL: for --format only */
	const char *format;           /* NULL: table; "json": one object a line */
	bool quiet;
};
MUST_CHECK int listing_print(const struct listing *listing, json *rows, struct err *err);
