/* listing - rows as a table, by a template, as JSON lines, or only their ids. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/quote.h"
#include "cli/command.h"

static const char *cell(json *row, const char *key)
{
	const char *text = json_get_string(row, key);
	return text == NULL ? "" : text;
}

static void print_table(const struct listing *listing, json *rows)
{
	AUTO(table) table = table_new(listing->headers);
	for (size_t i = 0; i < json_array_len(rows); i++) {
		for (const char *const *key = listing->keys; *key != NULL; key++)
			table_add(table, cell(json_object_array_get_idx(rows, i), *key));
	}
	table_print(table);
}

static int print_template(const struct listing *listing, json *rows, struct err *err)
{
	AUTO(template) template = NULL;
	int r = template_parse(listing->format, &template, err);
	if (r < 0)
		return r;
	AUTO_DONE(text) out = { 0 };
	if (template_is_table(template)) {
		/* The header line is the template over the headers. */
		AUTO_JSON headers = json_new_object();
		for (size_t i = 0; listing->keys[i] != NULL; i++)
			json_set_string(headers, listing->keys[i], listing->headers[i]);
		r = template_run(template, headers, &out, err);
		text_puts(&out, "\n");
	}
	for (size_t i = 0; r == 0 && i < json_array_len(rows); i++) {
		r = template_run(template, json_object_array_get_idx(rows, i), &out, err);
		text_puts(&out, "\n");
	}
	if (r == 0)
		(void)fwrite(text_string(&out), 1, out.len, stdout);
	return r;
}

int listing_print(const struct listing *listing, json *rows, struct err *err)
{
	if (listing->quiet) {
		for (size_t i = 0; i < json_array_len(rows); i++)
			(void)printf("%s\n",
				cell(json_object_array_get_idx(rows, i), listing->keys[0]));
		return 0;
	}
	if (listing->format == NULL || strcmp(listing->format, "table") == 0) {
		print_table(listing, rows);
		return 0;
	}
	if (strcmp(listing->format, "json") == 0) {
		for (size_t i = 0; i < json_array_len(rows); i++) {
			AUTO_FREE char *text = json_text(json_object_array_get_idx(rows, i), false);
			(void)printf("%s\n", text);
		}
		return 0;
	}
	return print_template(listing, rows, err);
}
