/* template - Go's text/template as far as --format needs it, over JSON values.
 *
 * Evaluated straight from the text: a template is short and run a few times.  An action's words are
 * operands (.A.B, "text", 12, (...)) or a function with operands; "|" hands a value on as the last
 * operand.  A field that is not there is an error, as in docker. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/quote.h"
#include "cli/command.h"

#define OPERANDS_MAX 8
#define DEPTH_MAX 32

struct template
{
	char *text; /* owned; without "table ", \t and \n already real */
	bool is_table;
};

/* ---- values ---- */

static bool is_true(json *value)
{
	switch (json_object_get_type(value)) {
	case json_type_null: return false;
	case json_type_boolean: return json_object_get_boolean(value);
	case json_type_int: return json_object_get_int64(value) != 0;
	case json_type_double: return json_object_get_double(value) != 0;
	case json_type_string: return json_object_get_string_len(value) > 0;
	case json_type_array: return json_array_len(value) > 0;
	case json_type_object: return json_object_object_length(value) > 0;
	}
	return false;
}

/* As Go's fmt prints with %v. */
static void print_value(json *value, struct text *out)
{
	switch (json_object_get_type(value)) {
	case json_type_null: text_puts(out, "<nil>"); break;
	case json_type_array:
		text_puts(out, "[");
		for (size_t i = 0; i < json_array_len(value); i++) {
			text_puts(out, i > 0 ? " " : "");
			print_value(json_object_array_get_idx(value, i), out);
		}
		text_puts(out, "]");
		break;
	case json_type_object: {
		const char *gap = "";
		text_puts(out, "map[");
		json_object_object_foreach (value, key, part) {
			text_printf(out, "%s%s:", gap, key);
			print_value(part, out);
			gap = " ";
		}
		text_puts(out, "]");
		break;
	}
	case json_type_string: {
		/* On its way to a terminal; newlines stay, a label may have them quoted. */
		AUTO_FREE char *quoted = quote_string(json_object_get_string(value));
		text_puts(out, quoted);
		break;
	}
	case json_type_boolean:
	case json_type_double:
	case json_type_int: text_puts(out, json_object_get_string(value)); break;
	}
}

/* ---- functions; each gets its operands and makes a new value ---- */

/* Of null none. */
static const char *string_of(json *value)
{
	const char *string = json_object_get_string(value);
	return string != NULL ? string : "";
}

typedef int function(json **operands, size_t len, json **ret_value, struct err *err);

static int fn_json(json **operands, size_t len, json **ret_value, struct err *err)
{
	(void)len;
	(void)err;
	AUTO_FREE char *text = json_text(operands[0], false);
	*ret_value = json_object_new_string(text);
	return 0;
}

static int fn_len(json **operands, size_t len, json **ret_value, struct err *err)
{
	(void)len;
	size_t n = 0;
	if (json_object_is_type(operands[0], json_type_array))
		n = json_array_len(operands[0]);
	else if (json_object_is_type(operands[0], json_type_object))
		n = (size_t)json_object_object_length(operands[0]);
	else if (json_object_is_type(operands[0], json_type_string))
		n = (size_t)json_object_get_string_len(operands[0]);
	else
		return err_set(err, ERR_INVALID, "template: len of a value that has none");
	*ret_value = json_object_new_int64((int64_t)n);
	return 0;
}

static int fn_index(json **operands, size_t len, json **ret_value, struct err *err)
{
	json *value = operands[0];
	for (size_t i = 1; i < len; i++) {
		if (json_object_is_type(value, json_type_array)) {
			int64_t at = json_object_get_int64(operands[i]);
			if (at < 0 || (size_t)at >= json_array_len(value))
				return err_set(err, ERR_INVALID,
					"template: index out of range: %jd", (intmax_t)at);
			value = json_object_array_get_idx(value, (size_t)at);
		} else {
			value = json_get(value, string_of(operands[i]));
		}
	}
	*ret_value = value == NULL ? json_object_new_string("") : json_object_get(value);
	return 0;
}

static int change_case(json *operand, int (*change)(int), bool first_only, json **ret_value)
{
	AUTO_FREE char *text = mem_strdup(string_of(operand));
	bool at_start = true;
	for (char *p = text; *p != 0; p++) {
		if (!first_only || at_start)
			*p = (char)change((unsigned char)*p);
		at_start = *p == ' ';
	}
	*ret_value = json_object_new_string(text);
	return 0;
}

static int fn_lower(json **operands, size_t len, json **ret_value, struct err *err)
{
	(void)len;
	(void)err;
	return change_case(operands[0], tolower, false, ret_value);
}

static int fn_upper(json **operands, size_t len, json **ret_value, struct err *err)
{
	(void)len;
	(void)err;
	return change_case(operands[0], toupper, false, ret_value);
}

static int fn_title(json **operands, size_t len, json **ret_value, struct err *err)
{
	(void)len;
	(void)err;
	return change_case(operands[0], toupper, true, ret_value);
}

static int fn_join(json **operands, size_t len, json **ret_value, struct err *err)
{
	(void)len;
	(void)err;
	AUTO_DONE(text) joined = { 0 };
	for (size_t i = 0; i < json_array_len(operands[0]); i++) {
		text_puts(&joined, i > 0 ? string_of(operands[1]) : "");
		print_value(json_object_array_get_idx(operands[0], i), &joined);
	}
	*ret_value = json_object_new_string(text_string(&joined));
	return 0;
}

static int fn_println(json **operands, size_t len, json **ret_value, struct err *err)
{
	(void)err;
	/* A raw newline would be quoted on its way out: only print_value's callers add one. */
	AUTO_DONE(text) line = { 0 };
	for (size_t i = 0; i < len; i++) {
		text_puts(&line, i > 0 ? " " : "");
		print_value(operands[i], &line);
	}
	text_puts(&line, "\n");
	*ret_value = json_object_new_string(text_string(&line));
	return 0;
}

static int fn_eq(json **operands, size_t len, json **ret_value, struct err *err)
{
	(void)err;
	bool is_equal = false;
	for (size_t i = 1; i < len; i++)
		is_equal |= json_object_equal(operands[0], operands[i]) != 0;
	*ret_value = json_object_new_boolean(is_equal);
	return 0;
}

static int fn_ne(json **operands, size_t len, json **ret_value, struct err *err)
{
	(void)len;
	(void)err;
	*ret_value = json_object_new_boolean(!json_object_equal(operands[0], operands[1]));
	return 0;
}

static int fn_not(json **operands, size_t len, json **ret_value, struct err *err)
{
	(void)len;
	(void)err;
	*ret_value = json_object_new_boolean(!is_true(operands[0]));
	return 0;
}

static int fn_and(json **operands, size_t len, json **ret_value, struct err *err)
{
	(void)err;
	size_t i = 0;
	while (i + 1 < len && is_true(operands[i]))
		i++;
	*ret_value = json_object_get(operands[i]);
	return 0;
}

static int fn_or(json **operands, size_t len, json **ret_value, struct err *err)
{
	(void)err;
	size_t i = 0;
	while (i + 1 < len && !is_true(operands[i]))
		i++;
	*ret_value = json_object_get(operands[i]);
	return 0;
}

/* {{.Label "k"}} of a row, as docker's listings have it: out of "k=v,k2=v2". */
static int fn_label(json **operands, size_t len, json **ret_value, struct err *err)
{
	(void)err;
	const char *key = len > 1 ? string_of(operands[1]) : "";
	struct view rest = view_of(json_get_string(operands[0], "Labels"));
	*ret_value = NULL;
	while (rest.len > 0 && *ret_value == NULL) {
		struct view value = view_cut(&rest, ',');
		if (view_is(view_cut(&value, '='), key))
			*ret_value = json_object_new_string_len(value.data, (int)value.len);
	}
	if (*ret_value == NULL)
		*ret_value = json_object_new_string("");
	return 0;
}

static const struct {
	const char *name;
	size_t min_operands;
	function *run;
} functions[] = {
	{ ".Label", 2, fn_label },
	{ "and", 1, fn_and },
	{ "eq", 2, fn_eq },
	{ "index", 2, fn_index },
	{ "join", 2, fn_join },
	{ "json", 1, fn_json },
	{ "len", 1, fn_len },
	{ "lower", 1, fn_lower },
	{ "ne", 2, fn_ne },
	{ "not", 1, fn_not },
	{ "or", 1, fn_or },
	{ "println", 0, fn_println },
	{ "title", 1, fn_title },
	{ "upper", 1, fn_upper },
};

/* ---- expressions ---- */

struct scope {
	json *root, *dot; /* borrowed */
	unsigned depth;
};

static void skip_space(struct view *rest)
{
	while (rest->len > 0 && isspace((unsigned char)rest->data[0]))
		*rest = (struct view){ rest->data + 1, rest->len - 1 };
}

static struct view take_word(struct view *rest)
{
	size_t n = 0;
	while (n < rest->len && !isspace((unsigned char)rest->data[n]) && rest->data[n] != '|' &&
		rest->data[n] != ')' && rest->data[n] != '(')
		n++;
	struct view word = { rest->data, n };
	*rest = (struct view){ rest->data + n, rest->len - n };
	return word;
}

static int field(json *value, struct view path, json **ret_value, struct err *err)
{
	struct view whole = path;
	while (path.len > 0) {
		AUTO_FREE char *key = view_dup(view_cut(&path, '.'));
		if (key[0] == 0)
			continue;
		json *next;
		if (!json_object_is_type(value, json_type_object) ||
			!json_object_object_get_ex(value, key, &next))
			return err_set(err, ERR_INVALID,
				"template: can't evaluate field %s in <%.*s>", key, (int)whole.len,
				whole.data);
		value = next;
	}
	*ret_value = json_object_get(value);
	return 0;
}

static int quoted_operand(struct view *rest, json **ret_value, struct err *err)
{
	char quote = rest->data[0];
	AUTO_DONE(text) string = { 0 };
	size_t i = 1;
	for (; i < rest->len && rest->data[i] != quote; i++) {
		char c = rest->data[i];
		if (c == '\\' && quote == '"' && i + 1 < rest->len) {
			c = rest->data[++i];
			c = c == 'n' ? '\n' : c == 't' ? '\t' : c;
		}
		text_add(&string, &c, 1);
	}
	if (i == rest->len)
		return err_set(err, ERR_INVALID, "template: unterminated quoted string");
	*rest = (struct view){ rest->data + i + 1, rest->len - i - 1 };
	*ret_value = json_object_new_string(text_string(&string));
	return 0;
}

static int pipeline(struct scope *scope, struct view *rest, json **ret_value, struct err *err);

static int operand(struct scope *scope, struct view *rest, json **ret_value, struct err *err)
{
	if (rest->data[0] == '"' || rest->data[0] == '`')
		return quoted_operand(rest, ret_value, err);
	if (rest->data[0] == '(') {
		*rest = (struct view){ rest->data + 1, rest->len - 1 };
		int r = pipeline(scope, rest, ret_value, err);
		if (r == 0 && view_starts(*rest, ")"))
			*rest = (struct view){ rest->data + 1, rest->len - 1 };
		return r;
	}
	struct view word = take_word(rest);
	int64_t number;
	if (view_starts(word, "$"))
		return field(scope->root, (struct view){ word.data + 1, word.len - 1 }, ret_value,
			err);
	if (view_starts(word, "."))
		return field(scope->dot, word, ret_value, err);
	if (num_parse(word, INT64_MIN, INT64_MAX, &number) == 0)
		*ret_value = json_object_new_int64(number);
	else if (view_is(word, "true") || view_is(word, "false"))
		*ret_value = json_object_new_boolean(view_is(word, "true"));
	else
		return err_set(err, ERR_INVALID, "template: function \"%.*s\" not defined",
			(int)word.len, word.data);
	return 0;
}

static bool starts_function(struct view rest)
{
	return rest.len > 0 && isalpha((unsigned char)rest.data[0]) && !view_starts(rest, "true") &&
	       !view_starts(rest, "false");
}

/* One command of a pipeline; piped, if any, becomes the last operand. */
static int command(struct scope *scope, struct view *rest, json *take_piped, json **ret_value,
	struct err *err)
{
	json *operands[OPERANDS_MAX] = { NULL };
	size_t len = 0;
	struct view name = { 0 };
	int r = 0;
	if (starts_function(*rest)) {
		name = take_word(rest);
	} else if (view_starts(*rest, ".Label ")) {
		name = take_word(rest);
		operands[len++] = json_object_get(scope->dot);
	}
	for (skip_space(rest); r == 0 && rest->len > 0 && rest->data[0] != '|' &&
			       rest->data[0] != ')' && len < OPERANDS_MAX - 1;
		skip_space(rest)) {
		r = operand(scope, rest, &operands[len], err);
		len += r == 0;
	}
	if (take_piped != NULL)
		operands[len++] = take_piped;
	if (r == 0 && name.len == 0) {
		if (len == 1)
			*ret_value = json_object_get(operands[0]);
		else
			r = err_set(err, ERR_INVALID, "template: one value was expected");
	} else if (r == 0) {
		r = err_set(err, ERR_INVALID, "template: function \"%.*s\" not defined",
			(int)name.len, name.data);
		for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
			if (!view_is(name, functions[i].name))
				continue;
			r = len < functions[i].min_operands
				    ? err_set(err, ERR_INVALID,
					      "template: \"%s\" wants more operands",
					      functions[i].name)
				    : functions[i].run(operands, len, ret_value, err);
		}
	}
	for (size_t i = 0; i < len; i++)
		json_object_put(operands[i]);
	return r;
}

static int pipeline(struct scope *scope, struct view *rest, json **ret_value, struct err *err)
{
	json *value = NULL;
	if (++scope->depth > DEPTH_MAX)
		return err_set(err, ERR_LIMIT, "template: nested too deep");
	skip_space(rest);
	int r = command(scope, rest, NULL, &value, err);
	for (skip_space(rest); r == 0 && view_starts(*rest, "|"); skip_space(rest)) {
		*rest = (struct view){ rest->data + 1, rest->len - 1 };
		skip_space(rest);
		json *piped = value;
		value = NULL;
		r = command(scope, rest, piped, &value, err);
	}
	scope->depth--;
	if (r == 0)
		*ret_value = value;
	return r;
}

/* ---- text and actions ---- */

/* The next "{{...}}": *before gets the text in front, *action its inside, *rest what follows. */
static bool next_action(struct view *rest, struct view *before, struct view *action)
{
	const char *open = memmem(rest->data, rest->len, "{{", 2);
	if (open == NULL)
		return false;
	size_t left = rest->len - (size_t)(open + 2 - rest->data);
	const char *close = memmem(open + 2, left, "}}", 2);
	if (close == NULL)
		return false;
	*before = (struct view){ rest->data, (size_t)(open - rest->data) };
	*action = view_trim((struct view){ open + 2, (size_t)(close - open - 2) });
	*rest = (struct view){ close + 2, rest->len - (size_t)(close + 2 - rest->data) };
	return true;
}

static bool is_keyword(struct view action, const char *word)
{
	size_t len = strlen(word);
	return view_starts(action, word) &&
	       (action.len == len || isspace((unsigned char)action.data[len]));
}

static bool opens_block(struct view action)
{
	return is_keyword(action, "if") || is_keyword(action, "range") ||
	       is_keyword(action, "with");
}

/* Splits a block at its own else and end. */
static int cut_block(struct view *rest, struct view *body, struct view *otherwise, struct err *err)
{
	const char *start = rest->data;
	const char *else_at = NULL, *else_end = NULL;
	struct view before, action;
	for (int depth = 1; next_action(rest, &before, &action);) {
		if (opens_block(action))
			depth++;
		if (depth == 1 && is_keyword(action, "else")) {
			else_at = before.data + before.len;
			else_end = rest->data;
		}
		if (is_keyword(action, "end") && --depth == 0) {
			const char *end = before.data + before.len;
			*body = (struct view){ start,
				(size_t)((else_at != NULL ? else_at : end) - start) };
			*otherwise = (struct view){ else_end,
				else_end != NULL ? (size_t)(end - else_end) : 0 };
			return 0;
		}
	}
	return err_set(err, ERR_INVALID, "template: unexpected end: an {{end}} is missing");
}

static int run_text(struct scope *scope, struct view rest, struct text *out, struct err *err);

static int run_in(const struct scope *scope, json *dot, struct view body, struct text *out,
	struct err *err)
{
	struct scope inner = { .root = scope->root, .dot = dot, .depth = scope->depth + 1 };
	if (inner.depth > DEPTH_MAX)
		return err_set(err, ERR_LIMIT, "template: nested too deep");
	return run_text(&inner, body, out, err);
}

static int run_range(const struct scope *scope, json *value, struct view body, struct text *out,
	struct err *err)
{
	int r = 0;
	if (json_object_is_type(value, json_type_array)) {
		for (size_t i = 0; r == 0 && i < json_array_len(value); i++)
			r = run_in(scope, json_object_array_get_idx(value, i), body, out, err);
		return r;
	}
	if (!json_object_is_type(value, json_type_object))
		return err_set(err, ERR_INVALID, "template: range can't iterate over the value");
	json_object_object_foreach (value, key, part) {
		(void)key;
		r = run_in(scope, part, body, out, err);
		if (r < 0)
			break;
	}
	return r;
}

static int run_block(struct scope *scope, struct view action, struct view *rest, struct text *out,
	struct err *err)
{
	struct view body, otherwise, expression = action;
	(void)take_word(&expression);
	AUTO_JSON value = NULL;
	int r = cut_block(rest, &body, &otherwise, err);
	if (r == 0)
		r = pipeline(scope, &expression, &value, err);
	if (r != 0)
		return r;
	if (!is_true(value))
		return otherwise.len > 0 ? run_in(scope, scope->dot, otherwise, out, err) : 0;
	if (is_keyword(action, "range"))
		return run_range(scope, value, body, out, err);
	return run_in(scope, is_keyword(action, "with") ? value : scope->dot, body, out, err);
}

static int run_text(struct scope *scope, struct view rest, struct text *out, struct err *err)
{
	struct view before, action;
	while (next_action(&rest, &before, &action)) {
		text_add(out, before.data, before.len);
		int r;
		if (opens_block(action)) {
			r = run_block(scope, action, &rest, out, err);
		} else {
			AUTO_JSON value = NULL;
			r = pipeline(scope, &action, &value, err);
			if (r == 0)
				print_value(value, out);
		}
		if (r < 0)
			return r;
	}
	text_add(out, rest.data, rest.len);
	return 0;
}

int template_parse(const char *text, struct template **ret_template, struct err *err)
{
	struct view rest = view_of(text), before, action;
	while (next_action(&rest, &before, &action))
		continue;
	if (rest.len > 0 && memmem(rest.data, rest.len, "{{", 2) != NULL)
		return err_set(err, ERR_INVALID, "template: unclosed action in \"%s\"", text);
	struct template *template = NEW(template);
	template->is_table = strncmp(text, "table ", 6) == 0;
	AUTO_DONE(text) plain = { 0 };
	for (const char *p = template->is_table ? text + 6 : text; *p != 0; p++) {
		bool is_tab = p[0] == '\\' && p[1] == 't', is_line = p[0] == '\\' && p[1] == 'n';
		text_add(&plain, is_tab ? "\t" : is_line ? "\n" : p, 1);
		p += is_tab || is_line;
	}
	template->text = text_take(&plain);
	*ret_template = template;
	return 0;
}

void template_free(struct template *template)
{
	if (template == NULL)
		return;
	free(template->text);
	free(template);
}

bool template_is_table(const struct template *template)
{
	return template->is_table;
}

int template_run(const struct template *template, json *value, struct text *out, struct err *err)
{
	struct scope scope = { .root = value, .dot = value };
	return run_text(&scope, view_of(template->text), out, err);
}
