#include "engine/running.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/mem.h"
#include "engine/live.h"
#include "engine/spec.h"

#define NAME_MAX_BYTES 256

/* A symbolic link takes the place of what is there at once, as a reader must find one or the other.
 * It is made in the workload's own directory, where nobody else makes one. */
static int link_replace(const struct engine *engine, const char *id, const char *target,
	const char *path)
{
	AUTO_FREE char *made = text_format("%s/link", id);
	if (unlinkat(engine->run_fd, made, 0) < 0 && errno != ENOENT)
		return -errno;
	return symlinkat(target, engine->run_fd, made) < 0 ||
			       renameat(engine->run_fd, made, engine->run_fd, path) < 0
		       ? -errno
		       : 0;
}

static int link_read(int dir_fd, const char *path, char text[NAME_MAX_BYTES])
{
	ssize_t n = readlinkat(dir_fd, path, text, NAME_MAX_BYTES - 1);
	if (n < 0)
		return -errno;
	text[n] = 0;
	return 0;
}

int running_publish(const struct engine *engine, const char *id, const struct workload_spec *spec,
	struct err *err)
{
	AUTO_JSON object = workload_spec_to_json(spec);
	AUTO_FREE char *text = json_text(object, false);
	AUTO_FREE char *spec_path = text_format("%s/spec", id);
	AUTO_FREE char *name_path = text_format("%s/name", id);
	AUTO_FREE char *names_path = text_format("names/%s", spec->name);
	int r = file_write_at(engine->run_fd, spec_path, 0600, view_of(text), err);
	if (r < 0)
		return r;
	r = link_replace(engine, id, spec->name, name_path);
	if (r == 0)
		r = link_replace(engine, id, id, names_path);
	return r < 0 ? err_sys(err, -r, "note the name of workload %.12s", id) : 0;
}

void running_withdraw(const struct engine *engine, const char *id)
{
	char name[NAME_MAX_BYTES], owner[NAME_MAX_BYTES];
	AUTO_FREE char *name_path = text_format("%s/name", id);
	if (link_read(engine->run_fd, name_path, name) < 0)
		return;
	AUTO_FREE char *names_path = text_format("names/%s", name);
	if (link_read(engine->run_fd, names_path, owner) == 0 && strcmp(owner, id) == 0)
		(void)unlinkat(engine->run_fd, names_path, 0);
}

/* The one id that begins so; none where two do. */
static int find_prefix(int run_fd, const char *prefix, char id[NAME_MAX_BYTES])
{
	int fd = openat(run_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (dir == NULL)
		return -errno;
	size_t len = strlen(prefix), found = 0;
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
		if (strncmp(entry->d_name, prefix, len) != 0 || !id_is(entry->d_name))
			continue;
		found++;
		memcpy(id, entry->d_name, ID_LEN + 1);
	}
	(void)closedir(dir);
	return found == 1 ? 0 : -ENOENT;
}

static int find_id(const struct engine *engine, const char *name, char id[NAME_MAX_BYTES])
{
	if (id_is(name)) {
		memcpy(id, name, ID_LEN + 1);
		return 0;
	}
	if (!id_name_is_valid(name))
		return -ENOENT;
	AUTO_FREE char *path = text_format("names/%s", name);
	if (link_read(engine->run_fd, path, id) == 0)
		return id_is(id) ? 0 : -ENOENT;
	return find_prefix(engine->run_fd, name, id);
}

int running_find(const struct engine *engine, const char *name, struct workload *ret_workload)
{
	char id[NAME_MAX_BYTES], own_name[NAME_MAX_BYTES];
	if (find_id(engine, name, id) < 0)
		return -ENOENT;
	AUTO_CLOSE int run_fd = openat(engine->run_fd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (run_fd < 0)
		return -ENOENT;
	AUTO_DONE(text) text = { 0 };
	struct workload workload = { .id = mem_strdup(id), .phase = WORKLOAD_RUNNING };
	struct live live = { 0 };
	if (live_read_init(run_fd, &live) < 0 || !live.init_lives || !live_monitor_lives(run_fd) ||
		link_read(run_fd, "name", own_name) < 0 ||
		file_read_at(run_fd, "spec", LIMIT_JSON_BYTES, &text, NULL) < 0 ||
		workload_spec_from_json(view_of_text(&text), &workload.spec, NULL) < 0) {
		workload_done(&workload);
		return -ENOENT;
	}
	workload.name = mem_strdup(own_name);
	workload.pid = live.init.pid;
	*ret_workload = workload;
	return 0;
}
