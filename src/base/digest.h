/* digest - SHA-256 (GnuTLS, loaded on first use) and the text of OCI digests. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/text.h"

#define DIGEST_HEX_LEN 64
#define DIGEST_TEXT_LEN (7 + DIGEST_HEX_LEN) /* "sha256:" and the hex digits */

/* A digest as lower-case hex, zero-terminated; hex[0] == 0 means none. */
struct digest {
	char hex[DIGEST_HEX_LEN + 1];
};

struct digest_hash;

/* Loads the library: call before entering a jail. */
MUST_CHECK int digest_init(struct err *err);
MUST_CHECK int digest_hash_new(struct digest_hash **ret_hash, struct err *err);
void digest_hash_free(struct digest_hash *hash);
DEFINE_AUTO(digest_hash)
void digest_hash_add(struct digest_hash *hash, const void *bytes, size_t len);
void digest_hash_end(struct digest_hash *hash, struct digest *ret_digest);

MUST_CHECK int digest_of(struct view bytes, struct digest *ret_digest, struct err *err);

/* "sha256:" and 64 lower-case hex digits, nothing else (THREATS rule 8). */
MUST_CHECK int digest_parse(struct view text, struct digest *ret_digest, struct err *err);
bool digest_is(const struct digest *a, const struct digest *b);
bool digest_is_set(const struct digest *digest);
const char *digest_text(const struct digest *digest, char buffer[DIGEST_TEXT_LEN + 1]);
