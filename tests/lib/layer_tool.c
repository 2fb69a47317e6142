/* layer_tool - the functions of layer/layer.h as a program, for tests and measurements:
 *
 *     layer_tool convert BLOB auto|plain|gzip|zstd IMAGE [COPY_OF_BLOB]
 *     layer_tool merge IMAGE LAYER_IMAGE...
 *     layer_tool scan ARCHIVE
 *     layer_tool decompress BLOB gzip|zstd FILE
 *
 * BLOB may be "-" for standard input.  Results are printed as key=value, failures on stderr. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/mem.h"
#include "layer/layer.h"

static int open_input(const char *path)
{
	return strcmp(path, "-") == 0 ? 0 : open(path, O_RDONLY | O_CLOEXEC);
}

static int open_output(const char *path)
{
	return open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

static int compression_of(const char *name, int fd, enum layer_compression *ret, struct err *err)
{
	static const char *const names[] = { "plain", "gzip", "zstd" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(name, names[i]) == 0) {
			*ret = (enum layer_compression)i;
			return 0;
		}
	}
	return layer_detect(fd, 0, ret, err);
}

static int convert(int argc, char **argv, struct err *err)
{
	AUTO_CLOSE int source = open_input(argv[2]);
	AUTO_CLOSE int image = open_output(argv[4]);
	AUTO_CLOSE int blob = argc > 5 ? open_output(argv[5]) : -1;
	struct layer_job job = {
		.source_fd = source,
		.size = UINT64_MAX,
		.blob_fd = blob,
		.erofs_fd = image,
	};
	struct layer_result result;
	int r = compression_of(argv[3], source, &job.compression, err);
	if (r == 0)
		r = layer_convert(&job, &result, err);
	if (r < 0)
		return r;
	struct rusage usage;
	(void)getrusage(RUSAGE_SELF, &usage);
	printf("blob=%s\ndiff_id=%s\nblob_bytes=%ju\ntar_bytes=%ju\nerofs_bytes=%ju\nentries=%ju\n"
	       "peak_kib=%ld\n",
		result.blob.hex, result.diff_id.hex, (uintmax_t)result.blob_bytes,
		(uintmax_t)result.tar_bytes, (uintmax_t)result.erofs_bytes,
		(uintmax_t)result.entries, usage.ru_maxrss);
	return 0;
}

static int merge(int argc, char **argv, struct err *err)
{
	AUTO_CLOSE int image = open_output(argv[2]);
	AUTO_FREE int *layers = mem_new((size_t)argc, sizeof(*layers));
	size_t len = 0;
	for (int i = 3; i < argc; i++)
		layers[len++] = open_input(argv[i]);
	uint64_t bytes;
	int r = layer_merge(layers, len, image, &bytes, err);
	if (r < 0)
		return r;
	struct rusage usage;
	(void)getrusage(RUSAGE_SELF, &usage);
	printf("bytes=%ju\npeak_kib=%ld\n", (uintmax_t)bytes, usage.ru_maxrss);
	return 0;
}

static int print_member(void *context, const struct layer_member *member, struct err *err)
{
	(void)context;
	(void)err;
	printf("%c %ju %ju %s %s\n", member->type, (uintmax_t)member->offset,
		(uintmax_t)member->size, member->name, member->link_name);
	return 0;
}

static int scan(int argc, char **argv, struct err *err)
{
	(void)argc;
	AUTO_CLOSE int archive = open_input(argv[2]);
	return layer_scan(archive, print_member, NULL, err);
}

static int decompress(int argc, char **argv, struct err *err)
{
	(void)argc;
	AUTO_CLOSE int source = open_input(argv[2]);
	AUTO_CLOSE int out = open_output(argv[4]);
	enum layer_compression compression;
	uint64_t bytes;
	int r = compression_of(argv[3], source, &compression, err);
	if (r == 0)
		r = layer_decompress(source, compression, out, &bytes, err);
	if (r == 0)
		printf("bytes=%ju\n", (uintmax_t)bytes);
	return r;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int argc_min;
		int (*run)(int argc, char **argv, struct err *err);
	} verbs[] = {
		{ "convert", 5, convert },
		{ "decompress", 5, decompress },
		{ "merge", 4, merge },
		{ "scan", 3, scan },
	};
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
		if (argc < verbs[i].argc_min || strcmp(argv[1], verbs[i].name) != 0)
			continue;
		struct err err = { 0 };
		int r = layer_init(&err);
		if (r == 0)
			r = verbs[i].run(argc, argv, &err);
		if (r < 0)
			fprintf(stderr, "%s\n", err.message);
		return r < 0 ? 1 : 0;
	}
	fprintf(stderr, "usage: layer_tool convert|decompress|merge|scan ...\n");
	return 2;
}
