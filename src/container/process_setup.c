/* process_setup - giving up everything, in the one right order.
 *
 *	stdio		the workload's, given to its user where they are FIFOs
 *	directory	while still root, so that any directory of the image can be entered
 *	limits		rlimits; lowering needs no right, raising is clamped
 *	bounding set	needs CAP_SETPCAP
 *	filter		here without no_new_privs (needs CAP_SYS_ADMIN), else at the very end
 *	user		groups, gid, uid; keeping capabilities across it
 *	capabilities	the final sets
 *
 * Until exec the process holds parts of moat in its memory, so it is not dumpable: no process of
 *the container may trace it or open its /proc files (CVE-2019-5736, CVE-2016-9962).  moat never
 * executes its own program inside a container, so /proc/PID/exe there is always the workload's. */
#include "container/process_setup.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "container/container_spec.h"
#include "container/seccomp_filter.h"

#define PATH_FALLBACK "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define SIGNALS 64

int process_stdio(const int stdio[3], struct err *err)
{
	/* Copies above 2 first: one of the three may stand where another is to go. */
	int copies[3] = { -1, -1, -1 };
	int code = 0;
	for (int i = 0; i < 3 && code == 0; i++) {
		copies[i] = fcntl(stdio[i], F_DUPFD_CLOEXEC, 3);
		code = copies[i] < 0 ? errno : 0;
	}
	for (int i = 0; i < 3; i++) {
		if (code == 0 && dup2(copies[i], i) < 0)
			code = errno;
		cleanup_close(&copies[i]);
	}
	return code != 0 ? err_sys(err, code, "open stdin, stdout and stderr") : 0;
}

int process_user(int root_fd, const struct spec_process *process, const char *user,
	struct container_user *ret_user, struct err *err)
{
	if (user != NULL)
		return container_user_resolve(root_fd, user, ret_user, err);
	struct container_user copy = { .uid = process->uid, .gid = process->gid };
	copy.groups = mem_new(process->groups_len + 1, sizeof(*copy.groups));
	memcpy(copy.groups, process->groups, process->groups_len * sizeof(*copy.groups));
	copy.groups_len = process->groups_len;
	*ret_user = copy;
	return 0;
}

/* FIFOs of ours and the terminal become the user's, so that /dev/stdout can be opened again by one
 * who is not root.  Anything else (a file, the caller's own terminal) keeps its owner. */
static int stdio_give(bool is_terminal, const struct container_user *user, struct err *err)
{
	for (int fd = 0; fd <= 2 && user->uid != 0; fd++) {
		struct stat st;
		if (fstat(fd, &st) < 0)
			return err_sys(err, errno, "look at descriptor %d", fd);
		bool is_ours = S_ISFIFO(st.st_mode) || (is_terminal && S_ISCHR(st.st_mode));
		if (is_ours && st.st_uid != user->uid && fchown(fd, user->uid, (gid_t)-1) < 0)
			return err_sys(err, errno, "give descriptor %d to user %u", fd, user->uid);
	}
	return 0;
}

static int cwd_check(const char *wanted, struct err *err)
{
	/* A directory of the host's, kept open somewhere, shows as "(unreachable)"
	 * (CVE-2024-21626). */
	AUTO_FREE char *now = getcwd(NULL, 0);
	if (now == NULL || now[0] != '/')
		return err_set(err, ERR_DENIED,
			"working directory \"%.200s\" is not inside the container", wanted);
	return 0;
}

int process_make_cwd(int root_fd, const struct spec_process *process,
	const struct container_user *user, struct err *err)
{
	AUTO_CLOSE int fd = path_at_open(root_fd, process->cwd, O_PATH | O_DIRECTORY, 0);
	if (fd == -ENOENT)
		fd = path_at_make_dirs(root_fd, process->cwd, 0755, user->uid, user->gid);
	if (fd < 0)
		return err_sys(err, -fd, "make working directory \"%.200s\"", process->cwd);
	return 0;
}

int process_chdir(int root_fd, const struct spec_process *process, struct err *err)
{
	AUTO_CLOSE int fd = path_at_open(root_fd, process->cwd, O_PATH | O_DIRECTORY, 0);
	if (fd < 0 || fchdir(fd) < 0)
		return err_sys(err, fd < 0 ? -fd : errno, "enter working directory \"%.200s\"",
			process->cwd);
	return cwd_check(process->cwd, err);
}

static int rlimit_apply(const struct spec_rlimit *limit, struct err *err)
{
	struct rlimit wanted = { .rlim_cur = limit->soft, .rlim_max = limit->hard };
	if (setrlimit((__rlimit_resource_t)limit->resource, &wanted) == 0)
		return 0;
	/* Without CAP_SYS_RESOURCE a hard limit cannot be raised: as much as there is. */
	struct rlimit now;
	if (errno != EPERM || getrlimit((__rlimit_resource_t)limit->resource, &now) < 0)
		return err_sys(err, errno, "set %s", limit->name);
	wanted.rlim_max = wanted.rlim_max < now.rlim_max ? wanted.rlim_max : now.rlim_max;
	wanted.rlim_cur = wanted.rlim_cur < wanted.rlim_max ? wanted.rlim_cur : wanted.rlim_max;
	if (setrlimit((__rlimit_resource_t)limit->resource, &wanted) < 0)
		return err_sys(err, errno, "set %s", limit->name);
	return 0;
}

static int become_user(const struct container_user *user, struct err *err)
{
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return err_sys(err, errno, "keep capabilities for a moment");
	if (setgroups(user->groups_len, user->groups) < 0)
		return err_sys(err, errno, "set %zu supplementary groups", user->groups_len);
	if (setresgid(user->gid, user->gid, user->gid) < 0)
		return err_sys(err, errno, "become group %u", user->gid);
	if (setresuid(user->uid, user->uid, user->uid) < 0)
		return err_sys(err, errno, "become user %u", user->uid);
	/* Changing the user resets this to fs.suid_dumpable. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_sys(err, errno, "stay undumpable");
	return 0;
}

int process_drop(const struct container_spec *spec, const struct container_user *user,
	const struct seccomp_filter *filter, struct err *err)
{
	const struct spec_process *process = &spec->process;
	int r = stdio_give(process->has_terminal, user, err);
	for (size_t i = 0; r == 0 && i < process->rlimits_len; i++)
		r = rlimit_apply(&process->rlimits[i], err);

	struct capability_sets sets = process->capabilities;
	if (r == 0)
		r = capability_clamp(&sets, err);
	if (r == 0)
		r = capability_bound(&sets, err);
	(void)umask(process->umask);
	if (r == 0 && !process->has_no_new_privileges)
		r = seccomp_filter_load(filter, err);
	if (r == 0)
		r = become_user(user, err);
	if (r == 0)
		r = capability_apply(&sets, err);
	if (r < 0 || !process->has_no_new_privileges)
		return r;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, errno, "set no_new_privs");
	return seccomp_filter_load(filter, err);
}

/* ---- the command ---- */

static int command_check(const char *name, const char *path, struct err *err)
{
	struct stat st;
	if (stat(path, &st) < 0) {
		int code = errno;
		enum err_kind kind =
			code == ENOENT || code == ENOTDIR ? ERR_NO_COMMAND : ERR_NOT_EXECUTABLE;
		return err_set(err, kind, "exec: \"%.200s\": %s", name,
			code == EACCES    ? "permission denied"
			: code == ENOTDIR ? "not a directory"
			: code == ENOENT  ? "no such file or directory"
					  : "cannot be reached");
	}
	if (S_ISDIR(st.st_mode))
		return err_set(err, ERR_NOT_EXECUTABLE, "exec: \"%.200s\": is a directory", name);
	if (!S_ISREG(st.st_mode) || (st.st_mode & 0111) == 0 ||
		faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0)
		return err_set(err, ERR_NOT_EXECUTABLE, "exec: \"%.200s\": permission denied",
			name);
	return 0;
}

static int command_find(const struct spec_process *process, char **ret_path, struct err *err)
{
	const char *name = process->args.items[0];
	if (strchr(name, '/') != NULL) {
		int r = command_check(name, name, err);
		if (r == 0)
			*ret_path = mem_strdup(name);
		return r;
	}
	const char *list = strv_env(&process->env, "PATH");
	for (struct view rest = view_of(list != NULL ? list : PATH_FALLBACK); rest.data != NULL;) {
		struct view directory = view_cut(&rest, ':');
		/* No command from the working directory by an empty or relative entry. */
		if (name[0] == '\0' || directory.len == 0 || directory.data[0] != '/')
			continue;
		AUTO_FREE char *path =
			text_format("%.*s/%s", (int)directory.len, directory.data, name);
		if (command_check(name, path, NULL) == 0) {
			*ret_path = TAKE(path);
			return 0;
		}
	}
	return err_set(err, ERR_NO_COMMAND, "exec: \"%.200s\": executable file not found in $PATH",
		name);
}

static int exec_refused(const char *name, int code, struct err *err)
{
	switch (code) {
	case ENOENT:
		return err_set(err, ERR_NO_COMMAND,
			"exec: \"%.200s\": no such file or directory (the interpreter it names)",
			name);
	case ENOEXEC:
		return err_set(err, ERR_NOT_EXECUTABLE, "exec: \"%.200s\": exec format error",
			name);
	case EACCES:
	case EPERM:
		return err_set(err, ERR_NOT_EXECUTABLE, "exec: \"%.200s\": permission denied",
			name);
	default: return err_sys(err, code, "exec: \"%.200s\"", name);
	}
}

static void signals_reset(void)
{
	/* Handlers go by themselves at exec, ignored and blocked signals would stay. */
	const struct sigaction normal = { .sa_handler = SIG_DFL };
	for (int number = 1; number <= SIGNALS; number++)
		(void)sigaction(number, &normal, NULL);
	sigset_t none;
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

int process_exec(const struct spec_process *process, const struct container_user *user,
	struct err *err)
{
	if (process->args.len == 0)
		return err_set(err, ERR_INVALID, "no command is given");
	AUTO_FREE char *path = NULL;
	int r = command_find(process, &path, err);
	if (r != 0 || path == NULL)
		return r;
	AUTO_DONE(strv) env = { 0 };
	strv_extend(&env, &process->env);
	if (strv_env(&env, "HOME") == NULL && user->home != NULL)
		strv_printf(&env, "HOME=%s", user->home);
	if (env.len == 0)
		strv_add(&env, "PATH=" PATH_FALLBACK);
	signals_reset();
	(void)execve(path, process->args.items, env.items);
	return exec_refused(process->args.items[0], errno, err);
}
