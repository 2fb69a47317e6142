/* json - thin, checked access to json-c.  Parsing has limits; getters never abort on a wrong type.
 */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/text.h"

typedef struct json_object json; /* json-c's own type: the one typedef of a struct in the tree */

static inline void json_auto_put(json **ref)
{
	if (*ref != NULL)
		json_object_put(*ref);
}
#define AUTO_JSON __attribute__((cleanup(json_auto_put))) json *

/* One complete JSON value, at most LIMIT_JSON_BYTES bytes and LIMIT_JSON_DEPTH deep (limits.def),
 * nothing after it.  what names it in the error ("image config sha256:..."). */
MUST_CHECK int json_parse(struct view bytes, const char *what, json **ret_value, struct err *err);

/* Borrowed parts; NULL, 0 or the fallback when the key is absent, null or of another type.
 * object may be NULL. */
json *json_get(json *object, const char *key);
const char *json_get_string(json *object, const char *key); /* no embedded zero, else NULL */
int64_t json_get_int(json *object, const char *key, int64_t fallback);
uint64_t json_get_uint(json *object, const char *key, uint64_t fallback);
bool json_get_bool(json *object, const char *key, bool fallback);
json *json_get_object(json *object, const char *key);
json *json_get_array(json *object, const char *key);
size_t json_array_len(json *array); /* 0 for NULL */

/* Appends the strings of an array to list; ERR_INVALID when an item is no string or has a zero
 * byte. An absent array adds nothing. */
MUST_CHECK int json_get_strv(json *object, const char *key, struct strv *list, struct err *err);

/* Builders; each hands its value to object and aborts without memory. */
json *json_new_object(void);
json *json_new_array(void);
void json_set(json *object, const char *key, json *take_value);
void json_set_string(json *object, const char *key, const char *value); /* NULL: JSON null */
void json_set_int(json *object, const char *key, int64_t value);
void json_set_uint(json *object, const char *key, uint64_t value);
void json_set_bool(json *object, const char *key, bool value);
void json_set_strv(json *object, const char *key, const struct strv *list);
void json_push(json *array, json *take_value);
void json_push_string(json *array, const char *value);

/* Text of a value; caller owns.  pretty uses Docker's four-space indentation. */
char *json_text(json *value, bool pretty);
