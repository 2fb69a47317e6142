/* floor_load - the least that loading an image must cost: inflate every layer (isa-l), SHA-256 of
 * what comes out (GnuTLS), one sequential write of it, on two cores.
 *
 * usage: floor_load [--sync] OUTDIR DIGEST... -- LAYER.tar.gz...
 *
 * --sync: each layer is on the disk before it counts as loaded, as every layer of moat is.
 * Fails if a digest (hex, in the layers' order) differs.  Largest layer first, each whole on one
 * core, as gzip does not split. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <isa-l.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CORES = 2, LAYERS_MAX = 64, DIGEST = 32, CHUNK = 64 * 1024 };

struct layer {
	const char *path, *digest;
	char *out; /* owned */
	const uint8_t *data;
	size_t size;
	bool syncs, matches;
};

struct work {
	struct layer layers[LAYERS_MAX];
	int n;
	atomic_int next; /* both threads take from here */
};

static void die(const char *what, const char *name)
{
	(void)fprintf(stderr, "floor_load: %s %s: %s\n", what, name, strerror(errno));
	exit(1);
}

static void layer_map(struct layer *l)
{
	int fd = open(l->path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		die("open", l->path);
	void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (data == MAP_FAILED)
		die("map", l->path);
	(void)close(fd);
	l->data = data;
	l->size = (size_t)st.st_size;
}

static bool digest_matches(const uint8_t *digest, const char *hex)
{
	char text[2 * DIGEST + 1];
	for (int i = 0; i < DIGEST; i++)
		(void)snprintf(text + 2 * i, 3, "%02x", digest[i]);
	return strcmp(text, hex) == 0;
}

static void layer_load(struct layer *l)
{
	struct inflate_state state;
	gnutls_hash_hd_t hash;
	uint8_t digest[DIGEST], *chunk = malloc(CHUNK);
	int fd = open(l->out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || chunk == NULL)
		die("write", l->out);
	if (gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) < 0)
		die("hash", l->path);
	isal_inflate_init(&state);
	state.crc_flag = ISAL_GZIP;
	state.next_in = (uint8_t *)(uintptr_t)l->data;
	state.avail_in = (uint32_t)l->size;
	while (state.block_state != ISAL_BLOCK_FINISH) {
		/* A chunk that stays in the cache for all three. */
		state.next_out = chunk;
		state.avail_out = CHUNK;
		if (isal_inflate(&state) != ISAL_DECOMP_OK)
			die("inflate", l->path);
		size_t n = CHUNK - state.avail_out;
		if (gnutls_hash(hash, chunk, n) < 0 || write(fd, chunk, n) != (ssize_t)n)
			die("write", l->out);
	}
	gnutls_hash_deinit(hash, digest);
	l->matches = digest_matches(digest, l->digest);
	if (l->syncs && fdatasync(fd) < 0)
		die("sync", l->out);
	(void)close(fd);
	free(chunk);
}

static void *worker(void *context)
{
	struct work *w = context;
	for (int i; (i = atomic_fetch_add(&w->next, 1)) < w->n;)
		layer_load(&w->layers[i]);
	return NULL;
}

static int by_size(const void *a, const void *b)
{
	const struct layer *x = a, *y = b;
	return x->size < y->size ? 1 : x->size > y->size ? -1 : 0;
}

int main(int argc, char **argv)
{
	static struct work w;
	bool syncs = argc > 1 && strcmp(argv[1], "--sync") == 0;
	if (syncs) {
		argv++;
		argc--;
	}
	w.n = argc / 2 - 1;
	if (argc < 5 || argc % 2 == 0 || w.n > LAYERS_MAX || strcmp(argv[2 + w.n], "--") != 0) {
		(void)fprintf(stderr,
			"usage: floor_load [--sync] OUTDIR DIGEST... -- LAYER.tar.gz...\n");
		return 2;
	}
	for (int i = 0; i < w.n; i++) {
		struct layer *l = &w.layers[i];
		l->syncs = syncs;
		l->digest = argv[2 + i];
		l->path = argv[3 + w.n + i];
		if (asprintf(&l->out, "%s/%d", argv[1], i) < 0)
			abort();
		layer_map(l);
	}
	qsort(w.layers, (size_t)w.n, sizeof(w.layers[0]), by_size);

	pthread_t threads[CORES];
	for (int i = 0; i < CORES; i++)
		if ((errno = pthread_create(&threads[i], NULL, worker, &w)) != 0)
			die("start", "a thread");
	for (int i = 0; i < CORES; i++)
		(void)pthread_join(threads[i], NULL);
	for (int i = 0; i < w.n; i++)
		if (!w.layers[i].matches) {
			errno = EBADMSG;
			die("digest of", w.layers[i].path);
		}
	return 0;
}
