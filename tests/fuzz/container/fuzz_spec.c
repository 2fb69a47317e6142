/* fuzz_spec - any document is taken or refused with a reason; a taken one has a filter. */
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "container/container_spec.h"
#include "container/seccomp_filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = { 0 };
	AUTO_JSON document = NULL;
	AUTO(container_spec) spec = NULL;
	if (json_parse((struct view){ (const char *)data, size }, "input", &document, &err) < 0)
		return 0;
	if (container_spec_parse(document, &spec, &err) < 0) {
		CHECK(spec == NULL && err.kind != ERR_NONE && err.message[0] != '\0');
		return 0;
	}
	CHECK(spec_namespace_find(spec, 0x00020000) != NULL); /* CLONE_NEWNS */
	for (size_t i = 0; i < spec->mounts_len; i++)
		CHECK(spec->mounts[i].destination[0] == '/');
	if (spec->seccomp != SECCOMP_CUSTOM)
		return 0;
	AUTO_DONE(text) bpf = { 0 };
	if (seccomp_compile_profile(spec->seccomp_profile, &bpf, &err) < 0)
		CHECK(err.kind != ERR_NONE);
	return 0;
}
