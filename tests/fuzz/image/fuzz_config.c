/* image_config_parse, and inspect of what it accepts. */
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/mem.h"
#include "image/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = { 0 };
	AUTO_DONE(image_config) config = { 0 };
	if (image_config_parse((struct view){ (const char *)data, size }, &config, &err) < 0) {
		CHECK(err.kind != ERR_NONE && config.diff_ids == NULL);
		return 0;
	}
	CHECK(config.diff_ids_len <= LIMIT_LAYERS);
	for (size_t i = 0; i < config.diff_ids_len; i++)
		CHECK(digest_is_set(&config.diff_ids[i]));
	const struct strv none = { 0 };
	const struct image_facts facts = { .references = &none };
	AUTO_JSON document = image_inspect(&config, &facts);
	AUTO_FREE char *text = json_text(document, false);
	CHECK(text != NULL);
	return 0;
}
