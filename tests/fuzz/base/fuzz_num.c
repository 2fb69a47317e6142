/* fuzz_num - numbers, sizes, times, signals, digests and quoting: small parsers, one input. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/id.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/proc.h"
#include "base/quote.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view text = { (const char *)data, size };
	uint64_t bytes;
	int64_t n;
	int number;
	if (num_parse(text, -100, 100, &n) == 0)
		CHECK(n >= -100 && n <= 100);
	if (num_parse_octal(text, 07777, &bytes) == 0)
		CHECK(bytes <= 07777);
	if (num_parse_size(text, &bytes) == 0) {
		char buffer[NUM_SIZE_TEXT_MAX];
		CHECK(bytes <= INT64_MAX);
		CHECK(strlen(num_size_decimal(bytes, buffer)) <= 6);
		CHECK(strlen(num_size_binary(bytes, buffer)) <= 9);
	}
	if (num_parse_nano(text, &n) == 0)
		CHECK(n >= 0);
	if (clock_parse(text, 1000000000, &n) == 0) {
		/* What is printed is parsed to the same time. */
		char buffer[CLOCK_RFC3339_MAX];
		int64_t again = 0;
		CHECK(clock_parse(view_of(clock_rfc3339(n, buffer)), 0, &again) == 0 && again == n);
		char human[CLOCK_HUMAN_MAX];
		(void)clock_human_duration(n, human);
	}
	struct digest digest;
	if (digest_parse(text, &digest, NULL) == 0)
		CHECK(strlen(digest.hex) == DIGEST_HEX_LEN);

	AUTO_DONE(text) quoted = { 0 };
	quote_add(&quoted, text);
	for (size_t i = 0; i < quoted.len; i++)
		CHECK((unsigned char)quoted.data[i] >= 0x20 && quoted.data[i] != 0x7f);
	AUTO_FREE char *string = view_dup(text);
	quote_flatten(string);
	AUTO_FREE char *flat = quote_string(string);
	CHECK(strcmp(flat, string) == 0);
	if (proc_signal_parse(string, &number) == 0)
		CHECK(number >= 1 && number <= 64);
	(void)id_name_is_valid(string);
	return 0;
}
