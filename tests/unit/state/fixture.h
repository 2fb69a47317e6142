/* fixture - a database in a directory of its own, and records to put in. */
#pragma once

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/id.h"
#include "base/mem.h"
#include "base/text.h"
#include "state/state.h"

struct fixture {
	char *dir; /* owned */
	struct state *state;
	struct err err;
};

static inline int fixture_setup(void **context)
{
	struct fixture *f = NEW(fixture);
	f->dir = mem_strdup("/tmp/moat-state-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(state_open(f->dir, &f->state, &f->err), 0);
	*context = f;
	return 0;
}

static inline void fixture_unlink(const struct fixture *f, const char *name)
{
	AUTO_FREE char *path = text_format("%s/%s", f->dir, name);
	(void)unlink(path);
}

static inline int fixture_teardown(void **context)
{
	struct fixture *f = *context;
	state_free(f->state);
	fixture_unlink(f, "moat.db");
	fixture_unlink(f, "moat.db-wal");
	fixture_unlink(f, "moat.db-shm");
	assert_int_equal(rmdir(f->dir), 0);
	free(f->dir);
	free(f);
	return 0;
}

#define STATE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

/* 64 times the digit c, but for the last digits, which are those of number. */
static inline struct digest digest_make(char c, unsigned number)
{
	struct digest digest = { 0 };
	memset(digest.hex, c, DIGEST_HEX_LEN);
	for (size_t i = DIGEST_HEX_LEN; number > 0; number /= 16)
		digest.hex[--i] = "0123456789abcdef"[number % 16];
	return digest;
}

static inline struct state_layer layer_make(unsigned number)
{
	return (struct state_layer){
		.diff_id = digest_make('d', number),
		.blob = digest_make('b', number),
		.blob_bytes = 100 + number,
		.tar_bytes = 200 + number,
		.erofs_bytes = 300 + number,
		.compression = 1,
	};
}

/* Puts an image with the numbered layers (0 ends) and one reference (NULL: none). */
static inline struct digest image_put(struct fixture *f, char c, const unsigned *layers,
	const char *reference)
{
	struct state_image image = {
		.id = digest_make(c, 0),
		.manifest = digest_make('e', 7),
		.created_ns = 1000 + c,
		.loaded_ns = 5,
		.size_bytes = UINT64_C(1) << 40,
		.layers = NEW_ARRAY(state_layer, 130),
	};
	while (layers[image.layers_len] != 0) {
		image.layers[image.layers_len] = layer_make(layers[image.layers_len]);
		image.layers_len++;
	}
	AUTO_DONE(strv) references = { 0 };
	if (reference != NULL)
		strv_add(&references, reference);
	assert_int_equal(state_image_put(f->state, &image, &references, &f->err), 0);
	free(image.layers);
	return image.id;
}
#define LAYERS(...) ((const unsigned[]){ __VA_ARGS__, 0 })

static inline int workload_put(struct fixture *f, const char *id, const char *name,
	const struct digest *image)
{
	char full[ID_LEN + 1] = { 0 };
	memset(full, '0', ID_LEN);
	memcpy(full, id, strlen(id));
	struct state_workload workload = {
		.id = full,
		.name = mem_strdup(name),
		.spec = mem_strdup("{\"args\":[\"sh\"]}"),
		.image = mem_strdup("busybox"),
		.created_ns = 77,
		.auto_remove = true,
	};
	if (image != NULL)
		workload.image_id = *image;
	int r = state_workload_put(f->state, &workload, &f->err);
	workload.id = NULL;
	state_workload_done(&workload);
	return r;
}
