/* An index offers one image for several machines; the descriptor's platform says which is whose.
 * Variants: an image for a later one than the table's may use instructions this machine lacks, so
 * only the baseline is taken. */
#include "image/image_platform.h"

#include <string.h>
#include <sys/utsname.h>

#include "base/mem.h"

static const struct image_platform platforms[] = {
	{ "aarch64", "arm64", "v8" },
	{ "armv7l", "arm", "v7" },
	{ "i686", "386", NULL },
	{ "loongarch64", "loong64", NULL },
	{ "ppc64le", "ppc64le", NULL },
	{ "riscv64", "riscv64", NULL },
	{ "s390x", "s390x", NULL },
	{ "x86_64", "amd64", "v1" },
};

struct image_platform image_platform_host(void)
{
	struct utsname name;
	CHECK(uname(&name) == 0);
	for (size_t i = 0; i < ARRAY_LEN(platforms); i++)
		if (strcmp(platforms[i].machine, name.machine) == 0)
			return platforms[i];
	return (struct image_platform){ "", "unknown", NULL };
}

static bool is_equal(const char *text, const char *wanted)
{
	return text != NULL && wanted != NULL && strcmp(text, wanted) == 0;
}

bool image_platform_is_host(json *platform)
{
	struct image_platform host = image_platform_host();
	if (!is_equal(json_get_string(platform, "os"), IMAGE_PLATFORM_OS) ||
		!is_equal(json_get_string(platform, "architecture"), host.architecture))
		return false;
	const char *variant = json_get_string(platform, "variant");
	return variant == NULL || variant[0] == 0 || is_equal(variant, host.variant);
}
