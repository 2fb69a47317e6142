/* extract - archives and layers in a jailed worker (role "@extract"): nothing else of moat reads
 * their bytes. */
#pragma once

#include "engine/handle.h"
#include "engine/worker.h"
#include "layer/layer.h"

/* Members of an uncompressed tar, by name.  Names are normalised: no leading "./" or "/". */
struct member_list {
	struct layer_member *members; /* owned, strings too; sorted by name, the last of equals */
	size_t len;
};
void member_list_done(struct member_list *list);
MUST_CHECK int extract_scan(int fd, struct member_list *ret_list, struct err *err);

MUST_CHECK int extract_detect(int fd, enum layer_compression *ret_compression, struct err *err);
MUST_CHECK int extract_decompress(int source_fd, enum layer_compression compression, int out_fd,
	struct err *err);
/* job->compression is believed unless detect is set (formats that declare none). */
MUST_CHECK int extract_convert_start(const struct layer_job *job, bool detect,
	struct worker *ret_worker, struct err *err);
MUST_CHECK int extract_convert_finish(struct worker *worker, struct layer_result *ret_result,
	enum layer_compression *ret_compression, struct err *err);
MUST_CHECK int extract_merge(const int *layer_fds, size_t len, int out_fd, uint64_t *ret_bytes,
	struct err *err);

/* The files of a Debian package as one plain tar. */
MUST_CHECK int extract_deb(int deb_fd, int out_fd, struct err *err);
/* A kernel's release, checked to be fit for a name, and what kind of file it is, for people.  If it
 * is a bzImage whose kernel can be started without it, that comes into the empty file out_fd. */
MUST_CHECK int extract_kernel(int fd, int out_fd, char **ret_release, char **ret_what,
	struct err *err);
/* A module's bytes, decompressed, into out_fd, and what it says of itself: a stranger's text. */
struct extract_module {
	int fd;
	uint64_t offset, size;
	enum layer_compression compression;
};
struct extract_module_words {
	char *vermagic, *depends; /* the caller's */
	uint64_t body_size;       /* of the bytes; a signature is behind it */
};
MUST_CHECK int extract_module(const struct extract_module *module, int out_fd,
	struct extract_module_words *ret_words, struct err *err);
