/* engine - opening: two directories and, on demand, the database. */
#include "engine/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/path.h"
#include "engine/handle.h"

static const char *const root_dirs[] = { "blobs", "blobs/sha256", "cache", "images",
	"images/sha256", "kernels", "layers", "layers/sha256", "unfinished", "workloads" };
static const char *const run_dirs[] = { "addresses", "images", "names" };

static int open_dir(const char *path, const char *what, const char *const *subdirs, size_t len,
	int *ret_fd, bool *ret_is_new, struct err *err)
{
	if (path[0] != '/')
		return err_set(err, ERR_INVALID, "the %s directory \"%s\" is not an absolute path",
			what, path);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*ret_is_new = fd < 0;
	if (fd < 0) {
		if (errno != ENOENT)
			return err_sys(err, errno, "open the %s directory \"%s\"", what, path);
		int r = path_make_dirs(path, 0700, err);
		if (r < 0)
			return r;
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return err_sys(err, errno, "open the %s directory \"%s\"", what, path);
	}
	/* The last one made tells whether a killed command left the list half made. */
	if (faccessat(fd, subdirs[len - 1], F_OK, 0) < 0) {
		for (size_t i = 0; i < len; i++) {
			int r = path_make_dir(fd, subdirs[i], 0700);
			if (r < 0)
				return err_sys(err, -r, "make \"%s/%s\"", path, subdirs[i]);
		}
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int engine_open(const char *root, const char *run, const char *config, struct engine **ret_engine,
	struct err *err)
{
	bool is_new_root, is_new_boot;
	AUTO_CLOSE int root_fd = -1;
	AUTO_CLOSE int run_fd = -1;
	int r = open_dir(root, "data", root_dirs, ARRAY_LEN(root_dirs), &root_fd, &is_new_root,
		err);
	if (r < 0)
		return r;
	r = open_dir(run, "run", run_dirs, ARRAY_LEN(run_dirs), &run_fd, &is_new_boot, err);
	if (r < 0)
		return r;

	struct engine *engine = NEW(engine);
	*engine = (struct engine){
		.root = mem_strdup(root),
		.run = mem_strdup(run),
		.config = mem_strdup(config),
		.root_fd = TAKE_FD(root_fd),
		.run_fd = TAKE_FD(run_fd),
		.is_new_boot = is_new_boot,
	};
	*ret_engine = engine;
	return 0;
}

void engine_free(struct engine *engine)
{
	if (engine == NULL)
		return;
	state_free(engine->state);
	(void)close(engine->root_fd);
	(void)close(engine->run_fd);
	free(engine->root);
	free(engine->run);
	free(engine->config);
	free(engine);
}

int engine_state(struct engine *engine, struct state **ret_state, struct err *err)
{
	if (engine->state == NULL) {
		int r = state_open(engine->root, &engine->state, err);
		if (r < 0)
			return r;
	}
	*ret_state = engine->state;
	return 0;
}

char *engine_path(const struct engine *engine, const char *format, ...)
{
	AUTO_DONE(text) path = { 0 };
	text_puts(&path, engine->root);
	text_puts(&path, "/");
	va_list args;
	va_start(args, format);
	text_vprintf(&path, format, args);
	va_end(args);
	return text_take(&path);
}

void engine_bridge_name(const struct engine *engine, char name[16])
{
	if (strcmp(engine->run, ENGINE_RUN_DEFAULT) == 0) {
		(void)snprintf(name, 16, "moat0");
		return;
	}
	uint32_t hash = 2166136261; /* FNV-1a */
	for (const char *p = engine->run; *p != 0; p++)
		hash = (hash ^ (uint8_t)*p) * 16777619;
	(void)snprintf(name, 16, "mt%08x", hash);
}
