/* kernel_import - a guest kernel comes in.  Nothing is searched for on the host: the user names the
 * package, or the kernel and its modules.  Packages, kernels and modules are parsed by the jailed
 * worker only (extract.h). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/durable.h"
#include "base/fd.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/quote.h"
#include "engine/archive.h"
#include "engine/kernel_modules.h"
#include "engine/kernels.h"

#define COPY_BYTES (1 << 20)

struct import {
	struct engine *engine;
	const char *path, *modules_dir;
	int lock_fd; /* owned; ROOT/kernels */
	char *new;   /* owned; name of the directory being filled */
	int new_fd;  /* owned */
	struct kernel_source source;
	char *release, *kind; /* owned */
	struct strv modules;
};

static void import_done(struct import *import)
{
	if (import->new_fd >= 0)
		(void)close(import->new_fd);
	/* Empty once it has its name. */
	if (import->new != NULL)
		(void)!path_remove_tree(import->lock_fd, import->new, NULL);
	if (import->lock_fd >= 0)
		(void)close(import->lock_fd);
	member_list_done(&import->source.list);
	cleanup_close(&import->source.tar_fd);
	cleanup_close(&import->source.dir_fd);
	free(import->new);
	free(import->release);
	free(import->kind);
	strv_done(&import->modules);
}

static int make_dir(struct import *import, struct err *err)
{
	char id[ID_LEN + 1];
	id_new(id);
	import->new = text_format(".new-%s", id);
	if (mkdirat(import->lock_fd, import->new, 0700) < 0)
		return err_sys(err, errno, "make \"%s/kernels/%s\"", import->engine->root,
			import->new);
	import->new_fd = openat(import->lock_fd, import->new, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return import->new_fd < 0 ? err_sys(err, errno, "open \"%s\"", import->new) : 0;
}

static int create_file(const struct import *import, const char *name, int *ret_fd, struct err *err)
{
	int fd = openat(import->new_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(err, errno, "make \"%s\"", name);
	*ret_fd = fd;
	return 0;
}

/* size bytes from offset on, synced. */
static int copy_kernel(const struct import *import, int from, uint64_t offset, uint64_t size,
	int *ret_fd, struct err *err)
{
	if (size > LIMIT_KERNEL_BYTES)
		return err_set(err, ERR_LIMIT, "the kernel has %ju bytes: at most %ju are allowed",
			(uintmax_t)size, (uintmax_t)LIMIT_KERNEL_BYTES);
	AUTO_CLOSE int fd = -1;
	AUTO_FREE char *buffer = mem_new(1, COPY_BYTES);
	int r = create_file(import, "vmlinuz", &fd, err);
	for (uint64_t done = 0; r == 0 && done < size;) {
		size_t part = size - done < COPY_BYTES ? (size_t)(size - done) : COPY_BYTES;
		r = fd_pread_exact(from, buffer, part, offset + done);
		if (r == 0)
			r = fd_write_all(fd, buffer, part);
		if (r < 0)
			return err_sys(err, -r, "copy the kernel");
		done += part;
	}
	if (r == 0 && fsync(fd) < 0)
		return err_sys(err, errno, "write the kernel");
	if (r == 0)
		*ret_fd = TAKE_FD(fd);
	return r;
}

/* ---- a package ---- */

static int find_kernel(const struct import *import, const struct layer_member **ret_member,
	struct err *err)
{
	const struct layer_member *found = NULL;
	for (size_t i = 0; i < import->source.list.len; i++) {
		const struct layer_member *member = &import->source.list.members[i];
		if (member->type != '0' || strncmp(member->name, "boot/vmlinuz-", 13) != 0)
			continue;
		if (found != NULL)
			return err_set(err, ERR_INVALID, "\"%s\" has more than one kernel",
				import->path);
		found = member;
	}
	if (found == NULL)
		return err_set(err, ERR_INVALID,
			"\"%s\" has no boot/vmlinuz-...: the package of a kernel itself is "
			"wanted, such as linux-image-6.1.0-13-cloud-amd64",
			import->path);
	*ret_member = found;
	return 0;
}

static int unpack(struct import *import, int deb_fd, int *ret_kernel_fd, struct err *err)
{
	if (import->modules_dir != NULL)
		return err_set(err, ERR_INVALID,
			"\"%s\" is a package with modules of its own: leave out \"%s\"",
			import->path, import->modules_dir);
	const struct layer_member *kernel = NULL;
	int r = durable_temp(import->lock_fd, &import->source.tar_fd, err);
	if (r == 0)
		r = extract_deb(deb_fd, import->source.tar_fd, err);
	if (r == 0)
		r = extract_scan(import->source.tar_fd, &import->source.list, err);
	if (r == 0)
		r = find_kernel(import, &kernel, err);
	return r < 0 || kernel == NULL ? r
				       : copy_kernel(import, import->source.tar_fd, kernel->offset,
						 kernel->size, ret_kernel_fd, err);
}

/* ---- a kernel and its modules ---- */

static int open_modules(struct import *import, struct err *err)
{
	if (import->modules_dir == NULL)
		return 0;
	AUTO_FREE char *path =
		text_format("%s/lib/modules/%s", import->modules_dir, import->release);
	import->source.dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (import->source.dir_fd < 0)
		return err_sys(err, errno, "open the modules of kernel %s in \"%s\"",
			import->release, path);
	return 0;
}

static int read_kernel(struct import *import, int kernel_fd, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	struct stat st;
	int r = create_file(import, "vmlinux", &fd, err);
	if (r == 0)
		r = extract_kernel(kernel_fd, fd, &import->release, &import->kind, err);
	if (r < 0)
		return r;
	if (fsync(fd) < 0 || fstat(fd, &st) < 0)
		return err_sys(err, errno, "write the kernel");
	if (st.st_size == 0 && unlinkat(import->new_fd, "vmlinux", 0) < 0)
		return err_sys(err, errno, "remove an empty file");
	return 0;
}

static int take_kernel(struct import *import, struct err *err)
{
	AUTO_CLOSE int fd = open(import->path, O_RDONLY | O_CLOEXEC);
	AUTO_CLOSE int kernel_fd = -1;
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, errno, "open \"%s\"", import->path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_INVALID, "\"%s\" is not a file", import->path);
	bool is_deb = layer_deb_is(fd);
	int r = is_deb ? unpack(import, fd, &kernel_fd, err)
		       : copy_kernel(import, fd, 0, (uint64_t)st.st_size, &kernel_fd, err);
	if (r == 0)
		r = read_kernel(import, kernel_fd, err);
	if (r < 0)
		return err_wrap(err, r, "import \"%s\"", import->path);
	import->source.release = import->release;
	return is_deb ? 0 : open_modules(import, err);
}

static int take_modules(struct import *import, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	int r = create_file(import, "modules.cpio", &fd, err);
	if (r < 0)
		return r;
	struct vm_cpio cpio = { .fd = fd };
	r = kernel_modules_pack(&import->source, &cpio, &import->modules, err);
	if (r == 0 && fsync(fd) < 0)
		r = err_sys(err, errno, "write the modules");
	return r;
}

static int write_config(const struct import *import, struct err *err)
{
	uint64_t bytes;
	int r = path_disk_usage(import->lock_fd, import->new, &bytes);
	if (r < 0)
		return err_sys(err, -r, "look at the kernel's files");
	AUTO_JSON config = json_new_object();
	json_set_string(config, "name", import->release);
	json_set_string(config, "kind", import->kind);
	json_set_int(config, "imported_ns", clock_wall_ns());
	json_set_uint(config, "size_bytes", bytes);
	json_set_strv(config, "modules", &import->modules);
	AUTO_FREE char *text = json_text(config, true);
	return durable_write(import->new_fd, "config.json", 0600, view_of(text), err);
}

/* A kernel of the same name is exchanged for it, and goes with the rubbish. */
static int give_name(struct import *import, struct err *err)
{
	if (renameat2(import->lock_fd, import->new, import->lock_fd, import->release,
		    RENAME_NOREPLACE) < 0 &&
		(errno != EEXIST || renameat2(import->lock_fd, import->new, import->lock_fd,
					    import->release, RENAME_EXCHANGE) < 0))
		return err_sys(err, errno, "name kernel %s", import->release);
	int r = durable_sync_dir(import->lock_fd, err);
	return r < 0 ? r : kernels_choose(import->lock_fd, import->release, false, err);
}

int engine_kernel_import(struct engine *engine, const char *path, const char *modules_dir,
	char **ret_name, struct err *err)
{
	struct import import = { .engine = engine,
		.path = path,
		.modules_dir = modules_dir,
		.lock_fd = -1,
		.new_fd = -1,
		.source = { .tar_fd = -1, .dir_fd = -1 } };
	int r = kernels_lock(engine, &import.lock_fd, err);
	if (r == 0)
		r = make_dir(&import, err);
	if (r == 0)
		r = take_kernel(&import, err);
	if (r == 0)
		r = take_modules(&import, err);
	if (r == 0)
		r = write_config(&import, err);
	if (r == 0)
		r = give_name(&import, err);
	if (r == 0)
		*ret_name = TAKE(import.release);
	import_done(&import);
	return r;
}
