/* cmd_info - info, version. */
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/mem.h"
#include "base/quote.h"
#include "cli/command.h"

static int print_by_format(json *object, const char *format, struct err *err)
{
	if (strcmp(format, "json") == 0) {
		AUTO_FREE char *text = json_text(object, false);
		(void)printf("%s\n", text);
		return 0;
	}
	AUTO(template) template = NULL;
	AUTO_DONE(text) out = { 0 };
	int r = template_parse(format, &template, err);
	if (r == 0)
		r = template_run(template, object, &out, err);
	if (r == 0)
		(void)printf("%s\n", text_string(&out));
	return r;
}

static int parse_format(struct cli *cli, int argc, char **argv, char **format, bool *ret_help,
	struct err *err)
{
	static const struct option_row rows[] = { { "format", 'f', OPTION_STRING, 0, "TEMPLATE",
		"Go template or json", NULL } };
	int first;
	int r = option_parse(cli, argc, argv, rows, 1, format, &first, ret_help, err);
	return r < 0 || *ret_help ? r : option_count(cli, argc - first, 0, 0, err);
}

int cmd_version(struct cli *cli, int argc, char **argv, struct err *err)
{
	AUTO_FREE char *format = NULL;
	bool help = false;
	int r = cli->command == NULL ? 0 : parse_format(cli, argc, argv, &format, &help, err);
	if (r < 0 || help)
		return r;
	struct utsname host = { 0 };
	(void)uname(&host);
	AUTO_JSON version = json_new_object();
	json_set_string(version, "Version", MOAT_VERSION);
	json_set_string(version, "Os", "linux");
	json_set_string(version, "Arch", host.machine);
	json_set_string(version, "KernelVersion", host.release);
	if (format != NULL)
		return print_by_format(version, format, err);
	(void)printf("moat version %s (linux/%s, kernel %s)\n", MOAT_VERSION, host.machine,
		host.release);
	return 0;
}

/* Nested values go in by two spaces; text is quoted. */
static void print_value(const char *key, json *value, int depth)
{
	switch (json_object_get_type(value)) {
	case json_type_array:
		(void)printf("%*s%s:\n", depth, "", key);
		for (size_t i = 0; i < json_array_len(value); i++) {
			json *item = json_object_array_get_idx(value, i);
			if (json_object_is_type(item, json_type_object)) {
				json_object_object_foreach (item, name, part)
					print_value(name, part, depth + 2);
			} else {
				AUTO_FREE char *quoted = quote_string(json_object_get_string(item));
				(void)printf("%*s%s\n", depth + 2, "", quoted);
			}
		}
		break;
	case json_type_string:
		if (json_object_get_string_len(value) == 0)
			break;
		__attribute__((fallthrough));
	case json_type_null:
	case json_type_boolean:
	case json_type_double:
	case json_type_int:
	case json_type_object: {
		AUTO_FREE char *quoted =
			quote_string(value == NULL ? "none" : json_object_get_string(value));
		(void)printf("%*s%s: %s\n", depth, "", key, quoted);
		break;
	}
	}
}

int cmd_info(struct cli *cli, int argc, char **argv, struct err *err)
{
	AUTO_FREE char *format = NULL;
	bool help;
	struct engine *engine;
	int r = parse_format(cli, argc, argv, &format, &help, err);
	if (r < 0 || help)
		return r;
	r = cli_engine(cli, &engine, err);
	if (r < 0)
		return r;
	AUTO_JSON info = engine_info(engine);
	if (format != NULL)
		return print_by_format(info, format, err);
	json_object_object_foreach (info, key, value)
		print_value(key, value, 0);
	return 0;
}
