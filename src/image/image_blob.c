/* Blobs are files named by their digest.  A name exists only with the right bytes behind it: they
 * are hashed and synced first and named last (THREATS rules 8 and 18).  A blob that is there but
 * damaged is replaced by the next one written. */
#include "image/image.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/durable.h"
#include "base/fd.h"

#define FOLDER "sha256"

static int open_folder(int dir_fd, int *ret_fd, struct err *err)
{
	if (mkdirat(dir_fd, FOLDER, 0700) == 0) {
		int r = durable_sync_dir(dir_fd, err);
		if (r < 0)
			return r;
	} else if (errno != EEXIST) {
		return err_sys(err, errno, "make the blob folder " FOLDER);
	}
	int fd = openat(dir_fd, FOLDER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "open the blob folder " FOLDER);
	*ret_fd = fd;
	return 0;
}

static int read_verified(int folder, const struct digest *digest, uint64_t max_bytes,
	struct text *ret_bytes, struct err *err)
{
	AUTO_DONE(text) bytes = { 0 };
	int r = file_read_at(folder, digest->hex, max_bytes, &bytes, err);
	if (r == -ENOENT)
		return err_set(err, ERR_NOT_FOUND, "no such blob: sha256:%s", digest->hex);
	if (r < 0)
		return r;
	struct digest actual;
	r = digest_of(view_of_text(&bytes), &actual, err);
	if (r < 0)
		return r;
	if (!digest_is(&actual, digest))
		return err_set(err, ERR_DAMAGED, "blob sha256:%s is damaged: load its image again",
			digest->hex);
	*ret_bytes = bytes;
	bytes = (struct text){ 0 };
	return 0;
}

int image_blob_write(int dir_fd, struct view bytes, struct digest *ret_digest, struct err *err)
{
	struct digest digest;
	AUTO_CLOSE int folder = -1;
	int r = digest_of(bytes, &digest, err);
	if (r >= 0)
		r = open_folder(dir_fd, &folder, err);
	if (r < 0)
		return r;

	/* Its writer may have been stopped before the name was durable, hence the sync. */
	AUTO_DONE(text) present = { 0 };
	struct err ignored = { 0 };
	if (read_verified(folder, &digest, bytes.len, &present, &ignored) >= 0)
		r = durable_sync_dir(folder, err);
	else
		r = durable_write(folder, digest.hex, 0600, bytes, err);
	if (r < 0)
		return err_wrap(err, r, "write blob sha256:%s", digest.hex);
	*ret_digest = digest;
	return 0;
}

int image_blob_read(int dir_fd, const struct digest *digest, uint64_t max_bytes,
	struct text *ret_bytes, struct err *err)
{
	AUTO_CLOSE int folder =
		openat(dir_fd, FOLDER, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (folder < 0 && errno == ENOENT)
		return err_set(err, ERR_NOT_FOUND, "no such blob: sha256:%s", digest->hex);
	if (folder < 0)
		return err_sys(err, errno, "open the blob folder " FOLDER);
	return read_verified(folder, digest, max_bytes, ret_bytes, err);
}
