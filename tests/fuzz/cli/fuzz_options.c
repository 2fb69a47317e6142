/* run_options_parse: the words of a command line, one a line.  Whatever is accepted makes a record
 * that reads back as itself. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "cli/command.h"
#include "engine/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WORDS_MAX 64

static void check_record(const struct workload_spec *spec)
{
	AUTO_DONE(workload_spec) again = { 0 };
	if (workload_spec_check(spec, NULL) < 0)
		return; /* words that are not UTF-8 */
	AUTO_JSON first = workload_spec_to_json(spec);
	AUTO_FREE char *text = json_text(first, false);
	struct err err = { 0 };
	CHECK(workload_spec_from_json(view_of(text), &again, &err) == 0);
	CHECK(again.args.len == spec->args.len && again.mounts_len == spec->mounts_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct command command = { .words = "run", .arguments = "IMAGE [ARG...]" };
	struct cli cli = { .command = &command };
	AUTO_DONE(strv) argv = { 0 };
	strv_add(&argv, "run");
	struct view rest = { (const char *)data, size };
	while (rest.len > 0 && argv.len < WORDS_MAX)
		strv_take(&argv, view_dup(view_cut(&rest, '\n')));
	for (size_t i = 0; i < argv.len; i++) {
		/* Prints, or reads files of the host: neither is what is tested. */
		if (strncmp(argv.items[i], "--h", 3) == 0 ||
			strncmp(argv.items[i], "--env-", 6) == 0)
			return 0;
	}
	AUTO_DONE(run_options) options = { 0 };
	struct err err = { 0 };
	bool help;
	int r = run_options_parse(&cli, (int)argv.len, argv.items, &options, &help, &err);
	if (r < 0)
		CHECK(err.message[0] != 0 && err_exit_status(err.kind) == 125);
	else if (!help)
		check_record(&options.spec);
	return 0;
}
