/* quote - see quote.h.  UTF-8 is decoded strictly (no overlong forms, no surrogates, RFC 3629), so
 * what a terminal makes of the result is what was checked here. */
#include "base/quote.h"

#include <stdint.h>
#include <string.h>

/* Code points that change what a terminal shows without being seen. */
static const struct range {
	uint32_t first, last;
} hidden[] = {
	{ 0x0000, 0x001f }, /* C0 */
	{ 0x007f, 0x009f }, /* DEL and C1: 0x9b alone starts an escape sequence */
	{ 0x2028, 0x202e }, /* line and paragraph separator, bidirectional overrides */
	{ 0x2066, 0x2069 }, /* bidirectional isolates */
};

static bool is_hidden(uint32_t code_point)
{
	for (size_t i = 0; i < ARRAY_LEN(hidden); i++) {
		if (code_point >= hidden[i].first && code_point <= hidden[i].last)
			return true;
	}
	return false;
}

/* The length of the well-formed UTF-8 sequence at the start of bytes, or 0. */
static size_t decode(struct view bytes, uint32_t *ret_code_point)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint8_t lead = (uint8_t)bytes.data[0];
	if (lead < 0x80) {
		*ret_code_point = lead;
		return 1;
	}
	size_t len = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
	if (lead < 0xc2 || lead > 0xf4 || bytes.len < len)
		return 0;
	uint32_t code_point = lead & (0x7fU >> len);
	for (size_t i = 1; i < len; i++) {
		uint8_t next = (uint8_t)bytes.data[i];
		if ((next & 0xc0) != 0x80)
			return 0;
		code_point = code_point << 6 | (next & 0x3fU);
	}
	if (code_point < smallest[len] || code_point > 0x10ffff ||
		(code_point >= 0xd800 && code_point <= 0xdfff))
		return 0;
	*ret_code_point = code_point;
	return len;
}

void quote_add(struct text *out, struct view outside)
{
	while (outside.len > 0) {
		uint32_t code_point = 0;
		size_t len = decode(outside, &code_point);
		if (len > 0 && !is_hidden(code_point))
			text_add(out, outside.data, len);
		else if (len == 1 && code_point == '\n')
			text_puts(out, "\\n");
		else if (len == 1 && code_point == '\t')
			text_puts(out, "\\t");
		else {
			len = len > 0 ? len : 1;
			for (size_t i = 0; i < len; i++)
				text_printf(out, "\\x%02x", (unsigned)(uint8_t)outside.data[i]);
		}
		outside.data += len;
		outside.len -= len;
	}
}

bool quote_is_utf8(const char *string)
{
	struct view rest = view_of(string);
	while (rest.len > 0) {
		uint32_t code_point;
		size_t len = decode(rest, &code_point);
		if (len == 0)
			return false;
		rest = (struct view){ rest.data + len, rest.len - len };
	}
	return true;
}

char *quote_string(const char *outside)
{
	struct text out = { 0 };
	quote_add(&out, view_of(outside));
	return text_take(&out);
}

void quote_flatten(char *line)
{
	struct view rest = view_of(line);
	while (rest.len > 0) {
		uint32_t code_point = 0;
		size_t len = decode(rest, &code_point);
		bool ok = len > 0 && !is_hidden(code_point);
		len = len > 0 ? len : 1;
		if (!ok)
			memset(line, '?', len);
		line += len;
		rest.data += len;
		rest.len -= len;
	}
}
