/* cmd_kernel - kernel import, ls, rm, use. */
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "cli/command.h"

/* Without options: the engine and the arguments' index. */
static int begin(struct cli *cli, int argc, char **argv, int min, int max, int *ret_first,
	bool *ret_help, struct engine **ret_engine, struct err *err)
{
	int r = option_parse(cli, argc, argv, NULL, 0, NULL, ret_first, ret_help, err);
	if (r < 0 || *ret_help)
		return r;
	r = option_count(cli, argc - *ret_first, min, max, err);
	return r < 0 ? r : cli_engine(cli, ret_engine, err);
}

int cmd_kernel_import(struct cli *cli, int argc, char **argv, struct err *err)
{
	int first;
	bool help;
	struct engine *engine;
	AUTO_FREE char *name = NULL;
	int r = begin(cli, argc, argv, 1, 2, &first, &help, &engine, err);
	if (r < 0 || help)
		return r;
	const char *modules = argc - first > 1 ? argv[first + 1] : NULL;
	r = engine_kernel_import(engine, argv[first], modules, &name, err);
	if (r == 0)
		(void)printf("%s\n", name);
	return r;
}

int cmd_kernel_use(struct cli *cli, int argc, char **argv, struct err *err)
{
	int first;
	bool help;
	struct engine *engine;
	int r = begin(cli, argc, argv, 1, 1, &first, &help, &engine, err);
	if (r < 0 || help)
		return r;
	r = engine_kernel_use(engine, argv[first], err);
	if (r == 0)
		(void)printf("%s\n", argv[first]);
	return r;
}

static int remove_kernel(struct engine *engine, const char *name, void *context, struct err *err)
{
	(void)context;
	return engine_kernel_remove(engine, name, err);
}

int cmd_kernel_rm(struct cli *cli, int argc, char **argv, struct err *err)
{
	int first;
	bool help;
	int r = option_parse(cli, argc, argv, NULL, 0, NULL, &first, &help, err);
	if (r < 0 || help)
		return r;
	r = option_count(cli, argc - first, 1, -1, err);
	return r < 0 ? r
		     : command_each(cli, argc - first, argv + first, remove_kernel, NULL, false,
			       err);
}

/* ---- ls ---- */

struct ls_options {
	bool quiet;
	char *format;
};

static int add_kernel(void *context, const struct engine_kernel *kernel, struct err *err)
{
	(void)err;
	char size[NUM_SIZE_TEXT_MAX], duration[CLOCK_HUMAN_MAX], imported[CLOCK_RFC3339_MAX];
	AUTO_FREE char *ago = text_format("%s ago",
		clock_human_duration(clock_wall_ns() - kernel->imported_ns, duration));
	AUTO_FREE char *modules = text_format("%zu", kernel->modules);
	json *row = json_new_object();
	json_set_string(row, "Name", kernel->name);
	json_set_string(row, "Default", kernel->is_default ? "*" : "");
	json_set_string(row, "Kind", kernel->kind);
	json_set_string(row, "Modules", modules);
	json_set_string(row, "ImportedSince", ago);
	json_set_string(row, "ImportedAt", clock_rfc3339(kernel->imported_ns, imported));
	json_set_string(row, "Size", num_size_decimal(kernel->size_bytes, size));
	json_push(context, row);
	return 0;
}

int cmd_kernel_ls(struct cli *cli, int argc, char **argv, struct err *err)
{
	static const struct option_row rows[] = {
		{ "format", 0, OPTION_STRING, offsetof(struct ls_options, format), "TEMPLATE",
			"Go template, json or table", NULL },
		{ "quiet", 'q', OPTION_FLAG, offsetof(struct ls_options, quiet), NULL,
			"Only the names", NULL },
	};
	static const char *const headers[] = { "NAME", "DEFAULT", "KIND", "MODULES", "IMPORTED",
		"SIZE", NULL };
	static const char *const keys[] = { "Name", "Default", "Kind", "Modules", "ImportedSince",
		"Size", NULL };
	struct ls_options options = { 0 };
	int first;
	bool help;
	struct engine *engine;
	int r = option_parse(cli, argc, argv, rows, ARRAY_LEN(rows), &options, &first, &help, err);
	AUTO_FREE char *format = options.format;
	if (r < 0 || help)
		return r;
	AUTO_JSON kernels = json_new_array();
	r = option_count(cli, argc - first, 0, 0, err);
	if (r == 0)
		r = cli_engine(cli, &engine, err);
	if (r == 0)
		r = engine_kernels_each(engine, add_kernel, kernels, err);
	const struct listing listing = { .headers = headers,
		.keys = keys,
		.format = format,
		.quiet = options.quiet };
	return r < 0 ? r : listing_print(&listing, kernels, err);
}
