#include "engine/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/durable.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"

#define LINKS_MAX 8 /* docker's old archives link a layer to the same layer of another image */

void archive_done(struct archive *archive)
{
	free(archive->path);
	if (archive->fd >= 0)
		(void)close(archive->fd);
	member_list_done(&archive->list);
	*archive = (struct archive){ .fd = -1 };
}

static int copy_stream(int source_fd, int out_fd, struct err *err)
{
	AUTO_FREE char *buffer = mem_new(1, 1 << 20);
	for (;;) {
		ssize_t n = read(source_fd, buffer, 1 << 20);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, errno, "read the stream");
		if (n == 0)
			return 0;
		int r = fd_write_all(out_fd, buffer, (size_t)n);
		if (r < 0)
			return err_sys(err, -r, "copy the stream to the data directory");
	}
}

int archive_open_bytes(const struct engine *engine, const char *path, int *ret_fd, struct err *err)
{
	bool is_stdin = strcmp(path, "-") == 0;
	AUTO_CLOSE int fd = is_stdin ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
				     : open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "open \"%s\"", path);
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_sys(err, errno, "stat \"%s\"", path);
	/* A file on standard input may stand somewhere in its middle: then it is a stream too. */
	if (S_ISDIR(st.st_mode) || (S_ISREG(st.st_mode) && lseek(fd, 0, SEEK_CUR) == 0)) {
		*ret_fd = TAKE_FD(fd);
		return 0;
	}
	AUTO_CLOSE int spool = -1;
	int r = durable_temp(engine->root_fd, &spool, err);
	if (r == 0)
		r = copy_stream(fd, spool, err);
	if (r == 0)
		*ret_fd = TAKE_FD(spool);
	return r;
}

static int decompress(struct archive *archive, struct err *err)
{
	enum layer_compression compression;
	int r = extract_detect(archive->fd, &compression, err);
	if (r < 0 || compression == LAYER_PLAIN)
		return r;
	AUTO_CLOSE int plain = -1;
	r = durable_temp(archive->engine->root_fd, &plain, err);
	if (r == 0 && lseek(archive->fd, 0, SEEK_SET) < 0)
		r = err_sys(err, errno, "seek in \"%s\"", archive->path);
	if (r == 0)
		r = extract_decompress(archive->fd, compression, plain, err);
	if (r < 0)
		return r;
	(void)close(archive->fd);
	archive->fd = TAKE_FD(plain);
	return 0;
}

int archive_open(const struct engine *engine, const char *path, struct archive *ret_archive,
	struct err *err)
{
	AUTO_DONE(archive)
	archive = { .engine = engine, .path = mem_strdup(path), .fd = -1 };
	int r = archive_open_bytes(engine, path, &archive.fd, err);
	if (r < 0)
		return r;
	struct stat st;
	if (fstat(archive.fd, &st) < 0)
		return err_sys(err, errno, "stat \"%s\"", path);
	archive.is_folder = S_ISDIR(st.st_mode);
	if (!archive.is_folder) {
		r = decompress(&archive, err);
		if (r == 0)
			r = extract_scan(archive.fd, &archive.list, err);
		if (r < 0)
			return err_wrap(err, r, "read archive \"%s\"", path);
	}
	*ret_archive = archive;
	archive = (struct archive){ .fd = -1 };
	return 0;
}

static int compare_name(const void *key, const void *member)
{
	return strcmp(key, ((const struct layer_member *)member)->name);
}

/* The last member of that name, as unpacking would leave it. */
static const struct layer_member *find(const struct member_list *list, const char *name)
{
	if (list->len == 0)
		return NULL;
	const struct layer_member *found =
		bsearch(name, list->members, list->len, sizeof(*list->members), compare_name);
	const struct layer_member *end = list->members + list->len;
	while (found != NULL && found + 1 < end && strcmp(found[1].name, name) == 0)
		found++;
	return found;
}

/* "a/b" and "../c/d" make "c/d"; nothing above the archive's root exists. */
static char *join_link(const char *name, const char *link)
{
	AUTO_DONE(strv) parts = { 0 };
	struct view from = view_of(name), to = view_of(link);
	while (from.data != NULL) {
		struct view part = view_cut(&from, '/');
		if (from.data != NULL)
			strv_take(&parts, view_dup(part));
	}
	while (to.data != NULL) {
		struct view part = view_cut(&to, '/');
		if (view_is(part, "..")) {
			if (parts.len > 0)
				free(parts.items[--parts.len]);
		} else if (part.len > 0 && !view_is(part, ".")) {
			strv_take(&parts, view_dup(part));
		}
	}
	AUTO_DONE(text) path = { 0 };
	for (size_t i = 0; i < parts.len; i++)
		text_printf(&path, "%s%s", i > 0 ? "/" : "", parts.items[i]);
	return text_take(&path);
}

static const struct layer_member *resolve(const struct archive *archive, const char *name)
{
	AUTO_FREE char *now = mem_strdup(name);
	for (int i = 0; i < LINKS_MAX; i++) {
		const struct layer_member *member = find(&archive->list, now);
		if (member == NULL || (member->type != '1' && member->type != '2'))
			return member;
		/* A hard link names its target from the root, a symlink from where it stands. */
		char *next = join_link(member->type == '1' ? "" : now, member->link_name);
		free(now);
		now = next;
	}
	return NULL;
}

int archive_locate(const struct archive *archive, const char *name, int *ret_fd,
	uint64_t *ret_offset, uint64_t *ret_size, struct err *err)
{
	if (archive->is_folder) {
		AUTO_CLOSE int fd = path_at_open(archive->fd, name, O_RDONLY | O_NONBLOCK, 0);
		struct stat st;
		if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
			return err_set(err, ERR_NOT_FOUND, "\"%s\" has no file \"%s\"",
				archive->path, name);
		*ret_offset = 0;
		*ret_size = (uint64_t)st.st_size;
		*ret_fd = TAKE_FD(fd);
		return 0;
	}
	const struct layer_member *member = resolve(archive, name);
	if (member == NULL || (member->type != '0' && member->type != 0))
		return err_set(err, ERR_NOT_FOUND, "\"%s\" has no file \"%s\"", archive->path,
			name);
	int fd = fcntl(archive->fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return err_sys(err, errno, "open member \"%s\"", name);
	*ret_offset = member->offset;
	*ret_size = member->size;
	*ret_fd = fd;
	return 0;
}

static int read_member(void *context, const char *name, uint64_t max_bytes, struct text *ret_text,
	struct err *err)
{
	const struct archive *archive = context;
	AUTO_CLOSE int fd = -1;
	uint64_t offset, size;
	int r = archive_locate(archive, name, &fd, &offset, &size, err);
	if (r != 0)
		return r;
	void *bytes;
	if (size > max_bytes)
		return err_set(err, ERR_LIMIT, "\"%s\" has %ju bytes, more than the %ju allowed",
			name, (uintmax_t)size, (uintmax_t)max_bytes);
	r = mem_try(size + 1, max_bytes + 1, &bytes, err);
	if (r < 0)
		return r;
	r = fd_pread_exact(fd, bytes, size, offset);
	if (r < 0)
		r = err_sys(err, -r, "read \"%s\"", name);
	else
		text_add(ret_text, bytes, size);
	free(bytes);
	return r;
}

static bool has_member(void *context, const char *name)
{
	AUTO_CLOSE int fd = -1;
	uint64_t offset, size;
	return archive_locate(context, name, &fd, &offset, &size, NULL) == 0;
}

struct image_members archive_members(struct archive *archive)
{
	return (struct image_members){ .context = archive, .read = read_member, .has = has_member };
}
