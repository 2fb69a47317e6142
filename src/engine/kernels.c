/* kernels - see kernels.h. */
#include "engine/kernels.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/durable.h"
#include "base/fd.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/spawn.h"
#include "vm/vm.h"

#define DIR_NAME "kernels"
#define DEFAULT_NAME "default"
#define NEW_PREFIX ".new-"
#define LOCK_MS 60000 /* an import may hold it for some seconds */
#define WHAT_TO_DO                                                               \
	"import one with \"moat kernel import FILE\": a Debian package such as " \
	"linux-image-6.1.0-13-cloud-amd64, or a vmlinuz and the directory of its modules"

void kernel_done(struct kernel *kernel)
{
	free(kernel->name);
	cleanup_close(&kernel->image_fd);
	cleanup_close(&kernel->modules_fd);
	*kernel = (struct kernel){ .image_fd = -1, .modules_fd = -1 };
}

/* Of a kernel in the store; nothing else may be looked for below the directory. */
static int name_check(const char *name, struct err *err)
{
	if (name[0] >= '0' && name[0] <= '9' && strchr(name, '/') == NULL && strlen(name) <= 64)
		return 0;
	return err_set(err, ERR_NOT_FOUND, "no such kernel: \"%.64s\"; see \"moat kernel ls\"",
		name);
}

/* ---- the directory ---- */

static int open_dir(struct engine *engine, int *ret_fd, struct err *err)
{
	int r = path_make_dir(engine->root_fd, DIR_NAME, 0700);
	int fd = r < 0 ? r : openat(engine->root_fd, DIR_NAME, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, r < 0 ? -r : errno, "open \"%s/" DIR_NAME "\"", engine->root);
	*ret_fd = fd;
	return 0;
}

/* The names in it that begin so; or, with prefix NULL, those of kernels, sorted. */
static int list_names(int dir_fd, const char *prefix, struct strv *names, struct err *err)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (dir == NULL)
		return err_sys(err, errno, "list the kernels");
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
		bool is_wanted = prefix != NULL
					 ? strncmp(entry->d_name, prefix, strlen(prefix)) == 0
					 : name_check(entry->d_name, NULL) == 0;
		if (is_wanted)
			strv_add(names, entry->d_name);
	}
	(void)closedir(dir);
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int kernels_lock(struct engine *engine, int *ret_dir_fd, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	int r = open_dir(engine, &fd, err);
	if (r < 0)
		return r;
	r = fd_lock(fd, true, LOCK_MS);
	if (r < 0)
		return err_set(err, ERR_TIMEOUT,
			"another command changes the kernels in \"%s\" for more than %d s",
			engine->root, LOCK_MS / 1000);
	AUTO_DONE(strv) rubbish = { 0 };
	r = list_names(fd, NEW_PREFIX, &rubbish, err);
	for (size_t i = 0; r == 0 && i < rubbish.len; i++)
		r = path_remove_tree(fd, rubbish.items[i], err);
	if (r == 0)
		*ret_dir_fd = TAKE_FD(fd);
	return r;
}

static bool kernel_is_there(int dir_fd, const char *name)
{
	AUTO_FREE char *path = text_format("%s/config.json", name);
	return name_check(name, NULL) == 0 && faccessat(dir_fd, path, F_OK, 0) == 0;
}

/* The chosen one, or NULL. */
static char *default_name(int dir_fd)
{
	AUTO_FREE char *name = NULL;
	if (path_read_link(dir_fd, DEFAULT_NAME, &name) < 0 || !kernel_is_there(dir_fd, name))
		return NULL;
	return TAKE(name);
}

int kernels_choose(int dir_fd, const char *name, bool replace, struct err *err)
{
	AUTO_FREE char *now = default_name(dir_fd);
	if (now != NULL && !replace)
		return 0;
	char id[ID_LEN + 1];
	id_new(id);
	AUTO_FREE char *new = text_format(NEW_PREFIX "%s", id);
	if (symlinkat(name, dir_fd, new) < 0 || renameat(dir_fd, new, dir_fd, DEFAULT_NAME) < 0)
		return err_sys(err, errno, "choose kernel %s", name);
	return durable_sync_dir(dir_fd, err);
}

/* ---- for machines ---- */

static int find_default(int dir_fd, char **ret_name, struct err *err)
{
	AUTO_FREE char *name = default_name(dir_fd);
	if (name != NULL) {
		*ret_name = TAKE(name);
		return 0;
	}
	AUTO_DONE(strv) names = { 0 };
	int r = list_names(dir_fd, NULL, &names, err);
	if (r < 0)
		return r;
	if (names.len == 0)
		return err_set(err, ERR_NOT_FOUND,
			"there is no kernel for virtual machines: " WHAT_TO_DO);
	if (names.len > 1)
		return err_set(err, ERR_CONFLICT,
			"there are %zu kernels for virtual machines and none is chosen: do it with "
			"\"moat kernel use KERNEL\"",
			names.len);
	*ret_name = mem_strdup(names.items[0]);
	return 0;
}

static int open_file(int dir_fd, const char *name, const char *file, int *ret_fd, struct err *err)
{
	AUTO_FREE char *path = text_format("%s/%s", name, file);
	*ret_fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC);
	return *ret_fd < 0 ? err_sys(err, errno, "open %s of kernel %s", file, name) : 0;
}

int kernels_open(struct engine *engine, const char *name, struct kernel *ret_kernel,
	struct err *err)
{
	AUTO_CLOSE int dir_fd = -1;
	AUTO_DONE(kernel) kernel = { .image_fd = -1, .modules_fd = -1 };
	int r = open_dir(engine, &dir_fd, err);
	if (r == 0 && name != NULL)
		r = name_check(name, err);
	if (r < 0)
		return r;
	if (name == NULL) {
		r = find_default(dir_fd, &kernel.name, err);
		if (r < 0)
			return r;
	} else {
		kernel.name = mem_strdup(name);
		if (!kernel_is_there(dir_fd, name))
			return err_set(err, ERR_NOT_FOUND,
				"no such kernel: \"%.64s\"; see \"moat kernel ls\"", name);
	}
	r = open_file(dir_fd, kernel.name, "vmlinux", &kernel.image_fd, NULL);
	if (r == -ENOENT)
		r = open_file(dir_fd, kernel.name, "vmlinuz", &kernel.image_fd, err);
	if (r == 0)
		r = open_file(dir_fd, kernel.name, "modules.cpio", &kernel.modules_fd, err);
	if (r < 0)
		return r;
	*ret_kernel = (struct kernel){ TAKE(kernel.name), TAKE_FD(kernel.image_fd),
		TAKE_FD(kernel.modules_fd) };
	return 0;
}

/* ---- the guest's initramfs ---- */

#define GUEST_PREFIX "guest-"

static int pack_guest(int program_fd, uint64_t size, int out_fd, struct err *err)
{
	const struct vm_cpio_entry entries[] = {
		{ .name = "dev", .mode = S_IFDIR | 0755 },
		/* What the kernel opens for its init before that has mounted anything. */
		{ .name = "dev/console", .mode = S_IFCHR | 0600, .major = 5, .minor = 1 },
		{ .name = "init",
			.mode = S_IFREG | 0755,
			.has_source = true,
			.source_fd = program_fd,
			.size = size },
	};
	struct vm_cpio cpio = { .fd = out_fd };
	int r = 0;
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(entries); i++)
		r = vm_cpio_add(&cpio, &entries[i], err);
	return r < 0 ? r : vm_cpio_end(&cpio, err);
}

static void remove_old_guests(int cache_fd, const char *keep)
{
	AUTO_DONE(strv) names = { 0 };
	if (list_names(cache_fd, GUEST_PREFIX, &names, NULL) < 0)
		return;
	for (size_t i = 0; i < names.len; i++)
		if (strcmp(names.items[i], keep) != 0)
			(void)unlinkat(cache_fd, names.items[i], 0);
}

int kernels_open_guest(struct engine *engine, int *ret_fd, struct err *err)
{
	AUTO_FREE char *path = NULL;
	struct stat st;
	int r = spawn_sibling("moat-guest", &path, err);
	if (r < 0)
		return r;
	AUTO_CLOSE int program = open(path, O_RDONLY | O_CLOEXEC);
	AUTO_CLOSE int cache = openat(engine->root_fd, "cache", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (program < 0 || fstat(program, &st) < 0)
		return err_sys(err, errno, "open \"%s\"", path);
	if (cache < 0)
		return err_sys(err, errno, "open \"%s/cache\"", engine->root);
	/* Which program this is, without reading it: hashing it takes longer than packing it. */
	AUTO_FREE char *name = text_format(GUEST_PREFIX "%s-%jx-%jx-%jx%09ld.cpio", MOAT_VERSION,
		(uintmax_t)st.st_ino, (uintmax_t)st.st_size, (uintmax_t)st.st_mtim.tv_sec,
		st.st_mtim.tv_nsec);
	*ret_fd = openat(cache, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (*ret_fd >= 0)
		return 0;
	AUTO_CLOSE int fd = -1;
	r = durable_temp(cache, &fd, err);
	if (r == 0)
		r = pack_guest(program, (uint64_t)st.st_size, fd, err);
	if (r == 0)
		r = durable_link(fd, cache, name, true, err);
	if (r < 0)
		return r;
	remove_old_guests(cache, name);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* ---- for people ---- */

static void engine_kernel_done(struct engine_kernel *kernel)
{
	free(kernel->name);
	free(kernel->kind);
}

static int read_kernel(int dir_fd, const char *name, struct engine_kernel *ret_kernel,
	struct err *err)
{
	AUTO_FREE char *path = text_format("%s/config.json", name);
	AUTO_DONE(text) bytes = { 0 };
	AUTO_JSON config = NULL;
	int r = file_read_at(dir_fd, path, LIMIT_JSON_BYTES, &bytes, err);
	if (r == 0)
		r = json_parse(view_of_text(&bytes), path, &config, err);
	if (r < 0)
		return r;
	const char *kind = json_get_string(config, "kind");
	*ret_kernel = (struct engine_kernel){
		.name = mem_strdup(name),
		.kind = mem_strdup(kind != NULL ? kind : ""),
		.imported_ns = json_get_int(config, "imported_ns", 0),
		.size_bytes = json_get_uint(config, "size_bytes", 0),
		.modules = json_array_len(json_get_array(config, "modules")),
	};
	return 0;
}

int engine_kernels_each(struct engine *engine, engine_kernel_fn *fn, void *context, struct err *err)
{
	AUTO_CLOSE int dir_fd = -1;
	AUTO_DONE(strv) names = { 0 };
	int r = open_dir(engine, &dir_fd, err);
	if (r == 0)
		r = list_names(dir_fd, NULL, &names, err);
	if (names.len > 0)
		qsort(names.items, names.len, sizeof(names.items[0]), compare_names);
	AUTO_FREE char *chosen = r == 0 ? default_name(dir_fd) : NULL;
	for (size_t i = 0; r == 0 && i < names.len; i++) {
		struct engine_kernel kernel = { 0 };
		r = read_kernel(dir_fd, names.items[i], &kernel, err);
		if (r == -ENOENT) { /* removed meanwhile */
			r = 0;
			continue;
		}
		kernel.is_default =
			chosen != NULL ? strcmp(chosen, names.items[i]) == 0 : names.len == 1;
		if (r == 0)
			r = fn(context, &kernel, err);
		engine_kernel_done(&kernel);
	}
	return r;
}

static int lock_existing(struct engine *engine, const char *name, int *ret_dir_fd, struct err *err)
{
	int r = name_check(name, err);
	if (r == 0)
		r = kernels_lock(engine, ret_dir_fd, err);
	if (r == 0 && !kernel_is_there(*ret_dir_fd, name))
		r = err_set(err, ERR_NOT_FOUND, "no such kernel: \"%.64s\"; see \"moat kernel ls\"",
			name);
	return r;
}

int engine_kernel_use(struct engine *engine, const char *name, struct err *err)
{
	AUTO_CLOSE int dir_fd = -1;
	int r = lock_existing(engine, name, &dir_fd, err);
	return r < 0 ? r : kernels_choose(dir_fd, name, true, err);
}

/* Machines that run have it open and go on. */
int engine_kernel_remove(struct engine *engine, const char *name, struct err *err)
{
	AUTO_CLOSE int dir_fd = -1;
	int r = lock_existing(engine, name, &dir_fd, err);
	if (r < 0)
		return r;
	char id[ID_LEN + 1];
	id_new(id);
	AUTO_FREE char *rubbish = text_format(NEW_PREFIX "%s", id);
	AUTO_FREE char *chosen = default_name(dir_fd);
	/* Out of sight at once, so that nobody finds half a kernel. */
	if (renameat(dir_fd, name, dir_fd, rubbish) < 0)
		return err_sys(err, errno, "remove kernel %s", name);
	if (chosen != NULL && strcmp(chosen, name) == 0)
		(void)unlinkat(dir_fd, DEFAULT_NAME, 0);
	r = path_remove_tree(dir_fd, rubbish, err);
	return r < 0 ? r : durable_sync_dir(dir_fd, err);
}
