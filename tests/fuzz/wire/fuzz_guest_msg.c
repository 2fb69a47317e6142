/* fuzz_guest_msg - a stream in pieces of any size gives the same messages as in one piece, none
 * over its limit, and memory stays within what the longest may need.  The first byte is the piece.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "wire/guest_msg.h"

enum { MAX_DATA = 8192 };

static uint64_t mix(uint64_t hash, const void *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ ((const uint8_t *)bytes)[i]) * UINT64_C(0x100000001b3);
	return hash;
}

/* What a stream says, as one number. */
static uint64_t decode(const uint8_t *data, size_t size, size_t piece)
{
	AUTO_DONE(guest_decoder) decoder;
	guest_decoder_init(&decoder, MAX_DATA);
	uint64_t hash = 1;
	for (size_t fed = 0;;) {
		struct guest_msg msg;
		int r = guest_decoder_next(&decoder, &msg);
		CHECK(decoder.capacity <= MAX_DATA + sizeof(struct guest_msg_header));
		if (r < 0)
			return hash + 1;
		if (r == 1) {
			CHECK(msg.data.len <= guest_msg_limit(msg.type));
			hash = mix(hash, &msg.type, sizeof(msg.type));
			hash = mix(hash, &msg.value, sizeof(msg.value));
			hash = mix(hash, msg.data.data, msg.data.len);
			continue;
		}
		if (fed == size)
			return hash;
		size_t n = size - fed < piece ? size - fed : piece;
		n = guest_decoder_add(&decoder, data + fed, n);
		CHECK(n > 0);
		fed += n;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	uint64_t once = decode(data + 1, size - 1, size);
	CHECK(decode(data + 1, size - 1, (size_t)data[0] + 1) == once);
	return 0;
}
