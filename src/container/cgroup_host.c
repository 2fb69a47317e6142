/* cgroup_host - which hierarchies this host has and where they are mounted.
 *
 * /proc/self/cgroup names the hierarchies of the kernel (and thereby which words are controllers),
 * /proc/self/mountinfo shows the places.  Our groups are made below the root of each mount, not
 * below our own group: a workload must not count against the shell that started it.  In a container
 * the mount's root is what the outer engine gave us, which is right too. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/num.h"
#include "container/cgroup_driver.h"

#define MOUNTINFO_BYTES_MAX (16 << 20)
#define CGROUP_FILE_BYTES_MAX 65536

bool cgroup_controllers_have(const char *controllers, const char *controller)
{
	for (struct view rest = view_of(controllers); rest.data != NULL;)
		if (view_is(view_cut(&rest, ','), controller))
			return true;
	return false;
}

/* mountinfo writes space, tab, newline and backslash as \ooo. */
static char *unescape(struct view field)
{
	AUTO_DONE(text) out = { 0 };
	for (size_t i = 0; i < field.len; i++) {
		uint64_t byte;
		struct view digits = { field.data + i + 1, 3 };
		if (field.data[i] == '\\' && i + 3 < field.len &&
			num_parse_octal(digits, 0377, &byte) == 0) {
			text_add(&out, &(char){ (char)byte }, 1);
			i += 3;
		} else {
			text_add(&out, field.data + i, 1);
		}
	}
	return text_take(&out);
}

struct mount_line {
	struct view mount_point, type, options; /* options: of the super block */
};

static bool mount_line_parse(struct view line, struct mount_line *ret)
{
	struct mount_line m = { 0 };
	for (int field = 0; field < 5; field++) {
		if (line.data == NULL)
			return false;
		m.mount_point = view_cut(&line, ' ');
	}
	/* Optional fields end in a lone "-". */
	while (line.data != NULL && !view_is(view_cut(&line, ' '), "-"))
		;
	if (line.data == NULL)
		return false;
	m.type = view_cut(&line, ' ');
	(void)view_cut(&line, ' '); /* the source, any text */
	m.options = line;
	if (m.options.data == NULL)
		return false;
	*ret = m;
	return true;
}

/* Whether the super block's options have every one of these controllers. */
static bool options_have_all(struct view options, struct view controllers)
{
	AUTO_FREE char *list = view_dup(options);
	while (controllers.data != NULL) {
		AUTO_FREE char *name = view_dup(view_cut(&controllers, ','));
		if (!cgroup_controllers_have(list, name))
			return false;
	}
	return true;
}

static bool mount_find(struct view mountinfo, bool is_v2, struct view controllers,
	char **ret_mount_point)
{
	while (mountinfo.data != NULL) {
		struct mount_line m;
		if (!mount_line_parse(view_cut(&mountinfo, '\n'), &m))
			continue;
		bool is_match = is_v2 ? view_is(m.type, "cgroup2")
				      : view_is(m.type, "cgroup") &&
						options_have_all(m.options, controllers);
		if (!is_match)
			continue;
		*ret_mount_point = unescape(m.mount_point);
		return true;
	}
	return false;
}

int cgroup_host_parse(struct view mountinfo, struct view self_cgroup, struct cgroup_host *ret_host,
	struct err *err)
{
	struct cgroup_host host = { 0 };
	while (self_cgroup.data != NULL && self_cgroup.len > 0) {
		struct view line = view_cut(&self_cgroup, '\n');
		struct view number = view_cut(&line, ':');
		struct view controllers = view_cut(&line, ':');
		/* "0::/path" is v2; "1:name=systemd:/" is v1 without a controller: nothing to
		 * limit with. */
		bool is_v2 = view_is(number, "0") && controllers.len == 0;
		if (!is_v2 && (controllers.len == 0 || view_starts(controllers, "name=")))
			continue;
		char *mount_point;
		if (!mount_find(mountinfo, is_v2, controllers, &mount_point))
			continue;
		if (host.len == CGROUP_HIERARCHIES_MAX) {
			free(mount_point);
			cgroup_host_done(&host);
			return err_set(err, ERR_LIMIT, "more than %d cgroup hierarchies",
				CGROUP_HIERARCHIES_MAX);
		}
		host.hierarchies[host.len++] = (struct cgroup_hierarchy){
			.mount_point = mount_point,
			.controllers = view_dup(controllers),
			.is_v2 = is_v2,
		};
	}
	*ret_host = host;
	return 0;
}

/* A v2 hierarchy has the controllers that no v1 hierarchy took: its root says which. */
static void read_v2_controllers(struct cgroup_host *host)
{
	for (size_t i = 0; i < host->len; i++) {
		struct cgroup_hierarchy *h = &host->hierarchies[i];
		if (!h->is_v2)
			continue;
		AUTO_FREE char *path = text_format("%s/cgroup.controllers", h->mount_point);
		AUTO_DONE(text) list = { 0 };
		if (file_read_at(AT_FDCWD, path, CGROUP_FILE_BYTES_MAX, &list, NULL) < 0)
			continue;
		free(h->controllers);
		h->controllers = view_dup(view_trim(view_of_text(&list)));
		for (char *c = h->controllers; *c != '\0'; c++)
			if (*c == ' ')
				*c = ',';
	}
}

int cgroup_host_read(struct cgroup_host *ret_host, struct err *err)
{
	AUTO_DONE(text) mountinfo = { 0 };
	AUTO_DONE(text) self = { 0 };
	int r = file_read_at(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_BYTES_MAX, &mountinfo,
		err);
	if (r == 0)
		r = file_read_at(AT_FDCWD, "/proc/self/cgroup", CGROUP_FILE_BYTES_MAX, &self, err);
	if (r < 0)
		return err_wrap(err, r, "look for cgroups");
	struct cgroup_host host;
	r = cgroup_host_parse(view_of_text(&mountinfo), view_of_text(&self), &host, err);
	if (r < 0)
		return r;
	read_v2_controllers(&host);
	*ret_host = host;
	return 0;
}

void cgroup_host_done(struct cgroup_host *host)
{
	for (size_t i = 0; i < host->len; i++) {
		free(host->hierarchies[i].mount_point);
		free(host->hierarchies[i].controllers);
	}
	*host = (struct cgroup_host){ 0 };
}

const struct cgroup_ops *cgroup_host_driver(const struct cgroup_host *host)
{
	/* Memory is where an administrator or a distribution has decided; a hybrid host keeps it in
	 * v1, one that only has net_cls left there does not. */
	const struct cgroup_ops *driver = NULL;
	for (size_t i = 0; i < host->len; i++) {
		const struct cgroup_hierarchy *h = &host->hierarchies[i];
		if (!h->is_v2 && cgroup_controllers_have(h->controllers, "memory"))
			return &cgroup_v1_ops;
		if (h->is_v2)
			driver = &cgroup_v2_ops;
		else if (driver == NULL)
			driver = &cgroup_v1_ops;
	}
	return driver;
}

const char *cgroup_version(void)
{
	AUTO_DONE(cgroup_host) host = { 0 };
	if (cgroup_host_read(&host, NULL) < 0)
		return "none";
	bool has_v1 = false;
	bool has_v2 = false;
	for (size_t i = 0; i < host.len; i++)
		*(host.hierarchies[i].is_v2 ? &has_v2 : &has_v1) = true;
	return has_v1 ? (has_v2 ? "hybrid" : "v1") : has_v2 ? "v2" : "none";
}
