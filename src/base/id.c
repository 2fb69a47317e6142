/* id - see id.h. */
#include "base/id.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/mem.h"

static const char *const adjectives[] = {
#define ADJECTIVE(word) word,
#define SURNAME(word)
#include "base/names.def"
#undef ADJECTIVE
#undef SURNAME
};

static const char *const surnames[] = {
#define ADJECTIVE(word)
#define SURNAME(word) word,
#include "base/names.def"
#undef ADJECTIVE
#undef SURNAME
};

static void fill_random(void *bytes, size_t len)
{
	ssize_t n;
	/* Up to 256 bytes come whole once the kernel's source is seeded (getrandom(2)). */
	do
		n = getrandom(bytes, len, 0);
	while (n < 0 && errno == EINTR);
	CHECK(n == (ssize_t)len);
}

void id_new(char id[ID_LEN + 1])
{
	static const char digits[] = "0123456789abcdef";
	do {
		uint8_t bytes[ID_LEN / 2];
		fill_random(bytes, sizeof(bytes));
		for (size_t i = 0; i < sizeof(bytes); i++) {
			id[2 * i] = digits[bytes[i] >> 4];
			id[2 * i + 1] = digits[bytes[i] & 15];
		}
		id[ID_LEN] = '\0';
	} while (strspn(id, "0123456789") >= ID_SHORT_LEN);
}

bool id_is(const char *text)
{
	return strlen(text) == ID_LEN && strspn(text, "0123456789abcdef") == ID_LEN;
}

void id_random_name(char name[ID_NAME_MAX])
{
	/* 32 bits against a few hundred words: the bias is one in ten million. */
	uint32_t random[2];
	fill_random(random, sizeof(random));
	(void)snprintf(name, ID_NAME_MAX, "%s_%s", adjectives[random[0] % ARRAY_LEN(adjectives)],
		surnames[random[1] % ARRAY_LEN(surnames)]);
}

static bool is_alphanumeric(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

bool id_name_is_valid(const char *name)
{
	size_t len = 0;
	while (is_alphanumeric(name[len]) ||
		(len > 0 && name[len] != '\0' && strchr("_.-", name[len]) != NULL))
		len++;
	return name[len] == '\0' && len >= 2 && len <= ID_VALID_NAME_MAX;
}
