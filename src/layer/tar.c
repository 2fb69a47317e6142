/* tar - an entry is a chain of blocks: any number of headers that describe (pax 'x', GNU 'L' and
 * 'K'), then the header proper, then its content.  Each describing header replaces an earlier one
 * of its kind, a pax global header ('g') stays until the archive ends.
 *
 * Order of belief for a name: GNU long name, pax, header.  The content's size: pax, header; types
 * that have no content by definition have none here, whatever their size field says (Go's rule, and
 * two readers that disagree about where the next header is are a way to smuggle files). */
#include "layer/tar.h"

#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "layer/feed.h"
#include "layer/tar_header.h"
#include "layer/tar_pax.h"
#include "layer/tar_sparse.h"

struct tar {
	struct feed *feed;        /* borrowed */
	uint64_t left, pad;       /* of the current content, and zeros up to the next block */
	struct strv global_texts; /* what global's views point into */
	uint64_t global_bytes;
	struct text local_text;
	struct tar_pax global, local;
	struct text long_name, long_link;
	struct text name; /* prefix and name joined */
	struct tar_map map;
	struct tar_xattr *xattrs; /* owned */
	size_t xattrs_room;
	struct tar_header header;
};

static int at_byte(struct tar *tar, struct err *err, const char *what)
{
	return err_set(err, ERR_DAMAGED, "not a tar archive at byte %ju: %s",
		(uintmax_t)(feed_position(tar->feed) - TAR_BLOCK), what);
}

/* Reads one header: 1, or 0 at the end of the archive: two zero blocks (one, if nothing follows) or
 * the end of the stream. */
static int read_header(struct tar *tar, struct err *err)
{
	for (unsigned zeros = 0;; zeros++) {
		size_t got;
		int r = feed_read(tar->feed, &tar->header, TAR_BLOCK, &got, err);
		if (r < 0)
			return r;
		if (got == 0)
			return 0;
		if (got < TAR_BLOCK)
			return err_set(err, ERR_DAMAGED, "the tar archive ends inside a header");
		if (!tar_header_is_zero(&tar->header)) {
			if (zeros > 0)
				return at_byte(tar, err, "a header after an end block");
			if (!tar_header_checksum_is_right(&tar->header))
				return at_byte(tar, err, "wrong header checksum");
			return 1;
		}
		if (zeros == 1)
			return 0;
	}
}

static int number(struct tar *tar, const char *field, size_t len, const char *what, int64_t *ret,
	struct err *err)
{
	if (tar_number(field, len, ret) < 0)
		return err_set(err, ERR_DAMAGED, "malformed %s in the tar header at byte %ju", what,
			(uintmax_t)(feed_position(tar->feed) - TAR_BLOCK));
	return 0;
}

static int read_size(struct tar *tar, uint64_t *ret_size, struct err *err)
{
	int64_t size;
	int r = number(tar, tar->header.size, sizeof(tar->header.size), "size", &size, err);
	if (r != 0)
		return r;
	if (size < 0)
		return at_byte(tar, err, "negative size");
	*ret_size = (uint64_t)size;
	return 0;
}

static uint64_t padding(uint64_t size)
{
	return (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK;
}

/* Appends the content of a describing header to text. */
static int read_text(struct tar *tar, uint64_t max, const char *what, struct text *text,
	struct err *err)
{
	uint64_t size;
	int r = read_size(tar, &size, err);
	if (r != 0)
		return r;
	if (size > max)
		return err_set(err, ERR_LIMIT, "a tar archive has a %s of %ju bytes, more than %ju",
			what, (uintmax_t)size, (uintmax_t)max);
	uint64_t left = size;
	while (left > 0) {
		struct view part;
		r = feed_next(tar->feed, left, &part, err);
		if (r < 0)
			return r;
		if (part.len == 0)
			return err_set(err, ERR_DAMAGED, "the tar archive ends inside a %s", what);
		text_add(text, part.data, part.len);
		left -= part.len;
	}
	return feed_skip(tar->feed, padding(size), err);
}

/* GNU long names end in a zero byte, or do not. */
static int read_long(struct tar *tar, struct text *text, struct err *err)
{
	text_clear(text);
	int r = read_text(tar, LIMIT_PATH_BYTES, "long name", text, err);
	if (r == 0)
		text->len = strnlen(text_string(text), text->len);
	return r;
}

static int read_local(struct tar *tar, struct err *err)
{
	text_clear(&tar->local_text);
	tar_pax_reset(&tar->local, &tar->global);
	int r = read_text(tar, LIMIT_PAX_BYTES, "pax header", &tar->local_text, err);
	if (r < 0)
		return r;
	return tar_pax_parse(&tar->local, tar->local_text.data, tar->local_text.len, err);
}

/* Global headers add up, each in memory of its own that views may point into; their sum is limited
 * like a single one. */
static int read_global(struct tar *tar, struct err *err)
{
	AUTO_DONE(text) text = { 0 };
	uint64_t room = LIMIT_PAX_BYTES - tar->global_bytes;
	int r = read_text(tar, room, "global pax header", &text, err);
	if (r < 0)
		return r;
	size_t len = text.len;
	tar->global_bytes += len + 1; /* so that empty ones do not add up for ever */
	if (tar->global_bytes > LIMIT_PAX_BYTES)
		return err_set(err, ERR_LIMIT, "the global pax headers have more than %d bytes",
			LIMIT_PAX_BYTES);
	char *bytes = text_take(&text);
	strv_take(&tar->global_texts, bytes);
	r = tar_pax_parse(&tar->global, bytes, len, err);
	if (r == 0)
		tar_pax_reset(&tar->local, &tar->global);
	return r;
}

/* --- the header proper --- */

/* prefix/name, or name alone. */
static struct view header_name(struct tar *tar)
{
	const struct tar_header *header = &tar->header;
	struct view name = tar_field(header->name, sizeof(header->name));
	struct view prefix = { 0 };
	enum tar_format format = tar_header_format(header);
	if (format == TAR_USTAR)
		prefix = tar_field(header->prefix, sizeof(header->prefix));
	else if (format == TAR_STAR)
		prefix = tar_field(header->star.prefix, sizeof(header->star.prefix));
	text_clear(&tar->name);
	if (prefix.len > 0) {
		text_add(&tar->name, prefix.data, prefix.len);
		text_puts(&tar->name, "/");
	}
	text_add(&tar->name, name.data, name.len);
	return view_of_text(&tar->name);
}

static int read_id(struct tar *tar, const char *field, const char *what, uint32_t *ret,
	struct err *err)
{
	int64_t id;
	int r = number(tar, field, 8, what, &id, err);
	if (r < 0)
		return r;
	/* (uid_t)-1 means "unchanged" to system calls, so it is nobody's number. */
	if (id < 0 || id >= UINT32_MAX)
		return err_set(err, ERR_INVALID, "a tar entry has the impossible %s %jd", what,
			(intmax_t)id);
	*ret = (uint32_t)id;
	return 0;
}

static int read_owner(struct tar *tar, struct tar_entry *entry, struct err *err)
{
	entry->uid = tar->local.uid;
	entry->gid = tar->local.gid;
	int r = 0;
	if (!tar->local.has_uid)
		r = read_id(tar, tar->header.uid, "user id", &entry->uid, err);
	if (r == 0 && !tar->local.has_gid)
		r = read_id(tar, tar->header.gid, "group id", &entry->gid, err);
	return r;
}

static int read_device(struct tar *tar, struct tar_entry *entry, struct err *err)
{
	int64_t major, minor;
	if (entry->type != '3' && entry->type != '4')
		return 0;
	int r = number(tar, tar->header.device_major, 8, "device number", &major, err);
	if (r == 0)
		r = number(tar, tar->header.device_minor, 8, "device number", &minor, err);
	if (r != 0)
		return r;
	/* The kernel has 12 and 20 bits for them. */
	if (major < 0 || major > 0xfff || minor < 0 || minor > 0xfffff)
		return err_set(err, ERR_INVALID, "a tar entry has the impossible device %jd:%jd",
			(intmax_t)major, (intmax_t)minor);
	entry->major = (uint32_t)major;
	entry->minor = (uint32_t)minor;
	return 0;
}

static int read_attributes(struct tar *tar, struct tar_entry *entry, struct err *err)
{
	const struct tar_header *header = &tar->header;
	int64_t mode;
	int r = number(tar, header->mode, sizeof(header->mode), "mode", &mode, err);
	if (r == 0 && !tar->local.has_mtime)
		r = number(tar, header->mtime, sizeof(header->mtime), "time", &entry->mtime, err);
	if (r == 0)
		r = read_owner(tar, entry, err);
	if (r == 0)
		r = read_device(tar, entry, err);
	if (r < 0)
		return r;
	entry->mode = (mode_t)(mode & 07777);
	if (tar->local.has_mtime) {
		entry->mtime = tar->local.mtime;
		entry->mtime_ns = tar->local.mtime_ns;
	}

	if (tar->local.xattrs_len > tar->xattrs_room) {
		tar->xattrs_room = tar->local.xattrs_len;
		tar->xattrs = mem_grow(tar->xattrs, tar->xattrs_room, sizeof(*tar->xattrs));
	}
	entry->xattrs = tar->xattrs;
	entry->xattrs_len = tar_pax_xattrs(&tar->local, tar->xattrs);
	return 0;
}

static void read_names(struct tar *tar, struct tar_entry *entry)
{
	const struct tar_header *header = &tar->header;
	const struct tar_pax *pax = &tar->local;
	if (tar->long_name.len > 0)
		entry->name = view_of_text(&tar->long_name);
	else if (pax->sparse_name.len > 0)
		entry->name = pax->sparse_name;
	else if (pax->path.len > 0)
		entry->name = pax->path;
	else
		entry->name = header_name(tar);

	if (entry->type != '1' && entry->type != '2')
		entry->link_name = (struct view){ "", 0 };
	else if (tar->long_link.len > 0)
		entry->link_name = view_of_text(&tar->long_link);
	else if (pax->link_path.len > 0)
		entry->link_name = pax->link_path;
	else
		entry->link_name = tar_field(header->link_name, sizeof(header->link_name));
}

static int read_pax_map(struct tar *tar, struct tar_entry *entry, struct err *err)
{
	struct tar_pax *pax = &tar->local;
	int r = 0;
	if (pax->sparse_major == 1 && pax->sparse_minor == 0) {
		uint64_t with_map = entry->stored;
		r = tar_map_read_lines(&tar->map, tar->feed, &entry->stored, err);
		tar->left -= with_map - entry->stored;
	} else if (pax->sparse_major > 0 || pax->sparse_minor > 1) {
		return err_set(err, ERR_UNSUPPORTED, "unknown version %u.%u of GNU.sparse",
			pax->sparse_major, pax->sparse_minor);
	} else if (pax->sparse_map.len > 0) {
		r = tar_map_read_list(&tar->map, pax->sparse_map, err);
	} else {
		for (size_t i = 0; r == 0 && i < pax->extents_len; i++)
			r = tar_map_add(&tar->map, pax->extents[i].offset, pax->extents[i].len,
				err);
	}
	if (pax->has_real_size)
		entry->size = pax->real_size;
	return r;
}

static int read_old_map(struct tar *tar, struct tar_entry *entry, struct err *err)
{
	const struct tar_header *header = &tar->header;
	int64_t size;
	int r = number(tar, header->gnu.real_size, sizeof(header->gnu.real_size), "size", &size,
		err);
	if (r < 0)
		return r;
	if (size < 0)
		return at_byte(tar, err, "negative size");
	entry->size = (uint64_t)size;
	return tar_map_read_old(&tar->map, header, tar->feed, err);
}

static int read_content(struct tar *tar, struct tar_entry *entry, struct err *err)
{
	entry->offset = feed_position(tar->feed);
	if (entry->type != '0')
		return 0;
	if (tar->local.has_size) {
		entry->size = tar->local.size;
	} else {
		int r = read_size(tar, &entry->size, err);
		if (r < 0)
			return r;
	}
	entry->stored = entry->size;
	tar->left = entry->size;
	tar->pad = padding(entry->size);

	bool is_old = tar->header.type == 'S';
	entry->sparse = is_old || tar->local.is_sparse;
	if (entry->sparse) {
		tar->map.len = 0;
		int r = is_old ? read_old_map(tar, entry, err) : read_pax_map(tar, entry, err);
		if (r == 0)
			r = tar_map_check(&tar->map, entry->size, entry->stored, err);
		if (r < 0)
			return r;
		entry->extents = tar->map.items;
		entry->extents_len = tar->map.len;
		entry->offset = feed_position(tar->feed);
	}
	return 0;
}

static int read_entry(struct tar *tar, char type, struct tar_entry *ret_entry, struct err *err)
{
	struct tar_entry entry = { .type = type };
	int r = read_attributes(tar, &entry, err);
	if (r < 0)
		return r;
	read_names(tar, &entry);
	/* V7 had no type for directories. */
	if (tar->header.type == 0 && entry.name.len > 0 && view_ends(entry.name, "/"))
		entry.type = '5';
	r = read_content(tar, &entry, err);
	if (r == 0)
		*ret_entry = entry;
	return r;
}

/* What a typeflag means: a describing header, or the type an entry is reported as. */
enum role { ROLE_ENTRY, ROLE_LOCAL, ROLE_GLOBAL, ROLE_LONG_NAME, ROLE_LONG_LINK, ROLE_SKIP };

static const struct flag {
	char flag, type;
	enum role role;
} flags[] = {
	{ 0, '0', ROLE_ENTRY },
	{ '0', '0', ROLE_ENTRY },
	{ '1', '1', ROLE_ENTRY },
	{ '2', '2', ROLE_ENTRY },
	{ '3', '3', ROLE_ENTRY },
	{ '4', '4', ROLE_ENTRY },
	{ '5', '5', ROLE_ENTRY },
	{ '6', '6', ROLE_ENTRY },
	{ '7', '0', ROLE_ENTRY }, /* contiguous, which nobody tells apart */
	{ 'K', 0, ROLE_LONG_LINK },
	{ 'L', 0, ROLE_LONG_NAME },
	{ 'S', '0', ROLE_ENTRY },
	{ 'V', 0, ROLE_SKIP }, /* the label of a tape */
	{ 'g', 0, ROLE_GLOBAL },
	{ 'x', 0, ROLE_LOCAL },
};

static const struct flag *flag_find(char flag)
{
	for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
		if (flags[i].flag == flag)
			return &flags[i];
	}
	return NULL;
}

static int skip_content(struct tar *tar, struct err *err)
{
	uint64_t size;
	int r = read_size(tar, &size, err);
	if (r == 0)
		r = feed_skip(tar->feed, size, err);
	return r != 0 ? r : feed_skip(tar->feed, padding(size), err);
}

/* Leaves the content of the last entry behind, and what was said about it. */
static int leave_entry(struct tar *tar, struct err *err)
{
	text_clear(&tar->long_name);
	text_clear(&tar->long_link);
	tar_pax_reset(&tar->local, &tar->global);
	int r = feed_skip(tar->feed, tar->left, err);
	if (r == 0)
		r = feed_skip(tar->feed, tar->pad, err);
	tar->left = tar->pad = 0;
	return r;
}

int tar_next(struct tar *tar, struct tar_entry *ret_entry, struct err *err)
{
	int r = leave_entry(tar, err);
	while (r == 0) {
		r = read_header(tar, err);
		if (r <= 0)
			return r;
		const struct flag *flag = flag_find(tar->header.type);
		if (flag == NULL)
			return err_set(err, ERR_UNSUPPORTED,
				"a tar entry has the unknown type 0x%02x at byte %ju",
				(unsigned char)tar->header.type,
				(uintmax_t)(feed_position(tar->feed) - TAR_BLOCK));
		switch (flag->role) {
		case ROLE_ENTRY:
			r = read_entry(tar, flag->type, ret_entry, err);
			return r < 0 ? r : 1;
		case ROLE_LOCAL: r = read_local(tar, err); break;
		case ROLE_GLOBAL: r = read_global(tar, err); break;
		case ROLE_LONG_NAME: r = read_long(tar, &tar->long_name, err); break;
		case ROLE_LONG_LINK: r = read_long(tar, &tar->long_link, err); break;
		case ROLE_SKIP: r = skip_content(tar, err); break;
		}
	}
	return r;
}

int tar_data(struct tar *tar, uint64_t max, struct view *ret_bytes, struct err *err)
{
	*ret_bytes = (struct view){ 0 };
	if (tar->left == 0 || max == 0)
		return 0;
	int r = feed_next(tar->feed, max < tar->left ? max : tar->left, ret_bytes, err);
	if (r < 0)
		return r;
	if (ret_bytes->len == 0)
		return err_set(err, ERR_DAMAGED, "the tar archive ends inside a file");
	tar->left -= ret_bytes->len;
	return 0;
}

struct tar *tar_new(struct feed *feed)
{
	struct tar *tar = NEW(tar);
	tar->feed = feed;
	return tar;
}

void tar_free(struct tar *tar)
{
	if (tar == NULL)
		return;
	strv_done(&tar->global_texts);
	text_done(&tar->local_text);
	tar_pax_done(&tar->global);
	tar_pax_done(&tar->local);
	text_done(&tar->long_name);
	text_done(&tar->long_link);
	text_done(&tar->name);
	tar_map_done(&tar->map);
	free(tar->xattrs);
	free(tar);
}
