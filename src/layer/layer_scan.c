/* layer_scan - the members of an uncompressed outer archive (docker save, OCI layout): headers are
 * read, contents jumped over. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/limits.h"
#include "layer/feed.h"
#include "layer/layer.h"
#include "layer/source.h"
#include "layer/tar.h"

/* Small: what is read ahead behind a header is mostly content that nobody wants. */
static const struct feed_shape scan_shape = { .slot_bytes = 4096, .slots = 1 };

static int report(const struct tar_entry *entry, uint64_t file_size, layer_member_fn *fn,
	void *context, struct err *err)
{
	AUTO_FREE char *name = view_dup(entry->name);
	AUTO_FREE char *link_name = view_dup(entry->link_name);
	if (entry->sparse)
		return err_set(err, ERR_UNSUPPORTED, "the archive has a sparse member: %.200s",
			name);
	if (entry->stored > file_size || entry->offset > file_size - entry->stored)
		return err_set(err, ERR_DAMAGED, "the archive ends inside its member %.200s", name);
	struct layer_member member = {
		.name = name,
		.link_name = link_name,
		.type = entry->type,
		.offset = entry->offset,
		.size = entry->stored,
	};
	return fn(context, &member, err);
}

int layer_scan(int fd, layer_member_fn *fn, void *context, struct err *err)
{
	struct stat status;
	if (fstat(fd, &status) < 0)
		return err_sys(err, errno, "look at the archive");
	if (!S_ISREG(status.st_mode))
		return err_set(err, ERR_INVALID, "the archive is not a regular file");

	struct source *source;
	AUTO(feed) feed = NULL;
	int r = source_file_new(fd, 0, UINT64_MAX, &source, err);
	if (r == 0)
		r = feed_new(source, scan_shape, NULL, UINT64_MAX, &feed, err);
	if (r < 0)
		return r;
	AUTO(tar) tar = tar_new(feed);
	for (uint64_t members = 0;; members++) {
		struct tar_entry entry;
		r = tar_next(tar, &entry, err);
		if (r <= 0)
			return r;
		if (members >= LIMIT_ARCHIVE_MEMBERS)
			return err_set(err, ERR_LIMIT, "the archive has more than %d members",
				LIMIT_ARCHIVE_MEMBERS);
		r = report(&entry, (uint64_t)status.st_size, fn, context, err);
		if (r < 0)
			return r;
	}
}
