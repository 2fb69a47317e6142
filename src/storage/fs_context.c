/* fs_context - see fs_context.h. */
#include "storage/fs_context.h"

#include <errno.h>
#include <string.h>
#include <sys/mount.h>

/* An fs context is read for its messages: one a read, "e " before an error. */
static int refused(const struct fs_context *context, int errnum, const char *what, struct err *err)
{
	char message[256];
	ssize_t len = read(context->fd, message, sizeof(message) - 1);
	if (len <= 2)
		return err_sys(err, errnum, "%s", what);
	message[len] = 0;
	message[strcspn(message, "\n")] = 0;
	return err_sys(err, errnum, "%s: %s", what, message + 2);
}

int fs_context_open(const char *type, struct fs_context *ret_context, struct err *err)
{
	int fd = fsopen(type, FSOPEN_CLOEXEC);
	if (fd < 0 && errno == ENODEV)
		return err_set(err, ERR_UNSUPPORTED,
			"this kernel has no %s: load the module \"%s\"", type, type);
	if (fd < 0)
		return err_sys(err, errno, "open a %s file system", type);
	*ret_context = (struct fs_context){ .type = type, .fd = fd };
	return 0;
}

void fs_context_done(struct fs_context *context)
{
	if (context->type != NULL)
		(void)close(context->fd);
	*context = (struct fs_context){ 0 };
}

int fs_context_set(const struct fs_context *context, const char *key, const char *value,
	struct err *err)
{
	unsigned command = value != NULL ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;
	if (fsconfig(context->fd, command, key, value, 0) == 0)
		return 0;
	int r = refused(context, errno, key, err);
	return err_wrap(err, r, "%s option", context->type);
}

int fs_context_set_fd(const struct fs_context *context, const char *key, int fd)
{
	return fsconfig(context->fd, FSCONFIG_SET_FD, key, NULL, fd) < 0 ? -errno : 0;
}

int fs_context_mount(const struct fs_context *context, unsigned mount_attributes, int *ret_mount_fd,
	struct err *err)
{
	if (fsconfig(context->fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0) {
		int r = refused(context, errno, "mount", err);
		return err_wrap(err, r, "%s", context->type);
	}
	int fd = fsmount(context->fd, FSMOUNT_CLOEXEC, mount_attributes);
	if (fd < 0)
		return err_sys(err, errno, "make a mount of a %s", context->type);
	*ret_mount_fd = fd;
	return 0;
}
