/* template_parse and template_run over a document as inspect has it. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "cli/command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char document[] =
	"{\"Id\":\"abc\",\"State\":{\"Running\":true,\"Pid\":7},\"Names\":[\"a\",[1,2],{\"b\":3}],"
	"\"Labels\":\"k=v,x\",\"Empty\":[],\"Nothing\":null,\"Number\":1.5}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FREE char *text = view_dup((struct view){ (const char *)data, size });
	AUTO_JSON value = NULL;
	AUTO(template) template = NULL;
	AUTO_DONE(text) out = { 0 };
	struct err err = { 0 };
	CHECK(json_parse(view_of(document), "document", &value, NULL) == 0);
	if (template_parse(text, &template, &err) < 0 ||
		template_run(template, value, &out, &err) < 0)
		CHECK(err.message[0] != 0);
	return 0;
}
