/* json - see json.h.  json-c because it keeps 64-bit integers exactly; where a key stands twice,
 * the last one counts.
 *
 * json-c ends its input at a zero byte and accepts NaN and Infinity: both are refused here, so that
 * a document means the same to us as to every other reader of it. */
#include "base/json.h"

#include <json-c/json_visit.h>
#include <math.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"

/* json-c has no switch against NaN and Infinity. */
static int refuse_not_finite(json *value, int flags, json *parent, const char *key, size_t *index,
	void *context)
{
	(void)flags, (void)parent, (void)key, (void)index, (void)context;
	if (json_object_is_type(value, json_type_double) &&
		!isfinite(json_object_get_double(value)))
		return JSON_C_VISIT_RETURN_ERROR;
	return JSON_C_VISIT_RETURN_CONTINUE;
}

int json_parse(struct view bytes, const char *what, json **ret_value, struct err *err)
{
	if (bytes.len > LIMIT_JSON_BYTES)
		return err_set(err, ERR_LIMIT, "%s is longer than the limit of %d bytes", what,
			LIMIT_JSON_BYTES);
	if (bytes.len > 0 && memchr(bytes.data, '\0', bytes.len) != NULL)
		return err_set(err, ERR_INVALID, "%s is not JSON: it holds a zero byte", what);

	struct json_tokener *tokener = json_tokener_new_ex(LIMIT_JSON_DEPTH);
	CHECK(tokener != NULL);
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	AUTO_JSON value = NULL;
	if (bytes.len > 0)
		value = json_tokener_parse_ex(tokener, bytes.data, (int)bytes.len);
	enum json_tokener_error error =
		bytes.len > 0 ? json_tokener_get_error(tokener) : json_tokener_error_parse_eof;
	size_t at = bytes.len > 0 ? json_tokener_get_parse_end(tokener) : 0;
	/* A bare number may go on; a zero byte tells that it does not. */
	if (error == json_tokener_continue) {
		value = json_tokener_parse_ex(tokener, "", 1);
		error = json_tokener_get_error(tokener);
	}
	json_tokener_free(tokener);
	if (error == json_tokener_error_depth)
		return err_set(err, ERR_LIMIT, "%s is nested deeper than the limit of %d levels",
			what, LIMIT_JSON_DEPTH);
	if (error == json_tokener_continue)
		error = json_tokener_error_parse_eof;
	if (error != json_tokener_success)
		return err_set(err, ERR_INVALID, "%s is not JSON: %s at byte %zu", what,
			json_tokener_error_desc(error), at);
	if (value != NULL && json_c_visit(value, 0, refuse_not_finite, NULL) < 0)
		return err_set(err, ERR_INVALID, "%s is not JSON: a number is not finite", what);
	*ret_value = TAKE(value);
	return 0;
}

json *json_get(json *object, const char *key)
{
	json *value = NULL;
	if (json_object_is_type(object, json_type_object))
		(void)json_object_object_get_ex(object, key, &value);
	return value;
}

static json *get_type(json *object, const char *key, enum json_type type)
{
	json *value = json_get(object, key);
	return json_object_is_type(value, type) ? value : NULL;
}

/* The text of a string value, or NULL where it is none or a C string would be cut short. */
static const char *string_of(json *value)
{
	if (!json_object_is_type(value, json_type_string))
		return NULL;
	const char *string = json_object_get_string(value);
	return strlen(string) == (size_t)json_object_get_string_len(value) ? string : NULL;
}

const char *json_get_string(json *object, const char *key)
{
	return string_of(json_get(object, key));
}

int64_t json_get_int(json *object, const char *key, int64_t fallback)
{
	json *value = get_type(object, key, json_type_int);
	/* json-c saturates: what does not fit is not this number. */
	if (value == NULL || json_object_get_uint64(value) > INT64_MAX)
		return fallback;
	return json_object_get_int64(value);
}

uint64_t json_get_uint(json *object, const char *key, uint64_t fallback)
{
	json *value = get_type(object, key, json_type_int);
	if (value == NULL || json_object_get_int64(value) < 0)
		return fallback;
	return json_object_get_uint64(value);
}

bool json_get_bool(json *object, const char *key, bool fallback)
{
	json *value = get_type(object, key, json_type_boolean);
	return value != NULL ? json_object_get_boolean(value) : fallback;
}

json *json_get_object(json *object, const char *key)
{
	return get_type(object, key, json_type_object);
}

json *json_get_array(json *object, const char *key)
{
	return get_type(object, key, json_type_array);
}

size_t json_array_len(json *array)
{
	return json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;
}

int json_get_strv(json *object, const char *key, struct strv *list, struct err *err)
{
	json *array = json_get_array(object, key);
	size_t len = json_array_len(array);
	struct strv strings = { 0 };
	for (size_t i = 0; i < len; i++) {
		const char *string = string_of(json_object_array_get_idx(array, i));
		if (string == NULL) {
			strv_done(&strings);
			return err_set(err, ERR_INVALID,
				"item %zu of %s is not a string without zero bytes", i, key);
		}
		strv_add(&strings, string);
	}
	for (size_t i = 0; i < strings.len; i++)
		strv_take(list, strings.items[i]);
	free(strings.items);
	return 0;
}

static json *made(json *value)
{
	CHECK(value != NULL);
	return value;
}

json *json_new_object(void)
{
	return made(json_object_new_object());
}

json *json_new_array(void)
{
	return made(json_object_new_array());
}

static json *new_string(const char *value)
{
	return value != NULL ? made(json_object_new_string(value)) : NULL;
}

void json_set(json *object, const char *key, json *take_value)
{
	CHECK(json_object_is_type(object, json_type_object));
	CHECK(json_object_object_add(object, key, take_value) == 0);
}

void json_set_string(json *object, const char *key, const char *value)
{
	json_set(object, key, new_string(value));
}

void json_set_int(json *object, const char *key, int64_t value)
{
	json_set(object, key, made(json_object_new_int64(value)));
}

void json_set_uint(json *object, const char *key, uint64_t value)
{
	json_set(object, key, made(json_object_new_uint64(value)));
}

void json_set_bool(json *object, const char *key, bool value)
{
	json_set(object, key, made(json_object_new_boolean(value)));
}

void json_set_strv(json *object, const char *key, const struct strv *list)
{
	json *array = json_new_array();
	for (size_t i = 0; i < list->len; i++)
		json_push_string(array, list->items[i]);
	json_set(object, key, array);
}

void json_push(json *array, json *take_value)
{
	CHECK(json_object_is_type(array, json_type_array));
	CHECK(json_object_array_add(array, take_value) == 0);
}

void json_push_string(json *array, const char *value)
{
	json_push(array, new_string(value));
}

/* json-c indents by two spaces, Docker by four.  Line breaks inside strings are escaped, so spaces
 * at the start of a line are indentation. */
static char *widen_indentation(const char *narrow)
{
	struct text wide = { 0 };
	while (*narrow != '\0') {
		size_t spaces = strspn(narrow, " ");
		text_add(&wide, narrow, spaces);
		size_t line = spaces + strcspn(narrow + spaces, "\n");
		line += narrow[line] == '\n';
		text_add(&wide, narrow, line);
		narrow += line;
	}
	return text_take(&wide);
}

char *json_text(json *value, bool pretty)
{
	int flags = JSON_C_TO_STRING_NOSLASHESCAPE;
	if (pretty)
		flags |= JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED;
	const char *text = json_object_to_json_string_ext(value, flags);
	CHECK(text != NULL);
	return pretty ? widen_indentation(text) : mem_strdup(text);
}
