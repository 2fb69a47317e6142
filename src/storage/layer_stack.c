/* layer_stack - see layer_stack.h.
 *
 * Before Linux 6.13 an overlay takes its layers as paths only, so they have to be attached
 * somewhere, and before 6.8 they have to fit one option string, of 255 bytes by fsconfig() but of a
 * page by mount(2).  A child attaches them as "0", "1", ... in a tmpfs in a mount namespace of its
 * own, mounts the overlay by mount(2) with these short names, and sends a detached copy of it back.
 * The overlay keeps its layers; the rest goes with the child, whenever it ends. */
#include "storage/layer_stack.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/spawn.h"
#include "base/text.h"
#include "storage/erofs_mount.h"
#include "storage/fs_context.h"

#define STACK_TARGET "stack"

enum { STACK_DEADLINE_MS = 10000 };

static int attach_layer(int work, const char *file, const char *name, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	int r = erofs_mount_open(&file, 1, &fd, err);
	if (r < 0)
		return r;
	if (mkdirat(work, name, 0700) < 0 ||
		move_mount(fd, "", work, name, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_sys(err, errno, "attach layer %s", file);
	return 0;
}

/* A tmpfs, attached over "/" in this namespace only: absolute paths go on from the root directory
 * below it. */
static int make_work(int *ret_work, struct err *err)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(err, errno, "make mounts private");
	AUTO_DONE(fs_context) context = { 0 };
	AUTO_CLOSE int work = -1;
	int r = fs_context_open("tmpfs", &context, err);
	if (r == 0)
		r = fs_context_mount(&context, 0, &work, err);
	if (r < 0)
		return r;
	if (move_mount(work, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0 || fchdir(work) < 0)
		return err_sys(err, errno, "attach a work directory");
	*ret_work = TAKE_FD(work);
	return 0;
}

static int build(const char *const *layers, size_t len, int *ret_mount_fd, struct err *err)
{
	AUTO_CLOSE int work = -1;
	int r = make_work(&work, err);
	if (r < 0)
		return r;
	AUTO_DONE(text) options = { 0 };
	text_puts(&options, "index=off,metacopy=off,redirect_dir=nofollow");
	/* overlayfs lists the uppermost first */
	for (size_t i = len; i-- > 0;) {
		AUTO_FREE char *name = text_format("%zu", i);
		r = attach_layer(work, layers[i], name, err);
		if (r < 0)
			return r;
		text_printf(&options, "%s%s", i == len - 1 ? ",lowerdir=" : ":", name);
	}
	if (mkdirat(work, STACK_TARGET, 0700) < 0 ||
		mount("moat", STACK_TARGET, "overlay", MS_RDONLY | MS_NODEV,
			text_string(&options)) < 0)
		return err_sys(err, errno, "overlay of %zu layers", len);
	int fd = open_tree(work, STACK_TARGET, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "take the overlay of %zu layers", len);
	*ret_mount_fd = fd;
	return 0;
}

_Noreturn static void child_main(const char *const *layers, size_t len, int socket)
{
	struct err err = { 0 };
	int mount_fd = -1;
	int r = build(layers, len, &mount_fd, &err);
	_exit(fd_send(socket, &err, sizeof(err), &mount_fd, r == 0) < 0);
}

static int receive_mount(int socket, int *ret_mount_fd, struct err *err)
{
	struct pollfd poll_fd = { .fd = socket, .events = POLLIN };
	if (poll(&poll_fd, 1, STACK_DEADLINE_MS) <= 0)
		return err_set(err, ERR_TIMEOUT, "no overlay of the layers after %d ms",
			STACK_DEADLINE_MS);
	struct err child = { 0 };
	size_t fds_len = 0;
	int fd = -1;
	ssize_t n = fd_receive(socket, &child, sizeof(child), &fd, 1, &fds_len);
	if (n == (ssize_t)sizeof(child) && child.code < 0)
		return err_copy(err, &child);
	if (n != (ssize_t)sizeof(child) || fds_len != 1)
		return err_set(err, ERR_SYSTEM, "overlay of the layers: the child ended");
	*ret_mount_fd = fd;
	return 0;
}

int layer_stack_open(const char *const *layers, size_t len, int *ret_mount_fd, struct err *err)
{
	if (len == 0 || len > LIMIT_LAYERS)
		return err_set(err, ERR_LIMIT, "an image of %zu layers: 1 to %d are possible", len,
			LIMIT_LAYERS);
	if (len == 1)
		return erofs_mount_open(layers, 1, ret_mount_fd, err);
	int sockets[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		return err_sys(err, errno, "make a socket pair");
	AUTO_CLOSE int ours = sockets[0], theirs = sockets[1];
	pid_t child = spawn_fork(CLONE_NEWNS, NULL);
	if (child == 0)
		child_main(layers, len, theirs);
	if (child < 0)
		return err_sys(err, -child, "make a mount namespace");
	(void)close(TAKE_FD(theirs));
	int r = receive_mount(ours, ret_mount_fd, err);
	(void)kill(child, SIGKILL); /* ours and not yet reaped: the pid is surely its own */
	(void)waitpid(child, NULL, 0);
	return r;
}
