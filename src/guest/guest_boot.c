/* guest_boot - from the initramfs to a system in which containers can be made.
 *
 * The initramfs is the kernel's rootfs, which pivot_root(2) refuses to leave (its mount has no
 * parent).  So a tmpfs is moved over it and becomes the root; what is left below, this program and
 * the modules, is unlinked, which gives the memory back.  A module that cannot be loaded is told on
 * the console and no more: whoever needs what it drives says so in its own words. */
#include <errno.h>
#include <fcntl.h>
#include <linux/module.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/step.h"
#include "base/text.h"
#include "guest/guest.h"

#define MODULES_DIR "/lib/moat"
#define MODULES_LIST_MAX 65536
#define SIGNATURE_MAX 65536
#define NEW_ROOT "/newroot"
#define DESCRIPTORS_MAX 1048576 /* of a workload that has no limit of its own, as under Docker */

static const struct boot_mount {
	const char *type, *target, *data;
	unsigned long flags;
} boot_mounts[] = {
	{ "tmpfs", NEW_ROOT, "mode=0755,size=16m", MS_NOSUID | MS_NODEV },
	{ "devtmpfs", NEW_ROOT "/dev", "mode=0755", MS_NOSUID | MS_NOEXEC },
	{ "proc", NEW_ROOT "/proc", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
	{ "sysfs", NEW_ROOT "/sys", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
	{ "cgroup2", NEW_ROOT "/sys/fs/cgroup", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
	{ "tmpfs", NEW_ROOT "/run", "mode=0700", MS_NOSUID | MS_NODEV },
};

static int mount_all(void *context, struct err *err)
{
	(void)context;
	for (size_t i = 0; i < ARRAY_LEN(boot_mounts); i++) {
		const struct boot_mount *m = &boot_mounts[i];
		/* There already where the kernel or an earlier row made it. */
		if (mkdir(m->target, 0755) < 0 && errno != EEXIST)
			return err_sys(err, errno, "make %s", m->target);
		if (mount(m->type, m->target, m->type, m->flags, m->data) < 0)
			return err_sys(err, errno, "mount %s", m->target);
	}
	return 0;
}

/* stdin, stdout, stderr: the kernel opens /dev/console for its init only where the initramfs has
 * that node. */
static int open_console(void *context, struct err *err)
{
	(void)context;
	int fd = open(NEW_ROOT "/dev/console", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (fd < 0) /* a kernel without a console */
		fd = open(NEW_ROOT "/dev/null", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "open a console");
	for (int i = 0; i <= STDERR_FILENO; i++)
		if (fd != i && dup2(fd, i) < 0)
			return err_sys(err, errno, "open a console");
	if (fd > STDERR_FILENO)
		(void)close(fd);
	return 0;
}

static int try_module(const char *path)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST))
		return -errno;
	return 0;
}

/* Puts the signature back behind the module, for a kernel that wants it (module.sig_enforce,
 * lockdown). */
static int sign_module(const char *path, const char *signature_path)
{
	AUTO_DONE(text) signature = { 0 };
	int r = file_read_at(AT_FDCWD, signature_path, SIGNATURE_MAX, &signature, NULL);
	AUTO_CLOSE int fd = r < 0 ? -1 : open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (r == 0 && fd < 0)
		r = -errno;
	return r < 0 ? r : fd_write_all(fd, signature.data, signature.len);
}

static void load_module(struct view name)
{
	AUTO_FREE char *path = text_format(MODULES_DIR "/%.*s", (int)name.len, name.data);
	AUTO_FREE char *signature_path = text_format("%s.signature", path);
	int r = try_module(path);
	if ((r == -EKEYREJECTED || r == -EPERM) && sign_module(path, signature_path) == 0)
		r = try_module(path);
	if (r < 0)
		log_warning("module %s: %s", path, strerror(-r));
	/* Loaded or not, nobody reads them again. */
	(void)unlink(path);
	(void)unlink(signature_path);
}

static int load_modules(void *context, struct err *err)
{
	(void)context;
	AUTO_DONE(text) list = { 0 };
	int r = file_read_at(AT_FDCWD, MODULES_DIR "/modules.list", MODULES_LIST_MAX, &list, NULL);
	if (r == -ENOENT) /* a kernel that has all it needs */
		return 0;
	if (r < 0)
		return err_sys(err, -r, "read " MODULES_DIR "/modules.list");
	for (struct view rest = view_of_text(&list); rest.data != NULL;) {
		struct view name = view_cut(&rest, '\n');
		if (name.len > 0)
			load_module(name);
	}
	return 0;
}

static int enter_root(void *context, struct err *err)
{
	(void)context;
	(void)unlink("/init"); /* this program; it runs on */
	if (chdir(NEW_ROOT) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
		chdir("/") < 0)
		return err_sys(err, errno, "change the root");
	if (mkdir("/run/moat", 0700) < 0)
		return err_sys(err, errno, "make /run/moat");
	return 0;
}

static int raise_limits(void *context, struct err *err)
{
	(void)context;
	const struct rlimit files = { DESCRIPTORS_MAX, DESCRIPTORS_MAX };
	const struct rlimit core = { 0, RLIM_INFINITY };
	if (setrlimit(RLIMIT_NOFILE, &files) < 0 || setrlimit(RLIMIT_CORE, &core) < 0)
		return err_sys(err, errno, "set limits");
	return 0;
}

static const struct step boot_steps[] = {
	{ "mounts", mount_all, NULL },
	{ "console", open_console, NULL },
	{ "modules", load_modules, NULL },
	{ "root", enter_root, NULL },
	{ "limits", raise_limits, NULL },
};

int guest_boot(struct err *err)
{
	(void)umask(022);
	return step_run("boot", boot_steps, ARRAY_LEN(boot_steps), NULL, err);
}
