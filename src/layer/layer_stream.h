/* layer_stream - the chain of sources and feeds from a blob to its plain bytes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/err.h"
#include "layer/layer.h"

struct feed;

struct layer_stream {
	int fd; /* borrowed */
	uint64_t offset;
	uint64_t size; /* UINT64_MAX: until the end */
	enum layer_compression compression;
	int blob_fd;                   /* borrowed; gets a copy of the blob; -1: none */
	struct digest_hash *blob_hash; /* borrowed; NULL: none */
	uint64_t *blob_bytes;          /* borrowed; complete when the feed is freed */
	struct digest_hash *tar_hash;  /* borrowed; NULL: none */
	bool threaded;
};

MUST_CHECK int layer_stream_open(const struct layer_stream *stream, struct feed **ret_feed,
	struct err *err);
