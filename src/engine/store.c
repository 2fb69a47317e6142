#include "engine/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "base/fd.h"
#include "base/mem.h"

#define STORE_LOCK_MS 10000

/* The digests that rows name, to hold the directories against. */
struct named {
	char (*hex)[DIGEST_HEX_LEN + 1]; /* owned */
	size_t len;
};

static void named_add(struct named *named, const struct digest *digest)
{
	if (!digest_is_set(digest))
		return;
	named->hex = mem_grow(named->hex, named->len + 1, sizeof(named->hex[0]));
	memcpy(named->hex[named->len++], digest->hex, sizeof(named->hex[0]));
}

static int compare_hex(const void *a, const void *b)
{
	return strcmp(a, b);
}

static bool named_has(const struct named *named, const char *hex)
{
	return named->len > 0 &&
	       bsearch(hex, named->hex, named->len, sizeof(named->hex[0]), compare_hex) != NULL;
}

static int add_image(void *context, const struct state_image *image, const struct strv *references,
	struct err *err)
{
	(void)references;
	(void)err;
	struct named *named = context;
	named_add(named, &image->id);
	named_add(named, &image->manifest);
	for (size_t i = 0; i < image->layers_len; i++) {
		named_add(named, &image->layers[i].diff_id);
		named_add(named, &image->layers[i].blob);
	}
	return 0;
}

static int remove_unnamed(struct engine *engine, const char *subdir, const struct named *named,
	struct err *err)
{
	int fd = openat(engine->root_fd, subdir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (dir == NULL)
		return err_sys(err, errno, "list \"%s/%s\"", engine->root, subdir);
	int r = 0;
	for (struct dirent *entry; r == 0 && (entry = readdir(dir)) != NULL;) {
		if (entry->d_name[0] == '.' || named_has(named, entry->d_name))
			continue;
		if (unlinkat(fd, entry->d_name, 0) < 0 && errno != ENOENT)
			r = err_sys(err, errno, "remove \"%s/%s/%s\"", engine->root, subdir,
				entry->d_name);
	}
	(void)closedir(dir);
	return r;
}

/* Markers are made under a shared lock of their directory and swept under an exclusive one: no
 * marker appears while a sweep decides what is named. */
static int lock_markers(struct engine *engine, bool exclusive, int lock_ms, int *ret_fd)
{
	AUTO_CLOSE int fd =
		openat(engine->root_fd, "unfinished", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = fd < 0 ? -errno : fd_lock(fd, exclusive, lock_ms);
	if (r == 0)
		*ret_fd = TAKE_FD(fd);
	return r;
}

int store_begin(struct engine *engine, struct store_marker *ret_marker, struct err *err)
{
	AUTO_CLOSE int dir_fd = -1;
	int r = lock_markers(engine, false, STORE_LOCK_MS, &dir_fd);
	if (r < 0)
		return err_set(err, ERR_TIMEOUT,
			"another command holds the store in \"%s\" for more than %d s",
			engine->root, STORE_LOCK_MS / 1000);
	char id[ID_LEN + 1];
	id_new(id);
	struct store_marker marker;
	(void)snprintf(marker.name, sizeof(marker.name), "unfinished/%s", id);
	marker.fd =
		openat(engine->root_fd, marker.name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (marker.fd < 0 || flock(marker.fd, LOCK_EX | LOCK_NB) < 0) {
		r = err_sys(err, errno, "mark a change of the store in \"%s/unfinished\"",
			engine->root);
		if (marker.fd >= 0)
			(void)close(marker.fd);
		return r;
	}
	*ret_marker = marker;
	return 0;
}

void store_end(struct engine *engine, struct store_marker *marker)
{
	if (marker->fd < 0)
		return;
	(void)unlinkat(engine->root_fd, marker->name, 0);
	(void)close(TAKE_FD(marker->fd));
}

/* Whether a living command changes the store, and the markers of those that do not live any more.
 */
static int list_markers(struct engine *engine, bool *ret_busy, struct strv *stale, struct err *err)
{
	int fd = openat(engine->root_fd, "unfinished", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (dir == NULL)
		return err_sys(err, errno, "list \"%s/unfinished\"", engine->root);
	*ret_busy = false;
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
		if (entry->d_name[0] == '.')
			continue;
		AUTO_CLOSE int marker = openat(fd, entry->d_name, O_RDONLY | O_CLOEXEC);
		if (marker >= 0 && flock(marker, LOCK_SH | LOCK_NB) == 0)
			strv_printf(stale, "unfinished/%s", entry->d_name);
		else if (marker >= 0)
			*ret_busy = true;
	}
	(void)closedir(dir);
	return 0;
}

int store_sweep(struct engine *engine, struct err *err)
{
	bool is_busy;
	AUTO_DONE(strv) stale = { 0 };
	AUTO_CLOSE int dir_fd = -1;
	if (lock_markers(engine, true, 0, &dir_fd) < 0)
		return 0; /* whoever comes last sweeps for all */
	int r = list_markers(engine, &is_busy, &stale, err);
	if (r != 0 || is_busy)
		return r;
	struct state *state;
	struct named named = { 0 };
	r = engine_state(engine, &state, err);
	if (r == 0)
		r = state_image_each(state, add_image, &named, err);
	if (r == 0) {
		if (named.len > 0)
			qsort(named.hex, named.len, sizeof(named.hex[0]), compare_hex);
		static const char *const subdirs[] = { "images/sha256", "layers/sha256",
			"blobs/sha256" };
		for (size_t i = 0; r == 0 && i < ARRAY_LEN(subdirs); i++)
			r = remove_unnamed(engine, subdirs[i], &named, err);
	}
	free(named.hex);
	for (size_t i = 0; r == 0 && i < stale.len; i++)
		(void)unlinkat(engine->root_fd, stale.items[i], 0);
	return r;
}

int store_repair(struct engine *engine, struct err *err)
{
	bool is_busy;
	AUTO_DONE(strv) stale = { 0 };
	int r = list_markers(engine, &is_busy, &stale, err);
	return r < 0 || stale.len == 0 ? r : store_sweep(engine, err);
}
