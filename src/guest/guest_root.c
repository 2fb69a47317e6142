/* guest_root - see guest_root.h.  Where all devices of the image are persistent memory, EROFS maps
 * them directly (dax=always): file pages are then the host's own page cache, once for all machines.
 * A kernel or device that cannot do that gets an ordinary mount.
 *
 * The upper disk has one file system, ext4, made by the host; upper and work are directories in it.
 */
#include "guest/guest_root.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/text.h"

#define RELEASE_DEADLINE_MS 10000
#define NS_PER_MS UINT64_C(1000000)

void guest_root_done(struct guest_root *root)
{
	free(root->image_dir);
	free(root->upper_dir);
	free(root->upper_device);
	if (root->mount_fd >= 0)
		(void)close(root->mount_fd);
	*root = (struct guest_root){ .mount_fd = -1 };
}

/* A file system being configured, with the kernel's own words when it refuses. */
static int refused(int context, const char *what, struct err *err)
{
	int code = errno;
	char words[256];
	ssize_t len = read(context, words, sizeof(words) - 1);
	if (len <= 2)
		return err_sys(err, code, "%s", what);
	words[len] = 0;
	words[strcspn(words, "\n")] = 0;
	return err_sys(err, code, "%s: %s", what, words + 2);
}

static int option(int context, const char *key, const char *value)
{
	return fsconfig(context, value == NULL ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING, key,
		value, 0);
}

static int create(int context, unsigned attributes, const char *what, struct err *err)
{
	if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return refused(context, what, err);
	int fd = fsmount(context, FSMOUNT_CLOEXEC, attributes);
	return fd < 0 ? refused(context, what, err) : fd;
}

/* A detached mount. */
static int open_image(const struct strv *devices, bool dax, struct err *err)
{
	AUTO_CLOSE int context = fsopen("erofs", FSOPEN_CLOEXEC);
	if (context < 0)
		return err_sys(err, errno, "the guest's kernel has no erofs");
	if (option(context, "ro", NULL) < 0 || option(context, "source", devices->items[0]) < 0 ||
		(dax && option(context, "dax", "always") < 0))
		return refused(context, "mount the image", err);
	for (size_t i = 1; i < devices->len; i++)
		if (option(context, "device", devices->items[i]) < 0)
			return refused(context, "mount the image", err);
	return create(context, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV, "mount the image", err);
}

static int attach(int mount_fd, const char *target, struct err *err)
{
	if (mkdir(target, 0700) < 0 && errno != EEXIST)
		return err_sys(err, errno, "make %s", target);
	if (move_mount(mount_fd, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_sys(err, errno, "mount %s", target);
	return 0;
}

static int add_device(const struct guest_platform *platform, json *device, struct strv *paths,
	bool *all_pmem, struct err *err)
{
	char *path = NULL;
	int r = platform->device_find(device, &path, err);
	if (r < 0)
		return r;
	*all_pmem = *all_pmem && json_get(device, "pmem") != NULL;
	strv_take(paths, path);
	return 0;
}

static int mount_image(const struct guest_platform *platform, const struct guest_order *order,
	struct guest_root *root, struct err *err)
{
	AUTO_DONE(strv) devices = { 0 };
	bool dax = true;
	int r = add_device(platform, order->metadata, &devices, &dax, err);
	for (size_t i = 0; r == 0 && i < json_array_len(order->layers); i++)
		r = add_device(platform, json_object_array_get_idx(order->layers, i), &devices,
			&dax, err);
	if (r < 0)
		return r;
	AUTO_CLOSE int fd = -1;
	if (dax) {
		struct err why = { 0 };
		fd = open_image(&devices, true, &why);
		if (fd < 0)
			log_info("the image is not mapped directly: %s", why.message);
	}
	if (fd < 0)
		fd = open_image(&devices, false, err);
	if (fd < 0)
		return fd;
	AUTO_FREE char *target = text_format("%s/image", platform->run_dir);
	r = attach(fd, target, err);
	if (r == 0)
		root->image_dir = TAKE(target);
	return r;
}

static int open_upper(const struct guest_root *root, struct err *err)
{
	bool is_disk = root->upper_device != NULL;
	AUTO_CLOSE int context = fsopen(is_disk ? "ext4" : "tmpfs", FSOPEN_CLOEXEC);
	if (context < 0)
		return err_sys(err, errno, "the guest's kernel has no %s",
			is_disk ? "ext4" : "tmpfs");
	if (option(context, "source", is_disk ? root->upper_device : "upper") < 0 ||
		(!is_disk && option(context, "mode", "0755") < 0) ||
		/* What is deleted is given back to the host. */
		(is_disk && option(context, "discard", NULL) < 0))
		return refused(context, "mount what the workload writes", err);
	return create(context, 0, "mount what the workload writes", err);
}

/* The root directory is the upper one: it gets what the image says of its root, once. */
static int make_upper_dirs(int fd, const char *image_dir, struct err *err)
{
	struct stat st;
	if (mkdirat(fd, "work", 0700) < 0 && errno != EEXIST)
		return err_sys(err, errno, "make the work directory");
	if (faccessat(fd, "upper", F_OK, 0) == 0)
		return 0;
	if (stat(image_dir, &st) < 0)
		return err_sys(err, errno, "look at the image's root");
	if (mkdirat(fd, "upper", 0700) < 0 || fchownat(fd, "upper", st.st_uid, st.st_gid, 0) < 0 ||
		fchmodat(fd, "upper", st.st_mode & 07777, 0) < 0)
		return err_sys(err, errno, "make the upper directory");
	return 0;
}

static int mount_upper(const struct guest_platform *platform, const struct guest_order *order,
	struct guest_root *root, struct err *err)
{
	if (order->upper != NULL) {
		int r = platform->device_find(order->upper, &root->upper_device, err);
		if (r < 0)
			return r;
	}
	AUTO_CLOSE int fd = open_upper(root, err);
	if (fd < 0)
		return fd;
	AUTO_FREE char *target = text_format("%s/upper", platform->run_dir);
	int r = attach(fd, target, err);
	if (r < 0)
		return r;
	root->upper_dir = TAKE(target);
	return make_upper_dirs(fd, root->image_dir, err);
}

static int open_overlay(struct guest_root *root, bool is_volatile, struct err *err)
{
	AUTO_FREE char *upper = text_format("%s/upper", root->upper_dir);
	AUTO_FREE char *work = text_format("%s/work", root->upper_dir);
	AUTO_CLOSE int context = fsopen("overlay", FSOPEN_CLOEXEC);
	if (context < 0)
		return err_sys(err, errno, "the guest's kernel has no overlay");
	/* As on a host (storage_overlay.c): nothing that a copy of the upper part would not show.
	 */
	if (option(context, "source", "moat") < 0 || option(context, "index", "off") < 0 ||
		option(context, "metacopy", "off") < 0 ||
		option(context, "redirect_dir", "nofollow") < 0 ||
		option(context, "lowerdir", root->image_dir) < 0 ||
		option(context, "upperdir", upper) < 0 || option(context, "workdir", work) < 0 ||
		(is_volatile && option(context, "volatile", NULL) < 0))
		return refused(context, "mount the root", err);
	int fd = create(context, 0, "mount the root", err);
	if (fd < 0)
		return fd;
	root->mount_fd = fd;
	return 0;
}

int guest_root_mount(const struct guest_platform *platform, const struct guest_order *order,
	struct guest_root *ret_root, struct err *err)
{
	*ret_root = (struct guest_root){ .mount_fd = -1 };
	int r = mount_image(platform, order, ret_root, err);
	if (r == 0)
		r = mount_upper(platform, order, ret_root, err);
	/* What is lost with the machine need not be synced. */
	return r < 0 ? r : open_overlay(ret_root, ret_root->upper_device == NULL, err);
}

/* The overlay holds the file system below a while longer: until the kernel has taken down the
 * workload's mount namespace.  A device that nothing has mounted can be opened exclusively. */
static int wait_released(const char *device, struct err *err)
{
	uint64_t end = clock_monotonic_ns() + RELEASE_DEADLINE_MS * NS_PER_MS;
	for (;;) {
		AUTO_CLOSE int fd = open(device, O_RDONLY | O_EXCL | O_CLOEXEC);
		if (fd >= 0)
			return 0;
		if (errno != EBUSY)
			return err_sys(err, errno, "open %s", device);
		if (clock_monotonic_ns() >= end)
			return err_set(err, ERR_TIMEOUT,
				"%s is still mounted %d ms after the workload's end", device,
				RELEASE_DEADLINE_MS);
		(void)poll(NULL, 0, 1); /* nothing tells */
	}
}

int guest_root_unmount(struct guest_root *root, struct err *err)
{
	if (root->mount_fd >= 0)
		(void)close(TAKE_FD(root->mount_fd));
	if (root->upper_device == NULL || root->upper_dir == NULL)
		return 0;
	AUTO_CLOSE int fd = open(root->upper_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* First, since a file system that stays mounted is then at least complete. */
	if (fd < 0 || syncfs(fd) < 0)
		return err_sys(err, errno, "write what is left to %s", root->upper_device);
	(void)close(TAKE_FD(fd));
	if (umount2(root->upper_dir, MNT_DETACH) < 0)
		return err_sys(err, errno, "unmount %s", root->upper_device);
	return wait_released(root->upper_device, err);
}
