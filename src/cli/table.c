/* table - columns as docker prints them: as wide as their widest cell and three spaces, at least
 * ten. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/quote.h"
#include "cli/command.h"

#define GAP 3
#define WIDTH_MIN 10

struct table {
	struct strv cells; /* row by row */
	size_t columns;
};

struct table *table_new(size_t columns)
{
	struct table *table = NEW(table);
	table->columns = columns;
	return table;
}

void table_free(struct table *table)
{
	if (table == NULL)
		return;
	strv_done(&table->cells);
	free(table);
}

void table_add(struct table *table, const char *cell)
{
	strv_take(&table->cells, quote_string(cell));
}

/* Characters, not bytes: continuation bytes of UTF-8 take no room. */
static size_t width(const char *cell)
{
	size_t n = 0;
	for (; *cell != 0; cell++)
		n += ((unsigned char)*cell & 0xc0) != 0x80;
	return n;
}

void table_print(const struct table *table)
{
	size_t columns = table->columns;
	CHECK(columns > 0);
	AUTO_FREE size_t *widths = mem_new(columns, sizeof(*widths));
	for (size_t i = 0; i < columns; i++)
		widths[i] = WIDTH_MIN - GAP;
	for (size_t i = 0; i < table->cells.len; i++) {
		size_t w = width(table->cells.items[i]);
		if (w > widths[i % columns])
			widths[i % columns] = w;
	}
	for (size_t i = 0; i < table->cells.len; i++) {
		const char *cell = table->cells.items[i];
		bool is_last = i % columns == columns - 1;
		(void)fputs(cell, stdout);
		if (is_last)
			(void)putchar('\n');
		else
			(void)printf("%*s", (int)(widths[i % columns] + GAP - width(cell)), "");
	}
}
