/* cmd_compare - `moat compare`. */
#include <stdio.h>

#include "base/mem.h"
#include "base/num.h"
#include "cli/command.h"

static void add_row(struct table *table, const struct engine_measure *row)
{
	char memory[NUM_SIZE_TEXT_MAX], own[NUM_SIZE_TEXT_MAX], disk[NUM_SIZE_TEXT_MAX];
	AUTO_FREE char *wall = row->accelerator == NULL
				       ? mem_strdup(row->wall)
				       : text_format("%s (%s)", row->wall, row->accelerator);
	AUTO_FREE char *ready = text_format("%.1f ms", (double)row->first_instruction_us / 1000);
	AUTO_FREE char *ended = text_format("%.1f ms", (double)row->exit_us / 1000);
	AUTO_FREE char *calls = text_format("%u", row->host_calls);
	bool has_own = row->wall_memory_bytes > 0;
	table_add(table, wall);
	table_add(table, ready);
	table_add(table, ended);
	table_add(table, num_size_binary(row->host_memory_bytes, memory));
	table_add(table, has_own ? num_size_binary(row->wall_memory_bytes, own) : "-");
	table_add(table, num_size_binary(row->disk_bytes, disk));
	table_add(table, calls);
	table_add(table, row->kernel);
}

int cmd_compare(struct cli *cli, int argc, char **argv, struct err *err)
{
	static const char *const headers[] = { "WALL", "FIRST INSTRUCTION", "EXIT", "HOST MEMORY",
		"WALL MEMORY", "DISK", "HOST CALLS", "KERNEL SEEN" };
	int first;
	bool help;
	int r = option_parse(cli, argc, argv, NULL, 0, NULL, &first, &help, err);
	if (r < 0 || help)
		return r;
	struct engine *engine;
	r = option_count(cli, argc - first, 1, -1, err);
	if (r == 0)
		r = cli_engine(cli, &engine, err);
	if (r != 0)
		return r;
	AUTO_DONE(strv) args = { 0 };
	for (int i = first + 1; i < argc; i++)
		strv_add(&args, argv[i]);
	AUTO_FREE struct engine_measure *measures = NULL;
	size_t len;
	r = engine_compare(engine, argv[first], &args, &measures, &len, err);
	if (r < 0)
		return r;
	AUTO_DONE(text) remarks = { 0 }; /* too long for a column */
	AUTO(table) table = table_new(ARRAY_LEN(headers));
	for (size_t i = 0; i < ARRAY_LEN(headers); i++)
		table_add(table, headers[i]);
	for (size_t i = 0; i < len; i++) {
		const struct engine_measure *row = &measures[i];
		if (row->is_available) {
			add_row(table, row);
			continue;
		}
		table_add(table, row->wall);
		for (size_t k = 1; k < ARRAY_LEN(headers); k++)
			table_add(table, "-");
		text_printf(&remarks, "%s: %s\n", row->wall, row->why_not);
	}
	table_print(table);
	(void)fputs(text_string(&remarks), stdout);
	return 0;
}
