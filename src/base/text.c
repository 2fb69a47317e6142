/* text - see text.h.  A text's capacity doubles, so appending is linear; every text with data has
 * a zero byte at data[len], which is not counted. */
#include "base/text.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

void text_done(struct text *text)
{
	free(text->data);
	*text = (struct text){ 0 };
}

void text_reserve(struct text *text, size_t more)
{
	size_t need;
	CHECK(!__builtin_add_overflow(text->len, more, &need) && need < SIZE_MAX / 2);
	need++; /* the zero byte */
	if (need <= text->capacity)
		return;
	size_t capacity = text->capacity > 0 ? text->capacity * 2 : 64;
	text->capacity = capacity > need ? capacity : need;
	text->data = mem_grow(text->data, text->capacity, 1);
	text->data[text->len] = '\0';
}

void text_add(struct text *text, const char *bytes, size_t len)
{
	text_reserve(text, len);
	if (len > 0)
		memcpy(text->data + text->len, bytes, len);
	text->len += len;
	text->data[text->len] = '\0';
}

void text_puts(struct text *text, const char *string)
{
	text_add(text, string, strlen(string));
}

void text_printf(struct text *text, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	text_vprintf(text, format, args);
	va_end(args);
}

void text_vprintf(struct text *text, const char *format, va_list args)
{
	va_list again;
	va_copy(again, args);
	int len = vsnprintf(NULL, 0, format, again);
	va_end(again);
	CHECK(len >= 0);
	text_reserve(text, (size_t)len);
	(void)vsnprintf(text->data + text->len, (size_t)len + 1, format, args);
	text->len += (size_t)len;
}

void text_clear(struct text *text)
{
	text->len = 0;
	if (text->data != NULL)
		text->data[0] = '\0';
}

const char *text_string(const struct text *text)
{
	return text->data != NULL ? text->data : "";
}

char *text_take(struct text *text)
{
	text_reserve(text, 0);
	char *data = text->data;
	*text = (struct text){ 0 };
	return data;
}

char *text_format(const char *format, ...)
{
	struct text text = { 0 };
	va_list args;
	va_start(args, format);
	text_vprintf(&text, format, args);
	va_end(args);
	return text_take(&text);
}

struct view view_of(const char *string)
{
	return (struct view){ string, string != NULL ? strlen(string) : 0 };
}

struct view view_of_text(const struct text *text)
{
	return (struct view){ text->data, text->len };
}

bool view_is(struct view view, const char *string)
{
	return view.len == strlen(string) && view_starts(view, string);
}

bool view_starts(struct view view, const char *prefix)
{
	size_t len = strlen(prefix);
	return view.len >= len && (len == 0 || memcmp(view.data, prefix, len) == 0);
}

bool view_ends(struct view view, const char *suffix)
{
	size_t len = strlen(suffix);
	if (view.len < len)
		return false;
	return len == 0 || memcmp(view.data + (view.len - len), suffix, len) == 0;
}

struct view view_cut(struct view *rest, char separator)
{
	struct view all = *rest;
	const char *at = all.len > 0 ? memchr(all.data, separator, all.len) : NULL;
	if (at == NULL) {
		*rest = (struct view){ 0 };
		return all;
	}
	size_t len = (size_t)(at - all.data);
	*rest = (struct view){ at + 1, all.len - len - 1 };
	return (struct view){ all.data, len };
}

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

struct view view_trim(struct view view)
{
	while (view.len > 0 && is_space(view.data[0])) {
		view.data++;
		view.len--;
	}
	while (view.len > 0 && is_space(view.data[view.len - 1]))
		view.len--;
	return view;
}

char *view_dup(struct view view)
{
	char *string = mem_new(1, view.len + 1);
	if (view.len > 0)
		memcpy(string, view.data, view.len);
	return string;
}

void strv_done(struct strv *list)
{
	for (size_t i = 0; i < list->len; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct strv){ 0 };
}

void strv_add(struct strv *list, const char *string)
{
	strv_take(list, mem_strdup(string));
}

void strv_take(struct strv *list, char *take_string)
{
	/* Room for a power of two and the final NULL: grown only when len passes a power. */
	if ((list->len & (list->len + 1)) == 0)
		list->items = mem_grow(list->items, 2 * (list->len + 1), sizeof(list->items[0]));
	list->items[list->len++] = take_string;
	list->items[list->len] = NULL;
}

void strv_printf(struct strv *list, const char *format, ...)
{
	struct text text = { 0 };
	va_list args;
	va_start(args, format);
	text_vprintf(&text, format, args);
	va_end(args);
	strv_take(list, text_take(&text));
}

void strv_extend(struct strv *list, const struct strv *other)
{
	/* The length is taken first: a list may be added to itself. */
	size_t len = other->len;
	for (size_t i = 0; i < len; i++)
		strv_add(list, other->items[i]);
}

static char *const *find_env(const struct strv *list, const char *name, size_t name_len)
{
	for (size_t i = 0; i < list->len; i++) {
		const char *item = list->items[i];
		if (strncmp(item, name, name_len) == 0 && item[name_len] == '=')
			return &list->items[i];
	}
	return NULL;
}

void strv_set_env(struct strv *list, const char *entry)
{
	char *const *found = find_env(list, entry, strcspn(entry, "="));
	if (found == NULL) {
		strv_add(list, entry);
		return;
	}
	size_t index = (size_t)(found - list->items);
	char *old = list->items[index];
	list->items[index] = mem_strdup(entry);
	free(old);
}

const char *strv_env(const struct strv *list, const char *name)
{
	size_t name_len = strlen(name);
	char *const *found = find_env(list, name, name_len);
	return found != NULL ? *found + name_len + 1 : NULL;
}

bool strv_has(const struct strv *list, const char *string)
{
	for (size_t i = 0; i < list->len; i++) {
		if (strcmp(list->items[i], string) == 0)
			return true;
	}
	return false;
}
