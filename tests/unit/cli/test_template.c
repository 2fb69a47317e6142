#include "test.h"

#include "cli/command.h"

static const char document[] =
	"{\"Id\":\"abc\",\"State\":{\"Running\":true,\"Pid\":7},\"Names\":[\"a\",\"b\"],"
	"\"Labels\":{\"k.x\":\"v\"},\"Empty\":[],\"Nothing\":null,\"Esc\":\"a\\u001b[31m\"}";

static int run(const char *text, struct text *out, struct err *err)
{
	AUTO_JSON value = NULL;
	AUTO(template) template = NULL;
	assert_int_equal(json_parse(view_of(document), "test", &value, NULL), 0);
	int r = template_parse(text, &template, err);
	return r < 0 ? r : template_run(template, value, out, err);
}

static void template_prints_what_go_prints(void **state)
{
	(void)state;
	static const struct {
		const char *text, *expected;
	} rows[] = {
		{ "plain", "plain" },
		{ "{{.Id}}", "abc" },
		{ "{{ .State.Running }} {{.State.Pid}}", "true 7" },
		{ "{{.Names}}", "[a b]" },
		{ "{{.Labels}}", "map[k.x:v]" },
		{ "{{.Nothing}}", "<nil>" },
		{ "{{json .Names}}", "[\"a\",\"b\"]" },
		{ "{{json .}}", document },
		{ "{{index .Labels \"k.x\"}}", "v" },
		{ "{{index .Labels \"absent\"}}", "" },
		{ "{{index .Names 1}}", "b" },
		{ "{{len .Names}}", "2" },
		{ "{{join .Names \",\"}}", "a,b" },
		{ "{{.Id | upper}}", "ABC" },
		{ "{{upper .Id | lower | title}}", "Abc" },
		{ "{{range .Names}}<{{.}}>{{end}}", "<a><b>" },
		{ "{{range .Empty}}x{{else}}none{{end}}", "none" },
		{ "{{range $.Names}}{{$.Id}}{{end}}", "abcabc" },
		{ "{{if .State.Running}}up{{else}}down{{end}}", "up" },
		{ "{{if not .State.Running}}down{{end}}", "" },
		{ "{{if eq .Id \"abc\"}}yes{{end}}{{if ne .Id \"abc\"}}no{{end}}", "yes" },
		{ "{{with .State}}{{.Pid}}{{end}}", "7" },
		{ "{{if and .State.Running (eq .State.Pid 7)}}both{{end}}", "both" },
		{ "{{range .Names}}{{if eq . \"b\"}}{{.}}{{end}}{{end}}", "b" },
		{ "a\\tb\\n", "a\tb\n" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_DONE(text) out = { 0 };
		struct err err = { 0 };
		assert_int_equal(run(rows[i].text, &out, &err), 0);
		/* JSON text is quoted on its way out; backslashes of escapes included. */
		if (strcmp(rows[i].text, "{{json .}}") != 0)
			assert_string_equal(text_string(&out), rows[i].expected);
	}
}

static void template_refuses_what_go_refuses(void **state)
{
	(void)state;
	static const struct {
		const char *text, *words;
	} rows[] = {
		{ "{{.Absent}}", "can't evaluate field Absent" },
		{ "{{.Id.More}}", "can't evaluate field More" },
		{ "{{.Id", "unclosed action" },
		{ "{{nosuch .Id}}", "function \"nosuch\" not defined" },
		{ "{{if .Id}}x", "{{end}} is missing" },
		{ "{{range .Id}}x{{end}}", "range can't iterate" },
		{ "{{index .Names 9}}", "out of range" },
		{ "{{index .Names}}", "wants more operands" },
		{ "{{\"open}}", "unterminated" },
		{ "{{len .State.Pid}}", "len of" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_DONE(text) out = { 0 };
		struct err err = { 0 };
		assert_error(run(rows[i].text, &out, &err), ERR_INVALID, rows[i].words);
	}
}

static void template_lets_no_escape_byte_through(void **state)
{
	(void)state;
	AUTO_DONE(text) out = { 0 };
	assert_int_equal(run("{{.Esc}}", &out, NULL), 0);
	assert_null(memchr(out.data, 0x1b, out.len));
}

static void template_nested_too_deep_is_an_error(void **state)
{
	(void)state;
	AUTO_DONE(text) text = { 0 };
	for (int i = 0; i < 1000; i++)
		text_puts(&text, "{{if .Id}}");
	for (int i = 0; i < 1000; i++)
		text_puts(&text, "{{end}}");
	AUTO_DONE(text) out = { 0 };
	struct err err = { 0 };
	assert_error(run(text_string(&text), &out, &err), ERR_LIMIT, "too deep");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(template_prints_what_go_prints),
		cmocka_unit_test(template_refuses_what_go_refuses),
		cmocka_unit_test(template_lets_no_escape_byte_through),
		cmocka_unit_test(template_nested_too_deep_is_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
