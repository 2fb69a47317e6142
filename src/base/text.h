/* text - strings: struct text to build, struct view to parse, struct strv for argv-like lists. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

/* Owned bytes that grow; always followed by a zero byte, so data works as a C string.
 * AUTO_DONE(text) t = { 0 };  is an empty one (data is NULL until something is appended). */
struct text {
	char *data; /* owned */
	size_t len;
	size_t capacity;
};

void text_done(struct text *text);
/* Makes room for more bytes behind len, and the zero byte: who fills it moves len. */
void text_reserve(struct text *text, size_t more);
void text_add(struct text *text, const char *bytes, size_t len);
void text_puts(struct text *text, const char *string);
void text_printf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_vprintf(struct text *text, const char *format, va_list args)
	__attribute__((format(printf, 2, 0), nonnull));
void text_clear(struct text *text);
const char *text_string(const struct text *text); /* never NULL; borrowed */
char *text_take(struct text *text);               /* never NULL; caller owns; text is empty after */

/* printf into memory the caller owns; aborts when there is none. */
char *text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Borrowed bytes; may hold zero bytes and need not end in one. */
struct view {
	const char *data;
	size_t len;
};

struct view view_of(const char *string); /* of NULL: empty */
struct view view_of_text(const struct text *text);
bool view_is(struct view view, const char *string);
bool view_starts(struct view view, const char *prefix);
bool view_ends(struct view view, const char *suffix);
/* Splits at the first separator: returns what stands before it and leaves the rest in *rest; with
 * no separator returns all and leaves *rest with NULL data. */
struct view view_cut(struct view *rest, char separator);
struct view view_trim(struct view view);
char *view_dup(struct view view); /* as a C string, caller owns */

/* A NULL-terminated list of owned strings. */
struct strv {
	char **items; /* owned, NULL when len is 0 and nothing was ever added */
	size_t len;
};

void strv_done(struct strv *list);
void strv_add(struct strv *list, const char *string);
void strv_take(struct strv *list, char *take_string);
void strv_printf(struct strv *list, const char *format, ...) __attribute__((format(printf, 2, 3)));
void strv_extend(struct strv *list, const struct strv *other);
/* For NAME=VALUE lists: replaces the entry with the same NAME, or adds. */
void strv_set_env(struct strv *list, const char *entry);
/* The value of NAME in a NAME=VALUE list, or NULL; borrowed. */
const char *strv_env(const struct strv *list, const char *name);
bool strv_has(const struct strv *list, const char *string);
