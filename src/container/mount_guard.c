/* mount_guard - paths of the kernel that a container must not see or change.
 *
 * A masked file gets /dev/null mounted over it, a masked directory an empty read-only tmpfs, a
 * read-only path a read-only clone of itself.  /dev/null is opened without following a link,
 * checked to be 1:3 and cloned from that descriptor: an image cannot put its own file there
 * (CVE-2025-31133). */
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/path.h"
#include "container/container_spec.h"
#include "container/mount_tree.h"

static int null_clone(const struct mount_tree *tree, int *ret_fd, struct err *err)
{
	AUTO_CLOSE int null =
		path_at_open_beneath(tree->root_fd, "dev/null", O_PATH | O_NOFOLLOW, 0);
	if (null < 0)
		return err_sys(err, -null, "take /dev/null of the container to mask files");
	struct stat st;
	if (fstat(null, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
		return err_set(err, ERR_DENIED, "/dev/null of the container is no null device");
	int fd = open_tree(null, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "clone /dev/null of the container to mask files");
	*ret_fd = fd;
	return 0;
}

/* The first call makes the tmpfs, later ones clone its mount (*mask, attached by then). */
static int empty_clone(int mask, int *ret_fd, struct err *err)
{
	if (mask >= 0) {
		*ret_fd = open_tree(mask, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
		return *ret_fd < 0 ? err_sys(err, errno, "clone an empty directory") : 0;
	}
	AUTO_CLOSE int context = fsopen("tmpfs", FSOPEN_CLOEXEC);
	if (context < 0 || fsconfig(context, FSCONFIG_SET_STRING, "nr_inodes", "1", 0) < 0 ||
		fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return err_sys(err, errno, "make an empty directory");
	*ret_fd = fsmount(context, FSMOUNT_CLOEXEC,
		MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	return *ret_fd < 0 ? err_sys(err, errno, "make an empty directory") : 0;
}

static int mask_path(struct mount_tree *tree, const char *path, int *mask, struct err *err)
{
	AUTO_CLOSE int target = path_at_open(tree->root_fd, path, O_PATH, 0);
	if (target == -ENOENT || target == -ENOTDIR)
		return 0; /* this kernel does not have it */
	if (target < 0)
		return err_sys(err, -target, "mask %s", path);
	struct stat st;
	if (fstat(target, &st) < 0)
		return err_sys(err, errno, "mask %s", path);

	AUTO_CLOSE int cover = -1;
	bool is_directory = S_ISDIR(st.st_mode);
	int r = is_directory ? empty_clone(*mask, &cover, err) : null_clone(tree, &cover, err);
	if (r == 0)
		r = mount_attach(cover, target, path, err);
	if (r < 0)
		return err_wrap(err, r, "mask %s", path);
	if (is_directory && *mask < 0)
		*mask = TAKE_FD(cover);
	return 0;
}

static int protect_path(struct mount_tree *tree, const char *path, struct err *err)
{
	AUTO_CLOSE int target = path_at_open(tree->root_fd, path, O_PATH, 0);
	if (target == -ENOENT || target == -ENOTDIR)
		return 0;
	if (target < 0)
		return err_sys(err, -target, "make %s read-only", path);
	AUTO_CLOSE int clone = open_tree(target, "",
		AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
	if (clone < 0 ||
		mount_setattr(clone, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) < 0)
		return err_sys(err, errno, "make %s read-only", path);
	return mount_attach(clone, target, path, err);
}

int mount_tree_guard(struct mount_tree *tree, struct err *err)
{
	const struct container_spec *spec = tree->spec;
	AUTO_CLOSE int mask = -1;
	for (size_t i = 0; i < spec->readonly_paths.len; i++) {
		int r = protect_path(tree, spec->readonly_paths.items[i], err);
		if (r < 0)
			return r;
	}
	/* Masked last: a masked path below a read-only one must cover the clone. */
	for (size_t i = 0; i < spec->masked_paths.len; i++) {
		int r = mask_path(tree, spec->masked_paths.items[i], &mask, err);
		if (r < 0)
			return r;
	}
	return 0;
}
