/* deb - the files of a Debian package: deb(5), an ar(5) archive with the members debian-binary,
 * control.tar and data.tar in this order, the tars compressed as their names say. */
#include <string.h>

#include "base/fd.h"
#include "base/num.h"
#include "layer/layer.h"

#define MAGIC "!<arch>\n"
#define MEMBERS_MAX 16

enum { HEADER_BYTES = 60, NAME_BYTES = 16, SIZE_AT = 48, SIZE_BYTES = 10, END_AT = 58 };

static const struct {
	const char *name;
	enum layer_compression compression;
} data_names[] = {
	{ "data.tar", LAYER_PLAIN },
	{ "data.tar.gz", LAYER_GZIP },
	{ "data.tar.xz", LAYER_XZ },
	{ "data.tar.zst", LAYER_ZSTD },
};

static int damaged(struct err *err)
{
	return err_set(err, ERR_DAMAGED, "the Debian package is damaged");
}

/* A header at offset; padded with spaces, and GNU's ar ends names with a slash. */
static int read_header(int fd, uint64_t offset, char header[HEADER_BYTES], struct view *ret_name,
	uint64_t *ret_size, struct err *err)
{
	if (fd_pread_exact(fd, header, HEADER_BYTES, offset) < 0)
		return damaged(err);
	*ret_name = view_trim((struct view){ header, NAME_BYTES });
	if (view_ends(*ret_name, "/"))
		ret_name->len--;
	struct view size = view_trim((struct view){ header + SIZE_AT, SIZE_BYTES });
	if (memcmp(header + END_AT, "`\n", 2) != 0 || num_parse_u64(size, INT64_MAX, ret_size) < 0)
		return damaged(err);
	return 0;
}

bool layer_deb_is(int fd)
{
	char magic[sizeof(MAGIC) - 1];
	return fd_pread_exact(fd, magic, sizeof(magic), 0) == 0 &&
	       memcmp(magic, MAGIC, sizeof(magic)) == 0;
}

int layer_deb_data(int fd, uint64_t *ret_offset, uint64_t *ret_size,
	enum layer_compression *ret_compression, struct err *err)
{
	if (!layer_deb_is(fd))
		return damaged(err);
	uint64_t offset = sizeof(MAGIC) - 1;
	for (int i = 0; i < MEMBERS_MAX; i++) {
		char header[HEADER_BYTES];
		struct view name;
		uint64_t size;
		int r = read_header(fd, offset, header, &name, &size, err);
		if (r < 0)
			return r;
		offset += HEADER_BYTES;
		for (size_t n = 0; n < ARRAY_LEN(data_names); n++) {
			if (!view_is(name, data_names[n].name))
				continue;
			*ret_offset = offset;
			*ret_size = size;
			*ret_compression = data_names[n].compression;
			return 0;
		}
		/* Members begin at even offsets. */
		if (__builtin_add_overflow(offset, size + (size & 1), &offset))
			return damaged(err);
	}
	return err_set(err, ERR_UNSUPPORTED,
		"the Debian package has no data.tar that is plain or compressed with gzip, xz or "
		"zstd");
}
