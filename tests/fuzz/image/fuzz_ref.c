/* image_ref_parse: whatever is accepted has one full form, which reads back as itself, and so does
 * the familiar form. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "image/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(const char *text, const char *full)
{
	struct err err = { 0 };
	AUTO_DONE(image_ref) ref = { 0 };
	CHECK(image_ref_parse(text, &ref, &err) >= 0);
	AUTO_FREE char *again = image_ref_full(&ref);
	CHECK(strcmp(again, full) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FREE char *text = view_dup((struct view){ (const char *)data, size });
	struct err err = { 0 };
	AUTO_DONE(image_ref) ref = { 0 };
	if (image_ref_parse(text, &ref, &err) < 0) {
		CHECK(err.kind == ERR_INVALID && ref.repository == NULL);
		return 0;
	}
	CHECK((ref.tag == NULL) == digest_is_set(&ref.digest));
	for (const char *c = ref.repository; *c != 0; c++)
		CHECK(*c > ' ' && *c < 127);
	AUTO_FREE char *full = image_ref_full(&ref);
	AUTO_FREE char *familiar = image_ref_familiar(&ref);
	check_same(full, full);
	check_same(familiar, full);
	return 0;
}
