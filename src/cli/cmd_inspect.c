/* cmd_inspect - inspect, image inspect. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/quote.h"
#include "cli/command.h"

struct inspect_options {
	char *format, *type;
	bool size;
};

typedef int find_fn(struct engine *engine, const char *name, json **ret_document, struct err *err);

static int find_workload(struct engine *engine, const char *name, json **ret_document,
	struct err *err)
{
	AUTO_DONE(workload) workload = { 0 };
	int r = engine_find(engine, name, &workload, err);
	if (r == 0)
		*ret_document = engine_inspect(&workload);
	return r;
}

/* docker inspect looks for a container first, then for an image. */
static int find_any(struct engine *engine, const char *name, json **ret_document, struct err *err)
{
	int r = find_workload(engine, name, ret_document, err);
	if (r < 0 && engine_image_inspect(engine, name, ret_document, NULL) == 0)
		return 0;
	if (r < 0 && err->kind == ERR_NOT_FOUND)
		return err_set(err, ERR_NOT_FOUND, "no such object: %s", name);
	return r;
}

static const struct {
	const char *type;
	find_fn *find;
} types[] = { { "", find_any }, { "container", find_workload }, { "image", engine_image_inspect } };

static int print(json *list, const char *format, struct err *err)
{
	if (format == NULL || strcmp(format, "json") == 0) {
		AUTO_FREE char *text = json_text(list, format == NULL);
		(void)printf("%s\n", text);
		return 0;
	}
	AUTO(template) template = NULL;
	AUTO_DONE(text) out = { 0 };
	int r = template_parse(format, &template, err);
	for (size_t i = 0; r == 0 && i < json_array_len(list); i++) {
		r = template_run(template, json_object_array_get_idx(list, i), &out, err);
		text_puts(&out, "\n");
	}
	if (r == 0)
		(void)fwrite(text_string(&out), 1, out.len, stdout);
	return r;
}

/* What is found is printed even where something else is not, as docker does. */
static int inspect(struct cli *cli, int count, char **names, find_fn *find, const char *format,
	struct err *err)
{
	struct engine *engine;
	int r = cli_engine(cli, &engine, err);
	if (r < 0)
		return r;
	AUTO_JSON list = json_new_array();
	int status = 0;
	for (int i = 0; i < count; i++) {
		json *document = NULL;
		struct err one = { 0 };
		if (find(engine, names[i], &document, &one) < 0) {
			(void)cli_report(&one);
			status = 1;
		} else {
			json_push(list, document);
		}
	}
	r = print(list, format, err);
	return r < 0 ? r : status;
}

static int inspect_command(struct cli *cli, int argc, char **argv, const char *fixed_type,
	struct err *err)
{
	static const struct option_row rows[] = {
		{ "format", 'f', OPTION_STRING, offsetof(struct inspect_options, format),
			"TEMPLATE", "Go template or json", NULL },
		{ "type", 0, OPTION_STRING, offsetof(struct inspect_options, type), "TYPE",
			"container or image", NULL },
	};
	struct inspect_options options = { 0 };
	int first;
	bool help;
	int r = option_parse(cli, argc, argv, rows, fixed_type == NULL ? 2 : 1, &options, &first,
		&help, err);
	AUTO_FREE char *format = options.format;
	AUTO_FREE char *type = options.type;
	if (r < 0 || help)
		return r;
	r = option_count(cli, argc - first, 1, -1, err);
	if (r < 0)
		return r;
	const char *wanted = fixed_type != NULL ? fixed_type : type == NULL ? "" : type;
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		if (strcmp(types[i].type, wanted) == 0)
			return inspect(cli, argc - first, argv + first, types[i].find, format, err);
	}
	return err_set(err, ERR_INVALID, "\"%s\" is no type: use container or image", wanted);
}

int cmd_inspect(struct cli *cli, int argc, char **argv, struct err *err)
{
	return inspect_command(cli, argc, argv, NULL, err);
}

int cmd_image_inspect(struct cli *cli, int argc, char **argv, struct err *err)
{
	return inspect_command(cli, argc, argv, "image", err);
}
