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
	size_t columns = 0;
	while (listing->headers[columns] != NULL)
		columns++;
	AUTO(table) table = table_new(columns);
	for (size_t i = 0; i < columns; i++)
		table_add(table, listing->headers[i]);
	for (size_t i = 0; i < json_array_len(rows); i++) {
		for (const char *const *key = listing->keys; *key != NULL; key++)
			table_add(table, cell(json_object_array_get_idx(rows, i), *key));
	}
	table_print(table);
}

/* NetworkName to NETWORK NAME. */
static char *header_of(const char *key)
{
	AUTO_DONE(text) header = { 0 };
	for (const char *c = key; *c != 0; c++) {
		bool is_upper = *c >= 'A' && *c <= 'Z';
		text_printf(&header, "%s%c", c > key && is_upper && c[-1] >= 'a' ? " " : "",
			is_upper ? *c : *c - 'a' + 'A');
	}
	return text_take(&header);
}

/* What the template makes of a row is its header. */
static json *headers_of(const struct listing *listing)
{
	json *headers = json_new_object();
	for (const char *const *key = listing->more_keys; key != NULL && *key != NULL; key++) {
		AUTO_FREE char *header = header_of(*key);
		json_set_string(headers, *key, header);
	}
	for (size_t i = 0; listing->keys[i] != NULL; i++)
		json_set_string(headers, listing->keys[i], listing->headers[i]);
	return headers;
}

static size_t count_cells(struct view line)
{
	size_t n = 1;
	for (size_t i = 0; i < line.len; i++)
		n += line.data[i] == '\t';
	return n;
}

/* Lines with tabs between the cells, the first line being the headers. */
static void print_columns(struct view lines)
{
	size_t columns = 0;
	for (struct view rest = lines; rest.len > 0;) {
		size_t cells = count_cells(view_cut(&rest, '\n'));
		if (cells > columns)
			columns = cells;
	}
	AUTO(table) table = table_new(columns);
	while (lines.len > 0) {
		struct view line = view_cut(&lines, '\n');
		for (size_t i = 0; i < columns; i++) {
			AUTO_FREE char *text = view_dup(view_cut(&line, '\t'));
			table_add(table, text);
		}
	}
	table_print(table);
}

static int print_template(const struct listing *listing, json *rows, struct err *err)
{
	AUTO(template) template = NULL;
	int r = template_parse(listing->format, &template, err);
	if (r < 0)
		return r;
	bool is_table = template_is_table(template);
	AUTO_DONE(text) out = { 0 };
	if (is_table) {
		AUTO_JSON headers = headers_of(listing);
		r = template_run(template, headers, &out, err);
		text_puts(&out, "\n");
	}
	for (size_t i = 0; r == 0 && i < json_array_len(rows); i++) {
		r = template_run(template, json_object_array_get_idx(rows, i), &out, err);
		text_puts(&out, "\n");
	}
	if (r < 0)
		return r;
	if (is_table)
		print_columns(view_of_text(&out));
	else
		(void)fwrite(text_string(&out), 1, out.len, stdout);
	return 0;
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
