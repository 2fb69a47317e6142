/* json - see json.h.  json-c because it keeps 64-bit integers exactly; where a key stands twice,
 * the last one counts.
 *
 * Even when strict, json-c takes single quotes around keys, NaN, Infinity, raw control bytes in
 * strings, and a zero byte as the end.  All that is refused before it sees them, so that a document
 * means the same to us as to every other reader (RFC 8259). */
#include "base/json.h"

#include <string.h>

#include "base/limits.h"
#include "base/mem.h"

/* The length of the longest start of bytes that holds, outside of strings, only what JSON has
 * there, and in strings no control bytes. */
static size_t span_of_json(struct view bytes)
{
	static const char outside[] = "{}[]:,+-.0123456789eEtrufalsn \t\r\n\"";
	bool in_string = false;
	size_t i = 0;
	for (; i < bytes.len; i++) {
		unsigned char c = (unsigned char)bytes.data[i];
		if (in_string ? c < 0x20 : c == '\0' || strchr(outside, c) == NULL)
			break;
		if (c == '"')
			in_string = !in_string;
		else if (in_string && c == '\\' && i + 1 < bytes.len)
			i++;
	}
	return i;
}

int json_parse(struct view bytes, const char *what, json **ret_value, struct err *err)
{
	if (bytes.len > LIMIT_JSON_BYTES)
		return err_set(err, ERR_LIMIT, "%s is longer than the limit of %d bytes", what,
			LIMIT_JSON_BYTES);
	size_t span = span_of_json(bytes);
	if (span < bytes.len)
		return err_set(err, ERR_INVALID, "%s is not JSON: byte 0x%02x at byte %zu", what,
			(unsigned)(unsigned char)bytes.data[span], span);

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

static void new_line(struct text *out, size_t depth)
{
	text_puts(out, "\n");
	for (size_t i = 0; i < depth; i++)
		text_puts(out, "    ");
}

/* Compact JSON laid out as Go's json.MarshalIndent(value, "", "    ") does it. */
static char *indent(const char *compact)
{
	struct text out = { 0 };
	size_t depth = 0;
	while (*compact != '\0') {
		char c = *compact;
		size_t len = 1;
		if (c == '"') {
			while (compact[len] != '"')
				len += compact[len] == '\\' ? 2 : 1;
			len++;
		} else if ((c == '{' || c == '[') && (compact[1] == '}' || compact[1] == ']')) {
			len = 2;
		}
		if (len == 1 && (c == '}' || c == ']'))
			new_line(&out, --depth);
		text_add(&out, compact, len);
		if (len == 1 && (c == '{' || c == '['))
			new_line(&out, ++depth);
		else if (c == ',')
			new_line(&out, depth);
		else if (c == ':')
			text_puts(&out, " ");
		compact += len;
	}
	return text_take(&out);
}

char *json_text(json *value, bool pretty)
{
	const char *text = json_object_to_json_string_ext(value,
		JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	CHECK(text != NULL);
	return pretty ? indent(text) : mem_strdup(text);
}
