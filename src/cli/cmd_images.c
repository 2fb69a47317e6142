/* cmd_images - load, import, images, tag, rmi. */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/durable.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/quote.h"
#include "cli/command.h"

static void print_line(void *context, const char *line)
{
	AUTO_FREE char *quoted = quote_string(line);
	if (!*(const bool *)context)
		(void)printf("%s\n", quoted);
}

struct load_options {
	char *input;
	bool quiet;
};

int cmd_load(struct cli *cli, int argc, char **argv, struct err *err)
{
	static const struct option_row rows[] = {
		{ "input", 'i', OPTION_STRING, offsetof(struct load_options, input), "PATH",
			"Archive or folder; without it standard input", NULL },
		{ "quiet", 'q', OPTION_FLAG, offsetof(struct load_options, quiet), NULL,
			"Say nothing", NULL },
	};
	struct load_options options = { 0 };
	int first;
	bool help;
	int r = option_parse(cli, argc, argv, rows, ARRAY_LEN(rows), &options, &first, &help, err);
	AUTO_FREE char *input = options.input;
	if (r < 0 || help)
		return r;
	r = option_count(cli, argc - first, 0, 0, err);
	if (r == 0 && input == NULL && isatty(STDIN_FILENO))
		r = err_set(err, ERR_INVALID,
			"nothing to load: standard input is a terminal; use -i FILE or < FILE");
	struct engine *engine;
	if (r == 0)
		r = cli_engine(cli, &engine, err);
	if (r == 0)
		r = engine_repair(engine, err);
	return r != 0 ? r
		      : engine_load(engine, input == NULL ? "-" : input, print_line, &options.quiet,
				err);
}

/* ---- save ---- */

/* The archive stands under its name only when it is whole. */
static int save_file(struct engine *engine, const struct strv *names, const char *path,
	struct err *err)
{
	struct stat st;
	const char *slash = strrchr(path, '/');
	AUTO_FREE char *folder = slash == NULL ? mem_strdup(".")
					       : text_format("%.*s", (int)(slash - path + 1), path);
	AUTO_CLOSE int folder_fd = -1, fd = -1;
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
		fd = open(path, O_WRONLY | O_CLOEXEC);
		return fd < 0 ? err_sys(err, errno, "open \"%s\"", path)
			      : engine_save(engine, names, fd, err);
	}
	folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder_fd < 0)
		return err_sys(err, errno, "open folder \"%s\"", folder);
	int r = durable_temp(folder_fd, &fd, err);
	if (r == 0)
		r = engine_save(engine, names, fd, err);
	if (r == 0)
		r = durable_link(fd, folder_fd, slash == NULL ? path : slash + 1, true, err);
	return r < 0 ? err_wrap(err, r, "save to \"%s\"", path) : 0;
}

int cmd_save(struct cli *cli, int argc, char **argv, struct err *err)
{
	char *output = NULL;
	static const struct option_row rows[] = { { "output", 'o', OPTION_STRING, 0, "FILE",
		"Write to a file instead of standard output", NULL } };
	int first;
	bool help;
	int r = option_parse(cli, argc, argv, rows, ARRAY_LEN(rows), &output, &first, &help, err);
	AUTO_FREE char *path = output;
	if (r < 0 || help)
		return r;
	r = option_count(cli, argc - first, 1, -1, err);
	if (r == 0 && path == NULL && isatty(STDOUT_FILENO))
		r = err_set(err, ERR_INVALID,
			"an archive is nothing for a terminal: use -o FILE or > FILE");
	AUTO_DONE(strv) names = { 0 };
	for (int i = first; i < argc; i++)
		strv_add(&names, argv[i]);
	struct engine *engine;
	if (r == 0)
		r = cli_engine(cli, &engine, err);
	if (r != 0)
		return r;
	return path == NULL ? engine_save(engine, &names, STDOUT_FILENO, err)
			    : save_file(engine, &names, path, err);
}

int cmd_import(struct cli *cli, int argc, char **argv, struct err *err)
{
	int first;
	bool help;
	int r = option_parse(cli, argc, argv, NULL, 0, NULL, &first, &help, err);
	if (r < 0 || help)
		return r;
	struct engine *engine;
	struct digest id;
	char text[DIGEST_TEXT_LEN + 1];
	r = option_count(cli, argc - first, 1, 2, err);
	if (r == 0)
		r = cli_engine(cli, &engine, err);
	if (r == 0)
		r = engine_import(engine, argv[first], argc - first > 1 ? argv[first + 1] : NULL,
			&id, err);
	if (r == 0)
		(void)printf("%s\n", digest_text(&id, text));
	return r;
}

int cmd_tag(struct cli *cli, int argc, char **argv, struct err *err)
{
	int first;
	bool help;
	int r = option_parse(cli, argc, argv, NULL, 0, NULL, &first, &help, err);
	if (r < 0 || help)
		return r;
	struct engine *engine;
	r = option_count(cli, argc - first, 2, 2, err);
	if (r == 0)
		r = cli_engine(cli, &engine, err);
	return r != 0 ? r : engine_image_tag(engine, argv[first], argv[first + 1], err);
}

static int remove_image(struct engine *engine, const char *name, void *context, struct err *err)
{
	static const bool is_quiet = false;
	bool force = *(const bool *)context;
	return engine_image_remove(engine, name, force, print_line, (void *)(uintptr_t)&is_quiet,
		err);
}

int cmd_rmi(struct cli *cli, int argc, char **argv, struct err *err)
{
	bool force = false;
	static const struct option_row rows[] = { { "force", 'f', OPTION_FLAG, 0, NULL,
		"Remove it with all its names", NULL } };
	int first;
	bool help;
	int r = option_parse(cli, argc, argv, rows, 1, &force, &first, &help, err);
	if (r < 0 || help)
		return r;
	r = option_count(cli, argc - first, 1, -1, err);
	return r < 0 ? r
		     : command_each(cli, argc - first, argv + first, remove_image, &force, true,
			       err);
}

/* ---- images ---- */

struct images_options {
	bool all, quiet, no_trunc, digests;
	char *format;
	struct strv filters;
	const char *only; /* a pattern of a repository, with or without a tag */
};

static void images_options_done(struct images_options *options)
{
	free(options->format);
	strv_done(&options->filters);
}

#define DANGLING "dangling="
#define REFERENCE "reference="

static int check_filters(const struct strv *filters, struct err *err)
{
	for (size_t i = 0; i < filters->len; i++) {
		struct view filter = view_of(filters->items[i]);
		if (!view_starts(filter, REFERENCE) && !view_is(filter, DANGLING "true") &&
			!view_is(filter, DANGLING "false"))
			return err_set(err, ERR_INVALID,
				"invalid filter \"%s\": write reference=PATTERN or "
				"dangling=true",
				filters->items[i]);
	}
	return 0;
}

static bool matches(const char *pattern, const char *repository, const char *tag)
{
	AUTO_FREE char *both = text_format("%s:%s", repository, tag);
	return fnmatch(pattern, repository, FNM_PATHNAME) == 0 ||
	       fnmatch(pattern, both, FNM_PATHNAME) == 0;
}

/* Of several references one must match. */
static bool is_wanted(const struct images_options *options, const char *repository, const char *tag)
{
	bool is_dangling = strcmp(repository, "<none>") == 0;
	size_t asked = 0, matched = 0;
	for (size_t i = 0; i < options->filters.len; i++) {
		const char *filter = options->filters.items[i];
		if (view_starts(view_of(filter), REFERENCE)) {
			asked++;
			matched += matches(filter + strlen(REFERENCE), repository, tag);
		} else if (is_dangling != (strcmp(filter, DANGLING "true") == 0)) {
			return false;
		}
	}
	return (asked == 0 || matched > 0) &&
	       (options->only == NULL || matches(options->only, repository, tag));
}

struct images {
	const struct images_options *options;
	json *rows;
};

static void add_row(const struct images *images, const struct engine_image *image,
	const char *repository, const char *tag)
{
	if (!is_wanted(images->options, repository, tag))
		return;
	char size[NUM_SIZE_TEXT_MAX], duration[CLOCK_HUMAN_MAX], created[CLOCK_RFC3339_MAX];
	char full[DIGEST_TEXT_LEN + 1], manifest[DIGEST_TEXT_LEN + 1];
	AUTO_FREE char *id = images->options->no_trunc ? mem_strdup(digest_text(&image->id, full))
						       : text_format("%.12s", image->id.hex);
	AUTO_FREE char *ago =
		image->created_ns == 0
			? mem_strdup("N/A")
			: text_format("%s ago",
				  clock_human_duration(clock_wall_ns() - image->created_ns,
					  duration));
	json *row = json_new_object();
	json_set_string(row, "ID", id);
	json_set_string(row, "Repository", repository);
	json_set_string(row, "Tag", tag);
	json_set_string(row, "Digest", digest_text(&image->manifest, manifest));
	json_set_string(row, "CreatedSince", ago);
	json_set_string(row, "CreatedAt", clock_rfc3339(image->created_ns, created));
	json_set_string(row, "Size", num_size_decimal(image->size_bytes, size));
	json_push(images->rows, row);
}

static int add_image(void *context, const struct engine_image *image, struct err *err)
{
	(void)err;
	const struct images *images = context;
	for (size_t i = 0; i < image->references.len; i++) {
		const char *reference = image->references.items[i];
		const char *colon = strrchr(reference, ':');
		AUTO_FREE char *repository =
			text_format("%.*s", (int)(colon - reference), reference);
		add_row(images, image, repository, colon + 1);
		if (images->options->quiet)
			break;
	}
	if (image->references.len == 0)
		add_row(images, image, "<none>", "<none>");
	return 0;
}

int cmd_images(struct cli *cli, int argc, char **argv, struct err *err)
{
#define AT(field) offsetof(struct images_options, field)
	static const struct option_row rows[] = {
		{ "all", 'a', OPTION_FLAG, AT(all), NULL, "All images (there are no hidden ones)",
			NULL },
		{ "digests", 0, OPTION_FLAG, AT(digests), NULL, "Show the manifests' digests",
			NULL },
		{ "filter", 'f', OPTION_LIST, AT(filters), "KEY=VALUE", "By reference or dangling",
			NULL },
		{ "format", 0, OPTION_STRING, AT(format), "TEMPLATE", "Go template, table or json",
			NULL },
		{ "no-trunc", 0, OPTION_FLAG, AT(no_trunc), NULL, "Do not shorten ids", NULL },
		{ "quiet", 'q', OPTION_FLAG, AT(quiet), NULL, "Ids only", NULL },
	};
#undef AT
	static const char *const headers[] = { "IMAGE ID", "REPOSITORY", "TAG", "CREATED", "SIZE",
		NULL };
	static const char *const keys[] = { "ID", "Repository", "Tag", "CreatedSince", "Size",
		NULL };
	static const char *const table_headers[] = { "REPOSITORY", "TAG", "IMAGE ID", "CREATED",
		"SIZE", NULL };
	static const char *const table_keys[] = { "Repository", "Tag", "ID", "CreatedSince", "Size",
		NULL };
	static const char *const digest_headers[] = { "REPOSITORY", "TAG", "DIGEST", "IMAGE ID",
		"CREATED", "SIZE", NULL };
	static const char *const digest_keys[] = { "Repository", "Tag", "Digest", "ID",
		"CreatedSince", "Size", NULL };
	static const char *const more_keys[] = { "CreatedAt", "Digest", NULL };
	AUTO_DONE(images_options) options = { 0 };
	int first;
	bool help;
	int r = option_parse(cli, argc, argv, rows, ARRAY_LEN(rows), &options, &first, &help, err);
	if (r < 0 || help)
		return r;
	struct engine *engine;
	r = option_count(cli, argc - first, 0, 1, err);
	if (r == 0)
		r = check_filters(&options.filters, err);
	if (r == 0)
		r = cli_engine(cli, &engine, err);
	if (r != 0)
		return r;
	options.only = argc > first ? argv[first] : NULL;
	AUTO_JSON list = json_new_array();
	struct images images = { .options = &options, .rows = list };
	r = engine_images_each(engine, add_image, &images, err);
	const struct listing listing = {
		.headers = options.quiet     ? headers
			   : options.digests ? digest_headers
					     : table_headers,
		.keys = options.quiet     ? keys
			: options.digests ? digest_keys
					  : table_keys,
		.more_keys = more_keys,
		.format = options.format,
		.quiet = options.quiet,
	};
	return r < 0 ? r : listing_print(&listing, list, err);
}
