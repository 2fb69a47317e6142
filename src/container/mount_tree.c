/* mount_tree - fills a container's root with mounts.
 *
 * Each mount is made detached (fsopen, fsmount, open_tree), its target is opened once inside the
 * root (openat2 with RESOLVE_IN_ROOT), and move_mount joins the two descriptors: no path is ever
 * resolved twice, so nothing that swaps names in the root can lead a mount elsewhere
 * (CVE-2021-30465, CVE-2024-45310).  Targets in /proc, /sys and /dev may not be reached through any
 * symlink at all: an image that ships /dev as a link is refused.  Nothing but a procfs goes onto a
 * procfs: a fake /proc would swallow what the kernel and we write there (CVE-2023-27561).
 *
 * Uses only what Linux 5.12 has, except for what is said at the place. */
#include "container/mount_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "base/path.h"
#include "container/cgroup_view.h"
#include "container/container_spec.h"

void mount_tree_done(struct mount_tree *tree)
{
	cleanup_close(&tree->root_fd);
	cleanup_close(&tree->proc_fd);
	cleanup_close(&tree->dev_fd);
}

int mount_attach(int mount_fd, int target_fd, const char *what, struct err *err)
{
	if (move_mount(mount_fd, "", target_fd, "",
		    MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return err_sys(err, errno, "mount at %s", what);
	return 0;
}

/* ---- sources ---- */

int mount_source_open(const struct spec_mount *mount, int *ret_fd, struct err *err)
{
	unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
	if (mount->is_recursive)
		flags |= AT_RECURSIVE;
	int fd = open_tree(AT_FDCWD, mount->source, flags);
	if (fd < 0 && errno == ENOENT)
		return err_set(err, ERR_NOT_FOUND,
			"mount %s: its source %s does not exist on the host", mount->destination,
			mount->source);
	if (fd < 0)
		return err_sys(err, errno, "mount %s: open its source %s", mount->destination,
			mount->source);
	*ret_fd = fd;
	return 0;
}

static int bind_restrict(int fd, const struct spec_mount *mount, struct err *err)
{
	struct mount_attr attr = {
		.attr_set = mount->attributes,
		.attr_clr = mount->attributes_cleared,
		.propagation = mount->propagation != 0 ? mount->propagation : MS_PRIVATE,
	};
	/* Kernel rule: an access time mode is set by clearing the old one (mount_setattr(2)). */
	if (attr.attr_set & (MOUNT_ATTR_NOATIME | MOUNT_ATTR_STRICTATIME))
		attr.attr_clr |= MOUNT_ATTR__ATIME;
	/* A read-only tree with writable mounts in it would be read-only in name only. */
	unsigned flags = AT_EMPTY_PATH | (mount->is_recursive ? AT_RECURSIVE : 0);
	if (mount_setattr(fd, "", flags, &attr, sizeof(attr)) < 0)
		return err_sys(err, errno, "mount %s: set its options", mount->destination);
	return 0;
}

/* The file system's own words about what it refused, where it has any (fsopen(2)). */
static int config_refused(int context, const struct spec_mount *mount, const char *what,
	struct err *err)
{
	int code = errno;
	char log[256];
	ssize_t len = read(context, log, sizeof(log) - 1);
	if (len <= 0)
		return err_sys(err, code, "mount %s: %s %s", mount->destination, mount->type, what);
	log[len] = '\0';
	log[strcspn(log, "\n")] = '\0';
	return err_sys(err, code, "mount %s: %s %s: %s", mount->destination, mount->type, what,
		log);
}

static int config_set(int context, const char *option)
{
	const char *equals = strchr(option, '=');
	if (equals == NULL)
		return fsconfig(context, FSCONFIG_SET_FLAG, option, NULL, 0);
	AUTO_FREE char *key = view_dup((struct view){ option, (size_t)(equals - option) });
	return fsconfig(context, FSCONFIG_SET_STRING, key, equals + 1, 0);
}

static int filesystem_open(const struct spec_mount *mount, int *ret_fd, struct err *err)
{
	AUTO_CLOSE int context = fsopen(mount->type, FSOPEN_CLOEXEC);
	if (context < 0)
		return err_sys(err, errno, "mount %s: file system \"%s\"", mount->destination,
			mount->type);
	if (mount->source != NULL &&
		fsconfig(context, FSCONFIG_SET_STRING, "source", mount->source, 0) < 0)
		return config_refused(context, mount, "source", err);
	for (size_t i = 0; i < mount->data.len; i++)
		if (config_set(context, mount->data.items[i]) < 0)
			return config_refused(context, mount, mount->data.items[i], err);
	if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return config_refused(context, mount, "cannot be made", err);
	int fd = fsmount(context, FSMOUNT_CLOEXEC, (unsigned)mount->attributes);
	if (fd < 0)
		return config_refused(context, mount, "cannot be mounted", err);
	*ret_fd = fd;
	return 0;
}

static int source_open(const struct mount_tree *tree, size_t index, int *ret_fd, struct err *err)
{
	const struct spec_mount *mount = &tree->spec->mounts[index];
	if (!mount->is_bind)
		return filesystem_open(mount, ret_fd, err);
	AUTO_CLOSE int fd = -1;
	int ready = tree->ready_mounts != NULL ? tree->ready_mounts[index] : -1;
	int r = 0;
	if (ready < 0)
		r = mount_source_open(mount, &fd, err);
	else if ((fd = fcntl(ready, F_DUPFD_CLOEXEC, 0)) < 0)
		r = err_sys(err, errno, "mount %s", mount->destination);
	if (r == 0)
		r = bind_restrict(fd, mount, err);
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* ---- targets ---- */

static bool path_is_below(const char *path, const char *directory)
{
	size_t len = strlen(directory);
	return strncmp(path, directory, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

static bool is_kernel_path(const char *path)
{
	return path_is_below(path, "/proc") || path_is_below(path, "/sys") ||
	       path_is_below(path, "/dev");
}

static int target_find(int root_fd, const char *path)
{
	return is_kernel_path(path) ? path_at_open_beneath(root_fd, path + 1, O_PATH, 0)
				    : path_at_open(root_fd, path, O_PATH, 0);
}

static int target_open(int root_fd, const char *path, bool is_directory, int *ret_fd,
	struct err *err)
{
	AUTO_CLOSE int fd = target_find(root_fd, path);
	if (fd == -ENOENT) {
		fd = is_directory ? path_at_make_dirs(root_fd, path, 0755, 0, 0)
				  : path_at_make_file(root_fd, path, 0644);
		if (fd >= 0 && is_kernel_path(path)) {
			(void)close(fd);
			fd = target_find(root_fd, path);
		}
	}
	if ((fd == -ELOOP || fd == -EXDEV) && is_kernel_path(path))
		return err_set(err, ERR_DENIED,
			"mount %s: the image leads it elsewhere by a symbolic link, which is "
			"refused",
			path);
	if (fd < 0)
		return err_sys(err, -fd, "mount %s: open its target in the container", path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int target_check(int target_fd, const struct spec_mount *mount, struct err *err)
{
	struct statfs fs;
	if (fstatfs(target_fd, &fs) < 0)
		return err_sys(err, errno, "mount %s: look at its target", mount->destination);
	/* By file system, not by name: links and dots cannot hide it. */
	if (fs.f_type == PROC_SUPER_MAGIC || path_is_below(mount->destination, "/proc"))
		return err_set(err, ERR_DENIED,
			"mount %s: nothing may be mounted over the container's /proc",
			mount->destination);
	return 0;
}

/* ---- mounts ---- */

static int add_cgroup(const struct mount_tree *tree, const struct spec_mount *mount,
	struct err *err)
{
	if (tree->cgroup == NULL)
		return 0;
	AUTO_CLOSE int target = -1;
	int r = target_open(tree->root_fd, mount->destination, true, &target, err);
	return r < 0 ? r : cgroup_view_mount(tree->cgroup, target, mount->attributes, err);
}

static int add_mount(struct mount_tree *tree, size_t index, struct err *err)
{
	const struct spec_mount *mount = &tree->spec->mounts[index];
	if (strncmp(mount->type, "cgroup", 6) == 0)
		return add_cgroup(tree, mount, err);

	AUTO_CLOSE int source = -1;
	int r = source_open(tree, index, &source, err);
	if (r < 0)
		return r;
	bool is_directory = true;
	if (mount->is_bind) {
		struct stat st;
		if (fstat(source, &st) < 0)
			return err_sys(err, errno, "mount %s: look at its source",
				mount->destination);
		is_directory = S_ISDIR(st.st_mode);
	}
	AUTO_CLOSE int target = -1;
	r = target_open(tree->root_fd, mount->destination, is_directory, &target, err);
	if (r < 0)
		return r;

	bool is_proc = strcmp(mount->type, "proc") == 0;
	if (!is_proc)
		r = target_check(target, mount, err);
	if (r == 0)
		r = mount_attach(source, target, mount->destination, err);
	if (r < 0)
		return r;
	if (is_proc && strcmp(mount->destination, "/proc") == 0) {
		cleanup_close(&tree->proc_fd);
		tree->proc_fd = TAKE_FD(source);
	} else if (strcmp(mount->destination, "/dev") == 0 && !mount->is_bind) {
		/* A /dev of the host's, bound by the user, is complete: no nodes of ours. */
		cleanup_close(&tree->dev_fd);
		tree->dev_fd = TAKE_FD(source);
	}
	return 0;
}

int mount_tree_fill(struct mount_tree *tree, struct err *err)
{
	for (size_t i = 0; i < tree->spec->mounts_len; i++) {
		int r = add_mount(tree, i, err);
		if (r < 0)
			return r;
	}
	return 0;
}
