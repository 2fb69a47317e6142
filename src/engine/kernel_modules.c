/* kernel_modules - the closure of guest_modules.def over what the modules say they depend on.
 *
 * A module's own word (.modinfo, read in a jailed worker) is the only source: modules.dep says the
 * same, but packages do not have it before they are installed, and one way is enough.  Which
 * drivers are part of the kernel itself stands in modules.builtin; without it (a kernel that came
 * without modules) all are taken to be. */
#include "engine/kernel_modules.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/quote.h"

#define BUILTIN_BYTES_MAX (4 << 20)
#define NAME_MAX_BYTES 64
#define DEPTH_MAX 16 /* of directories below lib/modules/RELEASE */

static const struct guest_module {
	const char *name;
	bool is_needed;
	const char *purpose;
} guest_modules[] = {
#define GUEST_MODULE(name, is_needed, purpose) { name, is_needed, purpose },
#include "engine/guest_modules.def"
#undef GUEST_MODULE
};

static const struct {
	const char *suffix;
	enum layer_compression compression;
} suffixes[] = {
	{ ".ko", LAYER_PLAIN },
	{ ".ko.gz", LAYER_GZIP },
	{ ".ko.xz", LAYER_XZ },
	{ ".ko.zst", LAYER_ZSTD },
};

struct module {
	char *name; /* owned; with "_" for "-", as the kernel has it */
	char *path; /* owned; below dir_fd; NULL: in the tar */
	uint64_t offset, size;
	enum layer_compression compression;
	bool is_taken; /* packed, or being looked at */
};

struct closure {
	const struct kernel_source *source;
	struct module *modules; /* owned; sorted by name */
	size_t len, capacity;
	struct strv builtin;
	bool has_builtin; /* the kernel says what it has built in */
	struct vm_cpio *cpio;
	struct strv *names;
};

static void closure_done(struct closure *c)
{
	for (size_t i = 0; i < c->len; i++) {
		free(c->modules[i].name);
		free(c->modules[i].path);
	}
	free(c->modules);
	strv_done(&c->builtin);
}

/* "drivers/net/virtio-net.ko.xz" is virtio_net, compressed; NULL: no module. */
static char *module_name(struct view path, enum layer_compression *ret_compression)
{
	while (memchr(path.data, '/', path.len) != NULL)
		(void)view_cut(&path, '/');
	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
		size_t suffix_len = strlen(suffixes[i].suffix);
		if (!view_ends(path, suffixes[i].suffix) || path.len <= suffix_len ||
			path.len - suffix_len > NAME_MAX_BYTES)
			continue;
		char *name = view_dup((struct view){ path.data, path.len - suffix_len });
		for (char *c = name; *c != '\0'; c++)
			if (*c == '-')
				*c = '_';
		*ret_compression = suffixes[i].compression;
		return name;
	}
	return NULL;
}

static struct module *closure_add(struct closure *c, struct view path)
{
	enum layer_compression compression;
	char *name = module_name(path, &compression);
	if (name == NULL)
		return NULL;
	if (c->len == c->capacity) {
		c->capacity = c->capacity * 2 + 64;
		c->modules = mem_grow(c->modules, c->capacity, sizeof(*c->modules));
	}
	struct module *module = &c->modules[c->len++];
	*module = (struct module){ .name = name, .compression = compression };
	return module;
}

/* ---- where modules are ---- */

/* The part of a member's name below lib/modules/RELEASE/. */
static bool below_release(const struct kernel_source *source, const char *name,
	struct view *ret_rest)
{
	struct view rest = view_of(name);
	AUTO_FREE char *prefix = text_format("lib/modules/%s/", source->release);
	if (view_starts(rest, "usr/"))
		rest = (struct view){ rest.data + 4, rest.len - 4 };
	if (!view_starts(rest, prefix))
		return false;
	*ret_rest = (struct view){ rest.data + strlen(prefix), rest.len - strlen(prefix) };
	return true;
}

static void find_in_tar(struct closure *c)
{
	for (size_t i = 0; i < c->source->list.len; i++) {
		const struct layer_member *member = &c->source->list.members[i];
		struct view rest;
		if (member->type != '0' || !below_release(c->source, member->name, &rest))
			continue;
		struct module *module = closure_add(c, rest);
		if (module == NULL)
			continue;
		module->offset = member->offset;
		module->size = member->size;
	}
}

static int find_in_dir(struct closure *c, int dir_fd, const char *path, int depth, struct err *err)
{
	int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (dir == NULL)
		return err_sys(err, errno, "list \"%.200s\"", path);
	int r = 0;
	for (struct dirent *entry; r == 0 && (entry = readdir(dir)) != NULL;) {
		if (entry->d_name[0] == '.' || c->len >= LIMIT_ARCHIVE_MEMBERS)
			continue;
		AUTO_FREE char *below = text_format("%s/%s", path, entry->d_name);
		if (entry->d_type == DT_DIR && depth < DEPTH_MAX)
			r = find_in_dir(c, dir_fd, below, depth + 1, err);
		struct module *module =
			entry->d_type == DT_REG ? closure_add(c, view_of(entry->d_name)) : NULL;
		if (module != NULL)
			module->path = TAKE(below);
	}
	(void)closedir(dir);
	return r;
}

static int compare_module(const void *a, const void *b)
{
	const struct module *x = a, *y = b;
	return strcmp(x->name, y->name);
}

static struct module *find(const struct closure *c, const char *name)
{
	const struct module key = { .name = (char *)(uintptr_t)name };
	return c->len == 0 ? NULL : bsearch(&key, c->modules, c->len, sizeof(key), compare_module);
}

/* ---- what is built in ---- */

static int read_builtin(const struct kernel_source *source, struct text *ret_text, struct err *err)
{
	if (source->dir_fd >= 0)
		return file_read_at(source->dir_fd, "modules.builtin", BUILTIN_BYTES_MAX, ret_text,
			NULL);
	for (size_t i = 0; i < source->list.len; i++) {
		const struct layer_member *member = &source->list.members[i];
		struct view rest;
		void *bytes;
		if (!below_release(source, member->name, &rest) ||
			!view_is(rest, "modules.builtin"))
			continue;
		int r = mem_try(member->size + 1, BUILTIN_BYTES_MAX, &bytes, err);
		if (r < 0)
			return r;
		r = fd_pread_exact(source->tar_fd, bytes, member->size, member->offset);
		if (r == 0)
			text_add(ret_text, bytes, member->size);
		free(bytes);
		return r;
	}
	return -ENOENT;
}

static int find_builtin(struct closure *c, struct err *err)
{
	AUTO_DONE(text) text = { 0 };
	int r = read_builtin(c->source, &text, err);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return err_wrap(err, r, "read modules.builtin");
	c->has_builtin = true;
	for (struct view rest = view_of_text(&text); rest.data != NULL;) {
		enum layer_compression compression;
		struct view line = view_cut(&rest, '\n');
		char *name = line.len > 0 ? module_name(line, &compression) : NULL;
		if (name != NULL)
			strv_take(&c->builtin, name);
	}
	return 0;
}

/* ---- the closure ---- */

static int visit(struct closure *c, struct module *module, struct err *err);

static int visit_depends(struct closure *c, const struct module *module, const char *depends,
	struct err *err)
{
	for (struct view rest = view_of(depends); rest.data != NULL;) {
		struct view part = view_cut(&rest, ',');
		if (part.len == 0)
			continue;
		AUTO_FREE char *name = view_dup(part);
		for (char *p = name; *p != '\0'; p++)
			if (*p == '-')
				*p = '_';
		struct module *needed = find(c, name);
		AUTO_FREE char *quoted = quote_string(name);
		if (needed == NULL && !strv_has(&c->builtin, name))
			return err_set(err, ERR_NOT_FOUND,
				"module %s needs %.64s, which is not there", module->name, quoted);
		int r = needed != NULL ? visit(c, needed, err) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static int open_module(const struct closure *c, const struct module *module, int *ret_fd,
	uint64_t *ret_size, struct err *err)
{
	int fd = module->path == NULL
			 ? fcntl(c->source->tar_fd, F_DUPFD_CLOEXEC, 3)
			 : path_at_open_beneath(c->source->dir_fd, module->path, O_RDONLY, 0);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, fd < -1 ? -fd : errno, "open module %s", module->name);
	*ret_size = module->path == NULL ? module->size : (uint64_t)st.st_size;
	*ret_fd = fd;
	return 0;
}

static bool is_of_release(const char *vermagic, const char *release)
{
	size_t len = strlen(release);
	return strncmp(vermagic, release, len) == 0 && vermagic[len] == ' ';
}

/* Without its signature, which stands beside it: to check that of all modules is half of the work
 * of a kernel's start, and says nothing that the import has not; moat-guest puts it back where the
 * kernel insists. */
static int pack(struct closure *c, const struct module *module, int fd, uint64_t body_size,
	struct err *err)
{
	struct stat st;
	if (c->names->len == LIMIT_GUEST_MODULES)
		return err_set(err, ERR_LIMIT, "a guest would need more than %d modules",
			(int)LIMIT_GUEST_MODULES);
	if (fstat(fd, &st) < 0)
		return err_sys(err, errno, "look at module %s", module->name);
	if (body_size > (uint64_t)st.st_size)
		return err_set(err, ERR_SYSTEM, "module %s is shorter than a worker says",
			module->name);
	AUTO_FREE char *path = text_format("lib/moat/%s.ko", module->name);
	AUTO_FREE char *signature_path = text_format("lib/moat/%s.ko.signature", module->name);
	const struct vm_cpio_entry body = { .name = path,
		.mode = S_IFREG | 0600,
		.has_source = true,
		.source_fd = fd,
		.size = body_size };
	const struct vm_cpio_entry signature = { .name = signature_path,
		.mode = S_IFREG | 0600,
		.has_source = true,
		.source_fd = fd,
		.offset = body_size,
		.size = (uint64_t)st.st_size - body_size };
	strv_add(c->names, module->name);
	int r = vm_cpio_add(c->cpio, &body, err);
	return r < 0 || signature.size == 0 ? r : vm_cpio_add(c->cpio, &signature, err);
}

/* After those it needs: so they are loaded in order. */
static int visit(struct closure *c, struct module *module, struct err *err)
{
	if (module->is_taken)
		return 0;
	module->is_taken = true;
	AUTO_CLOSE int fd = -1;
	AUTO_CLOSE int plain = memfd_create("module", MFD_CLOEXEC);
	struct extract_module bytes = { .offset = module->offset,
		.compression = module->compression };
	struct extract_module_words words = { 0 };
	int r = plain < 0 ? err_sys(err, errno, "make a file in memory")
			  : open_module(c, module, &fd, &bytes.size, err);
	if (r < 0)
		return r;
	bytes.fd = fd;
	r = extract_module(&bytes, plain, &words, err);
	AUTO_FREE char *vermagic = words.vermagic;
	AUTO_FREE char *depends = words.depends;
	if (r < 0)
		return err_wrap(err, r, "module %s", module->name);
	if (!is_of_release(vermagic, c->source->release)) {
		AUTO_FREE char *quoted = quote_string(vermagic);
		return err_set(err, ERR_INVALID, "module %s is of kernel \"%.80s\", not of %s",
			module->name, quoted, c->source->release);
	}
	r = visit_depends(c, module, depends, err);
	return r < 0 ? r : pack(c, module, plain, words.body_size, err);
}

static int visit_all(struct closure *c, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(guest_modules); i++) {
		const struct guest_module *row = &guest_modules[i];
		struct module *module = find(c, row->name);
		if (module == NULL && row->is_needed && c->has_builtin &&
			!strv_has(&c->builtin, row->name))
			return err_set(err, ERR_UNSUPPORTED,
				"kernel %s has no driver %s (%s), neither built in nor as a "
				"module: use another one",
				c->source->release, row->name, row->purpose);
		int r = module != NULL ? visit(c, module, err) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static int pack_list(struct closure *c, struct err *err)
{
	AUTO_DONE(text) list = { 0 };
	for (size_t i = 0; i < c->names->len; i++)
		text_printf(&list, "%s.ko\n", c->names->items[i]);
	const struct vm_cpio_entry entry = { .name = "lib/moat/modules.list",
		.mode = S_IFREG | 0600,
		.bytes = view_of_text(&list) };
	int r = vm_cpio_add(c->cpio, &entry, err);
	return r < 0 ? r : vm_cpio_end(c->cpio, err);
}

int kernel_modules_pack(const struct kernel_source *source, struct vm_cpio *cpio,
	struct strv *ret_names, struct err *err)
{
	static const char *const dirs[] = { "lib", "lib/moat" };
	struct closure c = { .source = source, .cpio = cpio, .names = ret_names };
	int r = 0;
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(dirs); i++) {
		const struct vm_cpio_entry entry = { .name = dirs[i], .mode = S_IFDIR | 0700 };
		r = vm_cpio_add(cpio, &entry, err);
	}
	if (source->tar_fd >= 0)
		find_in_tar(&c);
	if (r == 0 && source->dir_fd >= 0)
		r = find_in_dir(&c, source->dir_fd, ".", 0, err);
	if (c.len > 0)
		qsort(c.modules, c.len, sizeof(*c.modules), compare_module);
	if (r == 0)
		r = find_builtin(&c, err);
	if (r == 0 && c.len > 0 && !c.has_builtin)
		r = err_set(err, ERR_NOT_FOUND,
			"there is no modules.builtin beside the modules of kernel %s",
			source->release);
	if (r == 0)
		r = visit_all(&c, err);
	if (r == 0)
		r = pack_list(&c, err);
	closure_done(&c);
	return r;
}
