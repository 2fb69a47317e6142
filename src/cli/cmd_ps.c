/* cmd_ps - `moat ps`. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "cli/command.h"

#define COMMAND_WIDTH 20

struct ps_options {
	bool all, quiet, no_trunc, latest;
	struct strv filters;
	char *format;
	int64_t last;
};

static void ps_options_done(struct ps_options *options)
{
	strv_done(&options->filters);
	free(options->format);
}

#define AT(field) offsetof(struct ps_options, field)
static const struct option_row rows[] = {
	{ "all", 'a', OPTION_FLAG, AT(all), NULL, "Also those that do not run", NULL },
	{ "filter", 'f', OPTION_LIST, AT(filters), "KEY=VALUE",
		"id, name, label, status, ancestor, exited, network or isolation", NULL },
	{ "format", 0, OPTION_STRING, AT(format), "TEMPLATE", "Go template, table or json", NULL },
	{ "last", 'n', OPTION_INT, AT(last), "NUMBER", "The newest ones only", NULL },
	{ "latest", 'l', OPTION_FLAG, AT(latest), NULL, "The newest one only", NULL },
	{ "no-trunc", 0, OPTION_FLAG, AT(no_trunc), NULL, "Do not shorten", NULL },
	{ "quiet", 'q', OPTION_FLAG, AT(quiet), NULL, "Ids only", NULL },
};
#undef AT

/* ---- filters: values of one key are alternatives, keys must all match (labels: each) ---- */

static bool match_id(const struct workload *workload, const char *value)
{
	return strncmp(workload->id, value, strlen(value)) == 0;
}

static bool match_name(const struct workload *workload, const char *value)
{
	const char *anchored = value[0] == '^' ? value + 1 : value;
	anchored += anchored[0] == '/';
	size_t len = strlen(anchored);
	if (value[0] == '^' && len > 0 && anchored[len - 1] == '$')
		return strlen(workload->name) == len - 1 &&
		       strncmp(workload->name, anchored, len - 1) == 0;
	if (value[0] == '^')
		return strncmp(workload->name, anchored, len) == 0;
	return strstr(workload->name, anchored) != NULL;
}

static bool match_label(const struct workload *workload, const char *value)
{
	if (strchr(value, '=') != NULL)
		return strv_has(&workload->spec.labels, value);
	return strv_env(&workload->spec.labels, value) != NULL;
}

static bool match_status(const struct workload *workload, const char *value)
{
	return strcmp(workload_phase_name(workload->phase), value) == 0;
}

static bool match_ancestor(const struct workload *workload, const char *value)
{
	size_t len = strlen(value);
	if (strncmp(workload->image, value, len) == 0 &&
		(workload->image[len] == 0 || workload->image[len] == ':'))
		return true;
	const char *hex = strncmp(value, "sha256:", 7) == 0 ? value + 7 : value;
	return strlen(hex) >= 12 && strncmp(workload->image_id.hex, hex, strlen(hex)) == 0;
}

static bool match_exited(const struct workload *workload, const char *value)
{
	int64_t status;
	return workload->phase == WORKLOAD_EXITED &&
	       num_parse(view_of(value), 0, 255, &status) == 0 && status == workload->exit_status;
}

static bool match_network(const struct workload *workload, const char *value)
{
	return strcmp(workload_network_name(workload->spec.network), value) == 0;
}

static bool match_isolation(const struct workload *workload, const char *value)
{
	return strcmp(workload->spec.isolation, value) == 0;
}

static const struct filter {
	const char *key;
	bool (*matches)(const struct workload *workload, const char *value);
	bool must_all_match;
} filters[] = {
	{ "ancestor", match_ancestor, false },
	{ "exited", match_exited, false },
	{ "id", match_id, false },
	{ "isolation", match_isolation, false },
	{ "label", match_label, true },
	{ "name", match_name, false },
	{ "network", match_network, false },
	{ "status", match_status, false },
};

static const char *filter_value(const char *text, const struct filter *filter)
{
	size_t len = strlen(filter->key);
	return strncmp(text, filter->key, len) == 0 && text[len] == '=' ? text + len + 1 : NULL;
}

static int check_filters(const struct strv *list, bool *ret_needs_all, struct err *err)
{
	for (size_t i = 0; i < list->len; i++) {
		bool is_known = false;
		for (size_t k = 0; k < ARRAY_LEN(filters); k++)
			is_known |= filter_value(list->items[i], &filters[k]) != NULL;
		if (!is_known)
			return err_set(err, ERR_INVALID, "invalid filter \"%s\": write KEY=VALUE",
				list->items[i]);
		*ret_needs_all |= strncmp(list->items[i], "status=", 7) == 0 ||
				  strncmp(list->items[i], "exited=", 7) == 0;
	}
	return 0;
}

static bool passes(const struct strv *list, const struct workload *workload)
{
	for (size_t k = 0; k < ARRAY_LEN(filters); k++) {
		size_t asked = 0, matched = 0;
		for (size_t i = 0; i < list->len; i++) {
			const char *value = filter_value(list->items[i], &filters[k]);
			if (value == NULL)
				continue;
			asked++;
			matched += filters[k].matches(workload, value);
		}
		if (asked > 0 && matched < (filters[k].must_all_match ? asked : 1))
			return false;
	}
	return true;
}

/* ---- rows ---- */

static char *status_text(const struct workload *workload)
{
	char duration[CLOCK_HUMAN_MAX];
	int64_t now_ns = clock_wall_ns();
	switch (workload->phase) {
	case WORKLOAD_RUNNING:
		return text_format("Up %s",
			clock_human_duration(now_ns - workload->started_ns, duration));
	case WORKLOAD_EXITED:
		if (workload->exit_status == WORKLOAD_EXIT_UNKNOWN)
			return mem_strdup("Exited (unknown)");
		return text_format("Exited (%d) %s ago", workload->exit_status,
			clock_human_duration(now_ns - workload->finished_ns, duration));
	case WORKLOAD_CREATED: break;
	}
	return mem_strdup("Created");
}

static char *command_text(const struct workload *workload, bool no_trunc)
{
	AUTO_DONE(text) command = { 0 };
	for (size_t i = 0; i < workload->spec.args.len; i++)
		text_printf(&command, "%s%s", i > 0 ? " " : "", workload->spec.args.items[i]);
	if (no_trunc || command.len <= COMMAND_WIDTH)
		return text_format("\"%s\"", text_string(&command));
	return text_format("\"%.*s…\"", COMMAND_WIDTH - 1, text_string(&command));
}

struct ps {
	const struct ps_options *options;
	json *rows;
	size_t limit;
};

static char *join_labels(const struct strv *labels)
{
	AUTO_DONE(text) joined = { 0 };
	for (size_t i = 0; i < labels->len; i++)
		text_printf(&joined, "%s%s", i > 0 ? "," : "", labels->items[i]);
	return text_take(&joined);
}

static int add_row(void *context, const struct workload *workload, struct err *err)
{
	(void)err;
	struct ps *ps = context;
	const struct ps_options *options = ps->options;
	if ((!options->all && workload->phase != WORKLOAD_RUNNING) ||
		!passes(&options->filters, workload) || json_array_len(ps->rows) == ps->limit)
		return 0;
	char duration[CLOCK_HUMAN_MAX], created[CLOCK_RFC3339_MAX];
	AUTO_FREE char *status = status_text(workload);
	AUTO_FREE char *command = command_text(workload, options->no_trunc);
	AUTO_FREE char *labels = join_labels(&workload->spec.labels);
	AUTO_FREE char *ago = text_format("%s ago",
		clock_human_duration(clock_wall_ns() - workload->created_ns, duration));
	AUTO_FREE char *id = text_format("%.*s", options->no_trunc ? 64 : 12, workload->id);
	json *row = json_new_object();
	json_set_string(row, "ID", id);
	json_set_string(row, "Image", workload->image);
	json_set_string(row, "Command", command);
	json_set_string(row, "CreatedAt", clock_rfc3339(workload->created_ns, created));
	json_set_string(row, "RunningFor", ago);
	json_set_string(row, "Status", status);
	json_set_string(row, "State", workload_phase_name(workload->phase));
	json_set_string(row, "Ports", "");
	json_set_string(row, "Names", workload->name);
	json_set_string(row, "Isolation", workload->spec.isolation);
	json_set_string(row, "Labels", labels);
	json_set_string(row, "Networks", workload_network_name(workload->spec.network));
	json_push(ps->rows, row);
	return 0;
}

int cmd_ps(struct cli *cli, int argc, char **argv, struct err *err)
{
	static const char *const headers[] = { "CONTAINER ID", "IMAGE", "COMMAND", "CREATED",
		"STATUS", "PORTS", "NAMES", NULL };
	static const char *const keys[] = { "ID", "Image", "Command", "RunningFor", "Status",
		"Ports", "Names", NULL };
	static const char *const more_keys[] = { "CreatedAt", "Isolation", "Labels", "Networks",
		"State", NULL };
	AUTO_DONE(ps_options) options = { .last = -1 };
	int first;
	bool help;
	int r = option_parse(cli, argc, argv, rows, ARRAY_LEN(rows), &options, &first, &help, err);
	if (r < 0 || help)
		return r;
	struct engine *engine;
	r = option_count(cli, argc - first, 0, 0, err);
	bool all = options.all || options.latest || options.last >= 0;
	if (r == 0)
		r = check_filters(&options.filters, &all, err);
	options.all = all;
	if (r == 0)
		r = cli_engine(cli, &engine, err);
	if (r == 0)
		r = engine_repair(engine, err);
	if (r != 0)
		return r;
	AUTO_JSON list = json_new_array();
	struct ps ps = { .options = &options, .rows = list, .limit = SIZE_MAX };
	if (options.latest)
		ps.limit = 1;
	else if (options.last >= 0)
		ps.limit = (size_t)options.last;
	r = engine_each(engine, add_row, &ps, err);
	const struct listing listing = { .headers = headers,
		.keys = keys,
		.more_keys = more_keys,
		.format = options.format,
		.quiet = options.quiet };
	return r < 0 ? r : listing_print(&listing, list, err);
}
