/* container_probe - which parts of the wall this host offers, for `moat info`: found by asking the
 * kernel, never by its version. */
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "container/cgroup_driver.h"
#include "container/container.h"

struct probe_row {
	const char *name;
	bool (*has)(const struct cgroup_host *host);
};

static bool controller_find(const struct cgroup_host *host, const char *name)
{
	for (size_t i = 0; i < host->len; i++)
		if (cgroup_controllers_have(host->hierarchies[i].controllers, name))
			return true;
	return false;
}

static bool has_cpu(const struct cgroup_host *host)
{
	return controller_find(host, "cpu");
}

static bool has_memory(const struct cgroup_host *host)
{
	return controller_find(host, "memory");
}

static bool has_pids(const struct cgroup_host *host)
{
	return controller_find(host, "pids");
}

static bool has_seccomp(const struct cgroup_host *host)
{
	(void)host;
	uint32_t action = SECCOMP_RET_ERRNO;
	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

static bool has_mount_setattr(const struct cgroup_host *host)
{
	(void)host;
	/* With a bad descriptor a kernel that has the call says EBADF, one that has not ENOSYS. */
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
	return mount_setattr(-1, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0 && errno != ENOSYS;
}

static bool has_user_namespaces(const struct cgroup_host *host)
{
	(void)host;
	struct stat st;
	return stat("/proc/self/ns/user", &st) == 0;
}

static const struct probe_row probes[] = {
	{ "cgroup cpu", has_cpu },
	{ "cgroup memory", has_memory },
	{ "cgroup pids", has_pids },
	{ "mount_setattr", has_mount_setattr },
	{ "seccomp", has_seccomp },
	{ "user namespaces", has_user_namespaces },
};

int container_probe(struct strv *ret_features, struct err *err)
{
	struct cgroup_host host = { 0 };
	int r = cgroup_host_read(&host, err);
	if (r < 0)
		return r;
	struct strv features = { 0 };
	for (size_t i = 0; i < ARRAY_LEN(probes); i++)
		if (probes[i].has(&host))
			strv_add(&features, probes[i].name);
	cgroup_host_done(&host);
	strv_done(ret_features);
	*ret_features = features;
	return 0;
}
