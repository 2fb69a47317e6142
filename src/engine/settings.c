#include "engine/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/quote.h"

static const struct row {
	const char *section, *key;
	size_t field; /* its place in struct settings: a bool */
} rows[] = {
#define SETTING_BOOL(section, key, field, fallback) \
	{ section, key, offsetof(struct settings, field) },
#include "engine/settings.def"
#undef SETTING_BOOL
};

static const struct settings fallbacks = {
#define SETTING_BOOL(section, key, field, fallback) .field = fallback,
#include "engine/settings.def"
#undef SETTING_BOOL
};

/* key NULL: any of the section. */
static const struct row *find(const char *section, const char *key)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (strcmp(rows[i].section, section) == 0 &&
			(key == NULL || strcmp(rows[i].key, key) == 0))
			return &rows[i];
	return NULL;
}

static int refuse(const char *path, const char *section, const char *key, const char *what,
	struct err *err)
{
	AUTO_FREE char *quoted_section = quote_string(section);
	AUTO_FREE char *quoted_key = quote_string(key);
	return err_set(err, ERR_INVALID,
		"\"%s\": \"%.64s%s%.64s\" is %s (moat(1) lists the settings)", path, quoted_section,
		key[0] != '\0' ? "." : "", quoted_key, what);
}

static int take_section(const char *path, const char *section, json *values,
	struct settings *settings, struct err *err)
{
	if (find(section, NULL) == NULL)
		return refuse(path, section, "", "unknown", err);
	if (!json_object_is_type(values, json_type_object))
		return refuse(path, section, "", "no object of settings", err);
	json_object_object_foreach (values, key, value) {
		const struct row *row = find(section, key);
		if (row == NULL)
			return refuse(path, section, key, "unknown", err);
		if (!json_object_is_type(value, json_type_boolean))
			return refuse(path, section, key, "neither true nor false", err);
		*(bool *)((char *)settings + row->field) = json_object_get_boolean(value);
	}
	return 0;
}

int settings_read(const struct engine *engine, struct settings *ret_settings, struct err *err)
{
	AUTO_DONE(text) text = { 0 };
	*ret_settings = fallbacks;
	int r = file_read_at(AT_FDCWD, engine->config, LIMIT_JSON_BYTES, &text, NULL);
	if (r == -ENOENT || r == -ENOTDIR)
		return 0;
	if (r < 0)
		return err_sys(err, -r, "read the configuration \"%s\"", engine->config);
	AUTO_JSON document = NULL;
	AUTO_FREE char *what = text_format("the configuration \"%s\"", engine->config);
	r = json_parse(view_of_text(&text), what, &document, err);
	if (r < 0)
		return r;
	if (!json_object_is_type(document, json_type_object))
		return err_set(err, ERR_INVALID, "%s is not a JSON object", what);
	json_object_object_foreach (document, section, values) {
		r = take_section(engine->config, section, values, ret_settings, err);
		if (r < 0)
			return r;
	}
	return 0;
}
