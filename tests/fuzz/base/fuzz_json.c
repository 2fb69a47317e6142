/* fuzz_json - whatever is parsed must print, and what was printed must parse to the same text. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = { 0 };
	AUTO_JSON value = NULL;
	if (json_parse((struct view){ (const char *)data, size }, "input", &value, &err) < 0) {
		CHECK(value == NULL && err.kind != ERR_NONE);
		return 0;
	}
	AUTO_FREE char *compact = json_text(value, false);
	AUTO_FREE char *pretty = json_text(value, true);
	/* Printing may be longer than the limit on what is parsed (escapes), or not. */
	AUTO_JSON again = NULL;
	if (json_parse(view_of(pretty), "pretty", &again, &err) < 0) {
		CHECK(err.kind == ERR_LIMIT);
		return 0;
	}
	AUTO_FREE char *second = json_text(again, false);
	CHECK(strcmp(compact, second) == 0);
	(void)json_get_string(value, "a");
	(void)json_get_int(value, "a", 0);
	(void)json_get_uint(value, "a", 0);
	AUTO_DONE(strv) list = { 0 };
	(void)!json_get_strv(value, "a", &list, NULL);
	return 0;
}
