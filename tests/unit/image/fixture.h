/* fixture - an archive in memory: named members, and documents put in by their digest. */
#pragma once

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "image/image.h"

#define OCI "application/vnd.oci.image."
#define INDEX OCI "index.v1+json"
#define MANIFEST OCI "manifest.v1+json"
#define CONFIG OCI "config.v1+json"
#define LAYER OCI "layer.v1.tar+gzip"
#define DOCKER "application/vnd.docker."

struct fixture {
	char *names[64]; /* owned */
	char *bytes[64]; /* owned, C strings */
	size_t len;
	struct image_archive archive;
	struct err err;
	unsigned reads;
};

static inline int fixture_read(void *context, const char *name, uint64_t max_bytes,
	struct text *ret_text, struct err *err)
{
	struct fixture *f = context;
	f->reads++;
	/* The last one put counts, as in a tar. */
	for (size_t i = f->len; i-- > 0;)
		if (strcmp(f->names[i], name) == 0) {
			if (strlen(f->bytes[i]) > max_bytes)
				return err_set(err, ERR_LIMIT, "%s is too long", name);
			text_puts(ret_text, f->bytes[i]);
			return 0;
		}
	return err_set(err, ERR_NOT_FOUND, "the archive has no %s", name);
}

static inline bool fixture_has(void *context, const char *name)
{
	struct fixture *f = context;
	for (size_t i = 0; i < f->len; i++)
		if (strcmp(f->names[i], name) == 0)
			return true;
	return false;
}

static inline int fixture_setup(void **context)
{
	*context = NEW(fixture);
	return 0;
}

static inline int fixture_teardown(void **context)
{
	struct fixture *f = *context;
	image_archive_done(&f->archive);
	for (size_t i = 0; i < f->len; i++) {
		free(f->names[i]);
		free(f->bytes[i]);
	}
	free(f);
	return 0;
}

#define IMAGE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

static inline void put(struct fixture *f, const char *name, const char *bytes)
{
	assert_true(f->len < ARRAY_LEN(f->names));
	f->names[f->len] = mem_strdup(name);
	f->bytes[f->len++] = mem_strdup(bytes);
}

/* Puts a blob and returns its descriptor without the closing brace, so that more may follow. */
static inline char *put_blob(struct fixture *f, const char *media_type, const char *bytes)
{
	struct digest digest;
	assert_int_equal(digest_of(view_of(bytes), &digest, &f->err), 0);
	AUTO_FREE char *name = text_format("blobs/sha256/%s", digest.hex);
	put(f, name, bytes);
	return text_format("{\"mediaType\":\"%s\",\"digest\":\"sha256:%s\",\"size\":%zu",
		media_type, digest.hex, strlen(bytes));
}

static inline int fixture_load(struct fixture *f)
{
	struct image_members members = { f, fixture_read, fixture_has };
	image_archive_done(&f->archive);
	return image_archive_read(&members, &f->archive, &f->err);
}

#define HEX_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HEX_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

/* A configuration with one or two diff-ids; comment makes it another image. */
static inline char *config_text(size_t layers, const char *comment)
{
	return text_format("{\"architecture\":\"amd64\",\"os\":\"linux\",\"comment\":\"%s\","
			   "\"config\":{\"Cmd\":[\"sh\"]},\"rootfs\":{\"type\":\"layers\","
			   "\"diff_ids\":[\"sha256:" HEX_A "\"%s]}}",
		comment, layers > 1 ? ",\"sha256:" HEX_B "\"" : "");
}

/* Puts configuration and manifest of an image with one layer; returns the manifest's open
 * descriptor. */
static inline char *put_image_as(struct fixture *f, const char *comment, const char *manifest_type,
	const char *config_type, const char *layer_type)
{
	AUTO_FREE char *text = config_text(1, comment);
	AUTO_FREE char *config = put_blob(f, config_type, text);
	AUTO_FREE char *manifest =
		text_format("{\"schemaVersion\":2,\"mediaType\":\"%s\",\"config\":%s},\"layers\":[{"
			    "\"mediaType\":\"%s\",\"digest\":\"sha256:" HEX_B "\",\"size\":123}]}",
			manifest_type, config, layer_type);
	return put_blob(f, manifest_type, manifest);
}

static inline char *put_image(struct fixture *f, const char *comment)
{
	return put_image_as(f, comment, MANIFEST, CONFIG, LAYER);
}

/* The layout file and index.json with this list of descriptors. */
static inline void put_index(struct fixture *f, const char *manifests)
{
	AUTO_FREE char *index = text_format("{\"schemaVersion\":2,\"manifests\":[%s]}", manifests);
	put(f, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
	put(f, "index.json", index);
}
