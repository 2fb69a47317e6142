/* cmd_logs - `moat logs`. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "cli/command.h"

struct logs_options {
	bool follow, timestamps;
	char *since, *until, *tail; /* owned */
};

static void logs_options_done(struct logs_options *options)
{
	free(options->since);
	free(options->until);
	free(options->tail);
}

static int parse_time(const char *text, const char *flag, int64_t *ret_ns, struct err *err)
{
	*ret_ns = 0;
	if (text == NULL || clock_parse(view_of(text), clock_wall_ns(), ret_ns) == 0)
		return 0;
	return err_set(err, ERR_INVALID,
		"invalid value for \"%s\": \"%s\" is no time such as 2026-01-02T03:04:05Z or 10m",
		flag, text);
}

int cmd_logs(struct cli *cli, int argc, char **argv, struct err *err)
{
#define AT(field) offsetof(struct logs_options, field)
	static const struct option_row rows[] = {
		{ "follow", 'f', OPTION_FLAG, AT(follow), NULL,
			"Go on until the workload has ended", NULL },
		{ "since", 0, OPTION_STRING, AT(since), "TIME",
			"Not before this time (RFC 3339, or 10m)", NULL },
		{ "tail", 'n', OPTION_STRING, AT(tail), "NUMBER", "The last lines only, or all",
			NULL },
		{ "timestamps", 't', OPTION_FLAG, AT(timestamps), NULL, "Each line's time in front",
			NULL },
		{ "until", 0, OPTION_STRING, AT(until), "TIME", "Not after this time", NULL },
	};
#undef AT
	AUTO_DONE(logs_options) options = { 0 };
	int first;
	bool help;
	int r = option_parse(cli, argc, argv, rows, ARRAY_LEN(rows), &options, &first, &help, err);
	if (r < 0 || help)
		return r;
	struct engine_logs logs = { .follow = options.follow,
		.timestamps = options.timestamps,
		.tail = -1 };
	r = option_count(cli, argc - first, 1, 1, err);
	if (r == 0)
		r = parse_time(options.since, "since", &logs.since_ns, err);
	if (r == 0)
		r = parse_time(options.until, "until", &logs.until_ns, err);
	if (r == 0 && options.tail != NULL && strcmp(options.tail, "all") != 0 &&
		num_parse(view_of(options.tail), -1, INT64_MAX, &logs.tail) < 0)
		r = err_set(err, ERR_INVALID, "invalid value for \"tail\": \"%s\" is no number",
			options.tail);
	struct engine *engine;
	if (r == 0)
		r = cli_engine(cli, &engine, err);
	if (r == 0)
		r = engine_logs(engine, argv[first], &logs, STDOUT_FILENO, STDERR_FILENO, err);
	/* Our reader has gone (moat logs x | head): nothing is wrong. */
	return r == -EPIPE ? 0 : r;
}
