/* monitor_args - one table, walked in both directions.  Every option is an int at an offset, so
 * neither direction knows any of them by name. */
#include "wire/monitor_args.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/limits.h"
#include "base/num.h"

static const struct {
	const char *name;
	size_t offset;
	int smallest, largest, fallback;
} options[] = {
#define ARG(field, name, smallest, largest, fallback, meaning) \
	{ name, offsetof(struct monitor_args, field), smallest, largest, fallback },
#include "wire/monitor_args.def"
#undef ARG
};

static int *option_of(struct monitor_args *args, size_t index)
{
	return (int *)(void *)((char *)args + options[index].offset);
}

static int option_parse(struct monitor_args *args, const char *text, struct err *err)
{
	struct view value = view_of(text);
	struct view name = view_cut(&value, '=');

	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		int64_t number;

		if (!view_is(name, options[i].name))
			continue;
		if (num_parse(value, options[i].smallest, options[i].largest, &number) < 0)
			return err_set(err, ERR_INVALID, "moat-monitor: %s: not a number in %d..%d",
				text, options[i].smallest, options[i].largest);
		*option_of(args, i) = (int)number;
		return 0;
	}
	return err_set(err, ERR_INVALID, "moat-monitor: unknown option: %s", text);
}

void monitor_args_init(struct monitor_args *ret_args, const char *id)
{
	*ret_args = (struct monitor_args){ .id = id };
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		*option_of(ret_args, i) = options[i].fallback;
}

void monitor_args_format(const struct monitor_args *args, struct strv *argv)
{
	struct monitor_args copy = *args;

	strv_add(argv, args->id);
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		if (*option_of(&copy, i) != options[i].fallback)
			strv_printf(argv, "%s=%d", options[i].name, *option_of(&copy, i));
	if (args->exit_command == NULL)
		return;
	strv_add(argv, "--");
	for (const char *const *word = args->exit_command; *word != NULL; word++)
		strv_add(argv, *word);
}

int monitor_args_parse(int argc, const char *const *argv, struct monitor_args *ret_args,
	struct err *err)
{
	struct monitor_args args;

	if (argc < 2)
		return err_set(err, ERR_INVALID,
			"moat-monitor: started by moat, not by hand: no workload id given");
	monitor_args_init(&args, argv[1]);
	for (int i = 2; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			args.exit_command = i + 1 < argc ? argv + i + 1 : NULL;
			break;
		}
		int r = option_parse(&args, argv[i], err);
		if (r < 0)
			return r;
	}
	if (args.run_dir < 0 || args.data_dir < 0)
		return err_set(err, ERR_INVALID,
			"moat-monitor: run-dir and data-dir must be given");
	if (!args.adopt && (args.init_pid <= 0 || args.init_pidfd < 0))
		return err_set(err, ERR_INVALID,
			"moat-monitor: init-pid and init-pidfd must be given unless adopting");
	*ret_args = args;
	return 0;
}
