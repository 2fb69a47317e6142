/* digest - see digest.h.  GnuTLS is loaded when the first hash is wanted: loading costs a
 * millisecond (75 relocated libraries would be the price of linking it), and most commands hash
 * nothing.  Only five of its functions are used, so their prototypes stand here and its headers are
 * not needed. */
#include "base/digest.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/library.h"
#include "base/mem.h"

/* gnutls/crypto.h, gnutls/gnutls.h */
typedef void *gnutls_hash_hd_t;
enum { GNUTLS_DIG_SHA256 = 6, SHA256_BYTES = 32 };

struct gnutls {
	int (*hash_init)(gnutls_hash_hd_t *handle, int algorithm);
	int (*hash)(gnutls_hash_hd_t handle, const void *bytes, size_t len);
	void (*hash_output)(gnutls_hash_hd_t handle, void *digest);
	void (*hash_deinit)(gnutls_hash_hd_t handle, void *digest);
	int (*hash_fast)(int algorithm, const void *bytes, size_t len, void *digest);
};

/* The library, loaded once and for all: a process can have it only once, and dlclose() would pull
 * it from under others who loaded it. */
static struct {
	pthread_once_t once;
	struct gnutls gnutls;
	struct err err; /* why loading failed; kind is ERR_NONE when it did not */
} library = { .once = PTHREAD_ONCE_INIT };

static void load(void)
{
	static const struct library gnutls = { "libgnutls.so.30", "libgnutls30", "for SHA-256" };
	const struct library_symbol symbols[] = {
		{ "gnutls_hash", &library.gnutls.hash },
		{ "gnutls_hash_deinit", &library.gnutls.hash_deinit },
		{ "gnutls_hash_fast", &library.gnutls.hash_fast },
		{ "gnutls_hash_init", &library.gnutls.hash_init },
		{ "gnutls_hash_output", &library.gnutls.hash_output },
	};
	if (library_load(&gnutls, symbols, ARRAY_LEN(symbols), &library.err) < 0)
		return;
	/* What it opens or asks the processor on first use happens now, before a jail is closed. */
	unsigned char digest[SHA256_BYTES];
	if (library.gnutls.hash_fast(GNUTLS_DIG_SHA256, "", 0, digest) < 0)
		(void)err_set(&library.err, ERR_UNSUPPORTED,
			"libgnutls.so.30 cannot compute SHA-256 here");
}

int digest_init(struct err *err)
{
	(void)pthread_once(&library.once, load);
	return library.err.kind == ERR_NONE ? 0 : err_copy(err, &library.err);
}

struct digest_hash {
	gnutls_hash_hd_t handle; /* owned */
};

int digest_hash_new(struct digest_hash **ret_hash, struct err *err)
{
	int r = digest_init(err);
	if (r < 0)
		return r;
	gnutls_hash_hd_t handle;
	if (library.gnutls.hash_init(&handle, GNUTLS_DIG_SHA256) < 0)
		return err_set(err, ERR_SYSTEM, "start a SHA-256 sum");
	struct digest_hash *hash = NEW(digest_hash);
	hash->handle = handle;
	*ret_hash = hash;
	return 0;
}

void digest_hash_free(struct digest_hash *hash)
{
	if (hash == NULL)
		return;
	library.gnutls.hash_deinit(hash->handle, NULL);
	free(hash);
}

void digest_hash_add(struct digest_hash *hash, const void *bytes, size_t len)
{
	CHECK(library.gnutls.hash(hash->handle, bytes, len) == 0);
}

static void to_hex(const unsigned char bytes[SHA256_BYTES], struct digest *ret_digest)
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < SHA256_BYTES; i++) {
		ret_digest->hex[2 * i] = digits[bytes[i] >> 4];
		ret_digest->hex[2 * i + 1] = digits[bytes[i] & 15];
	}
	ret_digest->hex[DIGEST_HEX_LEN] = '\0';
}

void digest_hash_end(struct digest_hash *hash, struct digest *ret_digest)
{
	unsigned char bytes[SHA256_BYTES];
	library.gnutls.hash_output(hash->handle, bytes);
	to_hex(bytes, ret_digest);
}

int digest_of(struct view bytes, struct digest *ret_digest, struct err *err)
{
	int r = digest_init(err);
	if (r < 0)
		return r;
	unsigned char sum[SHA256_BYTES];
	const char *data = bytes.len > 0 ? bytes.data : "";
	if (library.gnutls.hash_fast(GNUTLS_DIG_SHA256, data, bytes.len, sum) < 0)
		return err_set(err, ERR_SYSTEM, "compute a SHA-256 sum");
	to_hex(sum, ret_digest);
	return 0;
}

int digest_parse(struct view text, struct digest *ret_digest, struct err *err)
{
	bool ok = text.len == DIGEST_TEXT_LEN && view_starts(text, "sha256:");
	for (size_t i = 7; ok && i < text.len; i++)
		ok = (text.data[i] >= '0' && text.data[i] <= '9') ||
		     (text.data[i] >= 'a' && text.data[i] <= 'f');
	if (!ok)
		return err_set(err, ERR_INVALID,
			"not a digest: \"%.*s\" (sha256: and 64 lower-case hex digits are)",
			(int)(text.len < 128 ? text.len : 128), text.len > 0 ? text.data : "");
	memcpy(ret_digest->hex, text.data + 7, DIGEST_HEX_LEN);
	ret_digest->hex[DIGEST_HEX_LEN] = '\0';
	return 0;
}

bool digest_is(const struct digest *a, const struct digest *b)
{
	return strcmp(a->hex, b->hex) == 0;
}

bool digest_is_set(const struct digest *digest)
{
	return digest->hex[0] != '\0';
}

const char *digest_text(const struct digest *digest, char buffer[DIGEST_TEXT_LEN + 1])
{
	(void)snprintf(buffer, DIGEST_TEXT_LEN + 1, "sha256:%s", digest->hex);
	return buffer;
}
