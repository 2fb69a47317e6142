/* mount_device - the nodes and links of a container's /dev.
 *
 * They are made in the container's own tmpfs through its descriptor; a name that is there already
 * (a /dev that is no tmpfs of ours) must be that very device, never a link (CVE-2025-31133). */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/path.h"
#include "container/container_spec.h"
#include "container/mount_tree.h"

static const struct spec_device nodes[] = {
#define DEVICE(name, type, device_major, device_minor, permissions) \
	{ (char *)(uintptr_t)(name), (type) | (permissions), device_major, device_minor, 0, 0 },
#include "container/devices.def"
#undef DEVICE
};

struct device_link {
	const char *name, *target;
};

static const struct device_link links[] = {
#define DEVICE_LINK(name, target) { name, target },
#include "container/device_links.def"
#undef DEVICE_LINK
};

static int node_check(int dirfd, const char *name, const struct spec_device *device,
	struct err *err)
{
	struct stat st;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, errno, "look at /dev/%s", name);
	if ((st.st_mode & S_IFMT) != (device->mode & S_IFMT) ||
		st.st_rdev != makedev(device->major, device->minor))
		return err_set(err, ERR_DENIED,
			"/dev/%s of the image is not the device of that name, which is refused",
			name);
	return 0;
}

static int node_make(int dirfd, const char *name, const struct spec_device *device, struct err *err)
{
	/* The init's umask is 0. */
	if (mknodat(dirfd, name, device->mode, makedev(device->major, device->minor)) < 0) {
		if (errno == EEXIST)
			return node_check(dirfd, name, device, err);
		return err_sys(err, errno, "make /dev/%s", name);
	}
	if ((device->uid != 0 || device->gid != 0) &&
		fchownat(dirfd, name, device->uid, device->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, errno, "make /dev/%s", name);
	return 0;
}

static int add_spec_device(const struct mount_tree *tree, const struct spec_device *device,
	struct err *err)
{
	/* "/dev/net/tun": the directory first.  The parser made sure of "/dev/". */
	const char *slash = strrchr(device->path, '/');
	AUTO_FREE char *directory =
		view_dup((struct view){ device->path, (size_t)(slash - device->path) });
	AUTO_CLOSE int parent = path_at_make_dirs(tree->root_fd, directory, 0755, 0, 0);
	if (parent < 0)
		return err_sys(err, -parent, "make %s", directory);
	return node_make(parent, slash + 1, device, err);
}

int mount_tree_add_devices(struct mount_tree *tree, struct err *err)
{
	for (size_t i = 0; tree->dev_fd >= 0 && i < ARRAY_LEN(nodes); i++) {
		int r = node_make(tree->dev_fd, nodes[i].path, &nodes[i], err);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; tree->dev_fd >= 0 && i < ARRAY_LEN(links); i++)
		if (symlinkat(links[i].target, tree->dev_fd, links[i].name) < 0 && errno != EEXIST)
			return err_sys(err, errno, "make /dev/%s", links[i].name);
	for (size_t i = 0; i < tree->spec->devices_len; i++) {
		int r = add_spec_device(tree, &tree->spec->devices[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}
