/* image - OCI images: references, documents, blobs, and what an archive of images holds. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/json.h"
#include "base/text.h"

/* A reference as Docker reads it: "busybox" is docker.io/library/busybox:latest.
 * (distribution/reference grammar; familiar names as docker prints them.) */
struct image_ref {
	char *repository; /* owned; full: "docker.io/library/busybox" */
	char *tag;        /* owned; NULL with a digest */
	struct digest digest;
};
MUST_CHECK int image_ref_parse(const char *text, struct image_ref *ret_ref, struct err *err);
void image_ref_done(struct image_ref *ref);
char *image_ref_full(const struct image_ref *ref);     /* caller owns */
char *image_ref_familiar(const struct image_ref *ref); /* "busybox:latest"; caller owns */
char *image_repository_familiar(const char *repository);

/* An OCI image configuration (image-spec config.md), already verified by digest. */
struct image_config {
	/* Owned; NULL: absent. */
	char *architecture, *variant, *os, *author, *comment, *docker_version;
	char *user, *working_dir, *stop_signal;
	int64_t created_ns; /* 0: absent */
	struct strv env, entrypoint, cmd, labels /* NAME=VALUE */, volumes, exposed_ports, shell;
	bool has_entrypoint, has_cmd;
	struct digest *diff_ids; /* owned */
	size_t diff_ids_len;
};
MUST_CHECK int image_config_parse(struct view bytes, struct image_config *ret_config,
	struct err *err);
void image_config_done(struct image_config *config);
/* The configuration of an image made by `import`: os, architecture of this machine, one layer. */
char *image_config_make(const struct digest *diff_id, int64_t created_ns, const char *comment);

/* What moat knows of a stored image beside its configuration. */
struct image_facts {
	struct digest id, manifest;    /* manifest unset: no RepoDigests */
	const struct strv *references; /* borrowed; full */
	uint64_t size_bytes;
	int64_t tagged_ns; /* when it last got a reference; 0: unknown */
};
/* The document `docker image inspect` prints as an element of its list; caller owns. */
json *image_inspect(const struct image_config *config, const struct image_facts *facts);

/* One layer of an image that stands in an archive. */
#define IMAGE_SIZE_UNDECLARED UINT64_MAX
struct image_layer {
	char *member;       /* owned; its name in the archive */
	struct digest blob; /* as declared; unset where the format declares none (docker-archive) */
	uint64_t size;      /* of the blob as declared, at most LIMIT_LAYER_BYTES; or
			       IMAGE_SIZE_UNDECLARED (docker-archive) */
	struct digest diff_id;
	char *media_type; /* owned; NULL where the format declares none */
};
/* One image of an archive: config and manifest bytes verified against their declared digests. */
struct image_plan {
	struct digest id; /* of config */
	char *config;     /* owned */
	size_t config_len;
	char *manifest; /* owned; as it came, or made by us for docker-archive: NULL until layers
			   are known */
	size_t manifest_len;
	struct digest manifest_digest; /* unset while manifest is NULL */
	struct image_layer *layers;    /* owned; as many as the config has diff_ids */
	size_t layers_len;
	struct strv references; /* full references; may be empty */
};
struct image_archive {
	struct image_plan *images; /* owned */
	size_t len;
};
/* How an archive's small members are read: by name; ERR_NOT_FOUND when absent. */
struct image_members {
	void *context;
	int (*read)(void *context, const char *name, uint64_t max_bytes, struct text *ret_text,
		struct err *err);
	bool (*has)(void *context, const char *name);
};
/* Reads an OCI image layout (oci-layout, index.json: nested indexes, platform linux/amd64 chosen)
 * or a docker-archive (manifest.json); an archive that is both is read as OCI layout, with the tags
 * of manifest.json where the index names none. */
MUST_CHECK int image_archive_read(const struct image_members *members,
	struct image_archive *ret_archive, struct err *err);
void image_archive_done(struct image_archive *archive);

/* An OCI manifest for layers whose blobs are known (docker-archive, import); caller owns. */
struct image_descriptor {
	struct digest digest;
	uint64_t size;
	const char *media_type; /* borrowed */
};
char *image_manifest_make(const struct image_descriptor *config,
	const struct image_descriptor *layers, size_t layers_len);

/* An image in an archive of ours: an OCI layout that is a docker-archive, too.  Its blobs are
 * members named image_blob_member(). */
struct image_saved {
	struct image_descriptor manifest; /* media_type is static */
	struct digest config;
	struct digest *layers; /* owned; their blobs, lowest first */
	size_t layers_len;
	struct strv references; /* owned; full; may be empty */
};
void image_saved_done(struct image_saved *saved);
/* What a manifest says of itself: digest, size, media type. */
MUST_CHECK int image_saved_manifest(struct view bytes, struct image_descriptor *ret_manifest,
	struct err *err);
char *image_saved_index(const struct image_saved *images, size_t len); /* index.json; caller owns */
char *image_saved_list(const struct image_saved *images, size_t len);  /* manifest.json */
#define IMAGE_LAYOUT_VERSION "{\"imageLayoutVersion\":\"1.0.0\"}"      /* oci-layout */
/* "blobs/sha256/HEX"; caller owns */
char *image_blob_member(const struct digest *digest);

/* Media type to compression: 0 plain, 1 gzip, 2 zstd; ERR_UNSUPPORTED for others. */
MUST_CHECK int image_media_compression(const char *media_type, int *ret_compression,
	struct err *err);
/* The OCI layer media type of a compression. */
const char *image_media_type(int compression);

/* Blobs: files named by digest below dir_fd ("sha256/<hex>").  All durable. */
MUST_CHECK int image_blob_write(int dir_fd, struct view bytes, struct digest *ret_digest,
	struct err *err);
MUST_CHECK int image_blob_read(int dir_fd, const struct digest *digest, uint64_t max_bytes,
	struct text *ret_bytes, struct err *err); /* verified against digest */
