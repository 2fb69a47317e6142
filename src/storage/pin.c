/* pin - see pin.h.
 *
 * A mount namespace lives as long as a process is in it or a mount holds its /proc/PID/ns/mnt file.
 * A child makes the namespace, and while it waits the parent mounts that file on RUN/mnt:
 *
 *	child                                       parent
 *	unshare(CLONE_NEWNS), all private           lock
 *	tmpfs over /, pivot_root, old tree away
 *	"made" -------------------------------->    mount /proc/CHILD/ns/mnt on RUN/mnt
 *	exit       <---------------------------     close
 *
 * Killed at any point this leaves no namespace or a whole one: the child ends when its socket does,
 * and a RUN/mnt that is a plain file counts as absent.
 *
 * The kernel refuses to mount such a file where the mount would propagate to a peer (systemd makes
 * all mounts shared), as peers could come to hold each other for ever.  There RUN/mnt is first
 * mounted on itself and that one file made private: the empty file's self-mount is all that peers
 * ever see.
 *
 * It also refuses a namespace that is not younger than the caller's own (ELOOP), and tells ages by
 * numbers that Linux 6.18 hands out to its processors in batches: a namespace made on another
 * processor may seem older.  This happens only to callers that are not in the first namespace of
 * the host themselves; the making is then repeated on each processor in turn, one of which made the
 * caller's.
 *
 * The namespaces of later processes are copies without RUN/mnt (the kernel leaves such files out),
 * so all calls belong in the namespace that has it: before a container's own is made. */
#include "storage/pin.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/spawn.h"
#include "storage/fs_context.h"

#define PIN_FILE "mnt"

enum { PIN_DEADLINE_MS = 5000, PIN_STACK_MAX = 8 };

static void visit_close(struct pin_visit *visit)
{
	cleanup_close(&visit->home_ns);
	cleanup_close(&visit->home_root);
	cleanup_close(&visit->home_cwd);
}

static bool is_namespace(int fd)
{
	struct statfs fs;
	return fstatfs(fd, &fs) == 0 && fs.f_type == NSFS_MAGIC;
}

int pin_enter(int run_fd, struct pin_visit *ret_visit, struct err *err)
{
	AUTO_CLOSE int pin = openat(run_fd, PIN_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (pin < 0)
		return errno == ENOENT ? -ENOENT : err_sys(err, errno, "open RUN/" PIN_FILE);

	struct pin_visit visit = {
		.home_ns = proc_open_file(getpid(), "ns/mnt", O_RDONLY),
		.home_root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC),
		.home_cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC),
	};
	int r = 0;
	if (visit.home_ns < 0 || visit.home_root < 0 || visit.home_cwd < 0)
		r = err_sys(err, visit.home_ns < 0 ? -visit.home_ns : errno,
			"open the own mount namespace, root and directory");
	else if (setns(pin, CLONE_NEWNS) < 0)
		r = is_namespace(pin) ? err_sys(err, errno, "enter RUN/" PIN_FILE) : -ENOENT;
	if (r < 0) {
		visit_close(&visit);
		return r;
	}
	*ret_visit = visit;
	return 0;
}

int pin_leave(struct pin_visit *visit, struct err *err)
{
	int r = 0;
	/* setns() sets root and directory to the namespace's: a caller under chroot needs its own
	 * again. */
	if (setns(visit->home_ns, CLONE_NEWNS) < 0 || fchdir(visit->home_root) < 0 ||
		chroot(".") < 0 || fchdir(visit->home_cwd) < 0)
		r = err_sys(err, errno, "return to the own mount namespace");
	visit_close(visit);
	return r;
}

/* ---- the child ---- */

static int make_empty_root(struct err *err)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(err, errno, "make mounts private");
	AUTO_DONE(fs_context) context = { 0 };
	AUTO_CLOSE int root = -1;
	int r = fs_context_open("tmpfs", &context, err);
	if (r == 0)
		r = fs_context_set(&context, "source", "moat", err);
	if (r == 0)
		r = fs_context_set(&context, "mode", "0700", err);
	if (r == 0)
		r = fs_context_mount(&context,
			MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, &root, err);
	if (r < 0)
		return r;
	if (move_mount(root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0 || fchdir(root) < 0)
		return err_sys(err, errno, "put an empty root over /");
	if (syscall(SYS_pivot_root, ".", ".") == 0)
		return umount2(".", MNT_DETACH) < 0 ? err_sys(err, errno, "drop the old root") : 0;
	/* The initramfs cannot be moved away (EINVAL).  setns() goes to what is mounted last on
	 * "/", so the empty root counts there too; only the old tree stays, unseen, below it. */
	return errno == EINVAL ? 0 : err_sys(err, errno, "change to an empty root");
}

#define ANY_CPU (-1)

static int make_namespace(int cpu, struct err *err)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	if (cpu != ANY_CPU) {
		CPU_SET((size_t)cpu, &set);
		if (sched_setaffinity(0, sizeof(set), &set) < 0)
			return err_sys(err, errno, "move to processor %d", cpu);
	}
	if (unshare(CLONE_NEWNS) < 0)
		return err_sys(err, errno, "make a mount namespace");
	return make_empty_root(err);
}

_Noreturn static void child_main(int socket, int cpu)
{
	struct err err = { 0 };
	int r = make_namespace(cpu, &err);
	CHECK(r == err.code);
	char byte;
	if (fd_write_all(socket, &err, sizeof(err)) == 0)
		(void)!read(socket, &byte, 1); /* until the parent closes its end, or dies */
	_exit(0);
}

/* ---- the parent ---- */

static int wait_child(int socket, struct err *err)
{
	struct pollfd poll_fd = { .fd = socket, .events = POLLIN };
	int n = poll(&poll_fd, 1, PIN_DEADLINE_MS);
	if (n < 0)
		return err_sys(err, errno, "wait for the mount namespace");
	if (n == 0)
		return err_set(err, ERR_TIMEOUT, "no mount namespace after %d ms", PIN_DEADLINE_MS);
	struct err child = { 0 };
	int r = fd_read_exact(socket, &child, sizeof(child));
	if (r < 0)
		return err_sys(err, -r, "make a mount namespace: the child ended");
	return child.code < 0 ? err_copy(err, &child) : 0;
}

static int make_private(int run_fd)
{
	struct mount_attr attributes = { .propagation = MS_PRIVATE };
	AUTO_CLOSE int tree = open_tree(run_fd, PIN_FILE, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (tree < 0 || move_mount(tree, "", run_fd, PIN_FILE, MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
		mount_setattr(tree, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) < 0)
		return -errno;
	return 0;
}

static int bind_namespace(int run_fd, pid_t child, struct err *err)
{
	AUTO_CLOSE int file = openat(run_fd, PIN_FILE, O_CREAT | O_RDONLY | O_CLOEXEC, 0600);
	if (file < 0)
		return err_sys(err, errno, "create RUN/" PIN_FILE);
	AUTO_CLOSE int ns = proc_open_file(child, "ns/mnt", O_RDONLY);
	if (ns < 0)
		return err_sys(err, -ns, "open the new mount namespace");
	AUTO_CLOSE int tree =
		open_tree(ns, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	if (tree < 0)
		return err_sys(err, errno, "bind the new mount namespace");
	int r = 0;
	if (move_mount(tree, "", run_fd, PIN_FILE, MOVE_MOUNT_F_EMPTY_PATH) < 0) {
		r = errno == EINVAL ? make_private(run_fd) : -errno;
		if (r == 0 && move_mount(tree, "", run_fd, PIN_FILE, MOVE_MOUNT_F_EMPTY_PATH) < 0)
			r = -errno;
	}
	/* Unbindable: a recursive bind of what RUN stands in ("-v /:/host") leaves it out, where
	 * the kernel would refuse the whole tree (a namespace must not hold an older one, ELOOP).
	 */
	struct mount_attr unbindable = { .propagation = MS_UNBINDABLE };
	if (r == 0 && mount_setattr(tree, "", AT_EMPTY_PATH, &unbindable, sizeof(unbindable)) < 0)
		r = -errno;
	return r < 0 ? err_sys(err, -r, "pin the new mount namespace at RUN/" PIN_FILE) : 0;
}

static int make_and_bind(int run_fd, int cpu, struct err *err)
{
	int sockets[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0)
		return err_sys(err, errno, "make a socket pair");
	AUTO_CLOSE int ours = sockets[0], theirs = sockets[1];
	pid_t child = spawn_fork(0, NULL);
	if (child == 0) {
		(void)close(TAKE_FD(ours));
		child_main(theirs, cpu);
	}
	if (child < 0)
		return err_sys(err, -child, "fork");
	(void)close(TAKE_FD(theirs));
	int r = wait_child(ours, err);
	if (r == 0)
		r = bind_namespace(run_fd, child, err);
	(void)kill(child, SIGKILL); /* ours and not yet reaped: the pid is surely its own */
	(void)waitpid(child, NULL, 0);
	return r;
}

int pin_create(int run_fd, int lock_fd, struct err *err)
{
	int r = fd_lock(lock_fd, true, PIN_DEADLINE_MS);
	if (r < 0)
		return err_sys(err, -r, "lock RUN/images");
	struct pin_visit visit;
	r = pin_enter(run_fd, &visit, err);
	if (r == 0)
		return pin_leave(&visit, err); /* another was faster */
	if (r != -ENOENT)
		return r;
	r = make_and_bind(run_fd, ANY_CPU, err);
	cpu_set_t usable;
	if (r != -ELOOP || sched_getaffinity(0, sizeof(usable), &usable) < 0)
		return r;
	for (int cpu = 0; cpu < CPU_SETSIZE && r == -ELOOP; cpu++)
		if (CPU_ISSET((size_t)cpu, &usable))
			r = make_and_bind(run_fd, cpu, err);
	return r;
}

int pin_remove(int run_fd, struct err *err)
{
	/* umount2() takes no descriptor. */
	AUTO_CLOSE int cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (cwd < 0 || fchdir(run_fd) < 0)
		return err_sys(err, errno, "go to the run directory");
	int r = 0;
	/* The namespace, and below it the private file of a shared host. */
	for (int i = 0; i < PIN_STACK_MAX && r == 0; i++)
		if (umount2(PIN_FILE, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
			r = -errno;
	if (r != 0 && r != -EINVAL && r != -ENOENT)
		r = err_sys(err, -r, "unmount RUN/" PIN_FILE);
	else
		r = unlink(PIN_FILE) < 0 && errno != ENOENT
			    ? err_sys(err, errno, "remove RUN/" PIN_FILE)
			    : 0;
	if (fchdir(cwd) < 0 && r == 0)
		r = err_sys(err, errno, "return to the working directory");
	return r;
}
